#!/bin/sh
# Format, lints, documentation, licences and sources: everything that is denied, none only warned.
set -eu
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Everybody checks with the same version: the one that is installed, or one in target/.
version=0.20.2
is_it() { [ "$("$1" --version 2>/dev/null || true)" = "cargo-deny $version" ]; }
deny=cargo-deny
if ! is_it "$deny"; then
  deny=target/tools/bin/cargo-deny
  is_it "$deny" ||
    cargo install cargo-deny --locked --version "$version" --debug --force --root target/tools
fi
"$deny" --locked check licenses bans sources
