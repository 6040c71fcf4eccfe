//! The contract in `wit/` as Rust types, generated.
//!
//! The host knows the world with everything. What of it a component may import is a matter of
//! what was granted, and is seen to when it is linked.

wasmtime::component::bindgen!({
    path: "wit",
    world: "gate-with-all",
    imports: { "tidegate:gate/http.fetch": async | trappable, default: trappable },
    exports: { default: async },
});

/// A gate that can be called.
pub(super) type Gate = GateWithAll;
/// A gate that can be instantiated.
pub(super) type GatePre<T> = GateWithAllPre<T>;
