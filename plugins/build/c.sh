# The gate in C; sourced by build.sh.
#
# wit-bindgen turns the contract into gate.c, gate.h and an object with the component's type. The
# sysroot of Debian's wasi-libc is not where clang looks for it.

wit_bindgen=target/tools/bin/wit-bindgen
wit_bindgen_version=0.61.1
debian clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32
if ! "$wit_bindgen" --version 2>/dev/null | grep -qF "$wit_bindgen_version"; then
  cargo install wit-bindgen-cli --version "$wit_bindgen_version" --locked \
    --no-default-features --features c --root target/tools --target-dir target/tools-build
  rm -rf target/tools-build
fi

mkdir -p target/c
"$wit_bindgen" c --world gate --out-dir target/c "$root/wit"
clang-19 --target=wasm32-wasi --sysroot=/usr -isystem /usr/include/wasm32-wasi \
  -std=c23 -Wall -Wextra -Werror -Oz -mexec-model=reactor -I target/c \
  -o target/c/minimum-traffic-c.wasm \
  minimum-traffic-c/gate.c target/c/gate.c target/c/gate_component_type.o -Wl,--strip-all
modules+=("minimum-traffic-c=target/c/minimum-traffic-c.wasm")
