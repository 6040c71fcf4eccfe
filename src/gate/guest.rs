//! For tests: gates that are made of core modules in text form.
//!
//! The tests of the binary have them too, so this stands on nothing else of this package.

use wit_component::{ComponentEncoder, StringEncoding};

/// The contract.
pub(crate) const WIT: &str = include_str!("../../wit/gate.wit");

/// A component of a core module in text form, for a world.
pub(crate) fn component_of(wit: &str, world: &str, module: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("test.wit", wit).expect("valid WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("a world");
    let mut bytes = wat::parse_str(module).expect("valid text");
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
        .expect("a component type");
    ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component")
}

/// A gate with this body of `evaluate`.
pub(crate) fn guest(evaluate: &str) -> Vec<u8> {
    guest_with_schema("{}", evaluate)
}

/// A gate with this schema and this body of `evaluate`. The memory from 1024 is zero, which is
/// where a body that returns 1024 finds the answer "pass"; 16 is the text "hello".
pub(crate) fn guest_with_schema(schema: &str, evaluate: &str) -> Vec<u8> {
    component_of(WIT, "gate", &module("", "", schema, evaluate))
}

/// The text of such a gate, with more imports and more data.
pub(crate) fn module(imports: &str, data: &str, schema: &str, evaluate: &str) -> String {
    let (length, schema) = (schema.len(), schema.replace('"', "\\22"));
    format!(
        r#"(module
            (import "tidegate:gate/log@1.0.0" "write" (func $log (param i32 i32 i32)))
            (import "tidegate:gate/state@1.0.0" "get" (func $get (param i32 i32 i32)))
            (import "tidegate:gate/state@1.0.0" "set" (func $set (param i32 i32 i32 i32 i32)))
            (import "tidegate:gate/telemetry@1.0.0" "metric"
                (func $metric (param i32 i32 i32 i32 i32)))
            {imports}
            (memory (export "memory") 1)
            (table $table 1 funcref)
            (data (i32.const 16) "hello")
            (data (i32.const 32) "{schema}")
            {data}
            (func $deeper (param i32) (result i32)
                (i32.add (call $deeper (local.get 0)) (i32.const 1)))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
            (func (export "describe") (result i32)
                (i32.store (i32.const 2048) (i32.const 16))
                (i32.store (i32.const 2052) (i32.const 5))
                (i32.store (i32.const 2056) (i32.const 16))
                (i32.store (i32.const 2060) (i32.const 5))
                (i32.store (i32.const 2064) (i32.const 32))
                (i32.store (i32.const 2068) (i32.const {length}))
                (i32.const 2048))
            (func (export "evaluate") (param i32) (result i32) {evaluate}))"#
    )
}

/// `evaluate` answers with `ok(fail(text))` or `err(text)` of this place and length.
pub(crate) fn says(outer: u32, offset: u32, at: u32, length: u32) -> String {
    format!(
        "(drop (memory.grow (i32.const 64)))
         (i32.store8 (i32.const 1024) (i32.const {outer}))
         (i32.store8 (i32.const 1028) (i32.const 1))
         (i32.store (i32.const {}) (i32.const {at}))
         (i32.store (i32.const {}) (i32.const {length}))
         (i32.const 1024)",
        1024 + offset,
        1028 + offset
    )
}
