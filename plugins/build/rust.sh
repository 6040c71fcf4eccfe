# The gates in Rust; sourced by build.sh.
#
# First choice is the target of the toolchain in use. Where it cannot be fetched, Debian's
# rustc-web builds the standard library from its own source package instead. The two compilers
# differ in version, so they give components with different digests. No path of the machine gets
# into a component: they are all mapped.

target=wasm32-unknown-unknown

[ -f Cargo.lock ] || cargo generate-lockfile
cargo fetch --locked
cargo test --locked --workspace --exclude wrap

packages=()
for gate in "${rust_gates[@]}"; do packages+=(-p "$gate"); done

# rustc uses the last prefix that matches: the widest come first.
remap() { flags+="${flags:+$'\x1f'}--remap-path-prefix=$1=$2"; }
flags=
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
  debian rustc-web cargo-web rust-web-src lld-19
  export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
  build /usr/bin/cargo -Zbuild-std=std,panic_abort
  unset RUSTC_BOOTSTRAP RUSTC
fi
unset CARGO_ENCODED_RUSTFLAGS

for gate in "${rust_gates[@]}"; do
  modules+=("$gate=target/$target/release/${gate//-/_}.wasm")
done
