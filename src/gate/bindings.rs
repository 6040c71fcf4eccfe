//! The contract in `wit/` as Rust types, generated.

wasmtime::component::bindgen!({
    path: "wit",
    world: "gate",
    imports: { default: trappable },
    exports: { default: async },
});
