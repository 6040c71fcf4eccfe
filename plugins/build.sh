#!/usr/bin/env bash
# Builds the gates under plugins/: those in Rust and C to plugins/dist, which is committed, and
# those in JavaScript and Python, which are some megabytes each, to target/plugins.
#
# `plugins/build.sh` builds all of them, `plugins/build.sh small` only what is committed, and
# `plugins/build.sh large` only what is not, which takes no compiler and seconds. What a language
# needs is said, and done, in its own file in `build`.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/plugins"
what=${1:-all}
case $what in
  all | small | large) ;;
  *) echo "usage: plugins/build.sh [small | large]" >&2; exit 2 ;;
esac

rust_gates=(error-budget freeze-calendar latency-slo minimum-traffic prometheus-query webhook-approval)
# Core modules as NAME=PATH; `wrap` makes components of them.
modules=()

source build/packages.sh

if [ "$what" != large ]; then
  source build/rust.sh
  source build/c.sh
  mkdir -p dist
  cargo run --release --locked -p wrap -- "$root" "${modules[@]}"
  no_paths_in dist/*.wasm
  cat dist/SHA256SUMS
fi

if [ "$what" != small ]; then
  out=$root/target/plugins
  mkdir -p "$out"
  source build/javascript.sh
  source build/python.sh
  (cd "$root" && sha256sum target/plugins/*.wasm)
fi
