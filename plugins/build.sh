#!/usr/bin/env bash
# Builds the gates under plugins/: those in Rust and C to plugins/dist, which is committed, and
# those in JavaScript and Python, which are some megabytes each, to target/plugins.
#
# `plugins/build.sh` builds all of them, `plugins/build.sh small` only what is committed, and
# `plugins/build.sh large` only what is not, which takes no compiler and seconds; `changed` is the
# same, but does nothing where they are there and their sources are those that they were made of.
# What a language needs is said, and done, in its own file in `build`.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/plugins"
what=${1:-all}
case $what in
  all | small | large | changed) ;;
  *) echo "usage: plugins/build.sh [small | large | changed]" >&2; exit 2 ;;
esac

# The digests of what the large ones are made of. They are left beside them once they are whole.
out=$root/target/plugins
large_sources() {
  (cd "$root" && sha256sum wit/gate.wit plugins/build.sh plugins/build/{javascript,python}.sh \
    plugins/error-budget/params.schema.json plugins/error-budget-js/{gate.js,package.json} \
    plugins/freeze-calendar/params.schema.json \
    plugins/freeze-calendar-py/{gate.py,requirements.txt})
}
if [ "$what" = changed ]; then
  what=large
  sources=$(large_sources)
  if [ -e "$out/error-budget-js.wasm" ] && [ -e "$out/freeze-calendar-py.wasm" ] &&
    [ "$sources" = "$(cat "$out/made-of.txt" 2>/dev/null)" ]; then
    exit 0
  fi
fi

rust_gates=(endpoint-check error-budget freeze-calendar latency-slo minimum-traffic prometheus-query webhook-approval)
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
  mkdir -p "$out"
  rm -f "$out/made-of.txt"
  source build/javascript.sh
  source build/python.sh
  (cd "$root" && sha256sum target/plugins/*.wasm)
  large_sources >"$out/made-of.txt"
fi
