#!/usr/bin/env bash
# Builds the gates under plugins/ and writes the components to plugins/dist.
#
# First choice is the target of the toolchain in use. Where it cannot be fetched, Debian's
# rustc-web builds the standard library from its own source package instead. The two compilers
# differ in version, so they give components with different digests. No path of the machine gets
# into a component: the script maps them all and looks for them in the result.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/plugins"
gates=(error-budget)
target=wasm32-unknown-unknown
debian_packages=(rustc-web cargo-web rust-web-src lld-19)

[ -f Cargo.lock ] || cargo generate-lockfile
cargo fetch --locked

packages=()
for gate in "${gates[@]}"; do packages+=(-p "$gate"); done
cargo test --locked "${packages[@]}"

# rustc uses the last prefix that matches: the widest come first.
remap() { flags+="${flags:+$'\x1f'}--remap-path-prefix=$1=$2"; }
flags=
cargo_home=${CARGO_HOME:-$HOME/.cargo}
remap "$HOME" /home
remap "$cargo_home" /cargo
for registry in "$cargo_home"/registry/src/*/; do remap "${registry%/}" /registry; done
remap "$root" /tidegate
export CARGO_ENCODED_RUSTFLAGS=$flags

build() { "$@" build --release --locked --target "$target" "${packages[@]}"; }

if command -v rustup >/dev/null && rustup target add "$target"; then
  build cargo
else
  echo "the target $target cannot be added; using Debian's rustc-web" >&2
  missing=()
  for package in "${debian_packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
      echo "install these packages, then run this again: ${missing[*]}" >&2
      exit 1
    fi
    apt-get update
    apt-get install -y --no-install-recommends "${missing[@]}"
  fi
  export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
  build /usr/bin/cargo -Zbuild-std=std,panic_abort
  unset RUSTC_BOOTSTRAP RUSTC
fi
unset CARGO_ENCODED_RUSTFLAGS

modules=()
for gate in "${gates[@]}"; do
  modules+=("$gate=target/$target/release/${gate//-/_}.wasm")
done
mkdir -p dist
cargo run --release --locked -p wrap -- "$root" "${modules[@]}"

for gate in "${gates[@]}"; do
  for path in "$root" "$cargo_home" "$HOME"; do
    if grep -qaF -- "$path" "dist/$gate.wasm"; then
      echo "dist/$gate.wasm holds a path of this machine: $path" >&2
      exit 1
    fi
  done
done
cat dist/SHA256SUMS
