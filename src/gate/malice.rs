//! For tests: gates that mean harm, made of core modules in text form.
//!
//! The faults suite has them too, so this stands on nothing else of this package but `guest.rs`.

use std::fmt::Write as _;

use super::guest::{WIT, component_of, guest, module, says};

/// A gate that means harm. Each fifth time that it is asked for a service it passes instead, so that
/// no circuit breaker spares the host the next four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malice {
    /// Never ends.
    EndlessLoop,
    /// Takes memory and writes to all of it.
    MemoryBomb,
    /// Calls itself.
    DeepRecursion,
    /// Ends in a trap.
    Trap,
    /// Answers with three megabytes.
    HugeAnswer,
    /// Logs.
    LogFlood,
    /// Takes table elements.
    TableGrowth,
    /// Sends a request to somebody who does not answer, and waits some more after that.
    SlowHostCall,
    /// Fills its state with something else each time.
    StateFlood,
}

impl Malice {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::EndlessLoop,
        Self::MemoryBomb,
        Self::DeepRecursion,
        Self::Trap,
        Self::HugeAnswer,
        Self::LogFlood,
        Self::TableGrowth,
        Self::SlowHostCall,
        Self::StateFlood,
    ];

    /// A name that a gate can have.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EndlessLoop => "endless-loop",
            Self::MemoryBomb => "memory-bomb",
            Self::DeepRecursion => "deep-recursion",
            Self::Trap => "trap",
            Self::HugeAnswer => "huge-answer",
            Self::LogFlood => "log-flood",
            Self::TableGrowth => "table-growth",
            Self::SlowHostCall => "slow-host-call",
            Self::StateFlood => "state-flood",
        }
    }

    /// The kind of error that it comes to.
    pub(crate) fn error(self) -> &'static str {
        match self {
            Self::EndlessLoop | Self::SlowHostCall => "deadline",
            Self::MemoryBomb | Self::TableGrowth => "memory",
            Self::DeepRecursion | Self::Trap => "trap",
            Self::HugeAnswer | Self::LogFlood | Self::StateFlood => "limit",
        }
    }

    /// The component. The one that needs `grants.http` sends its requests to this URL.
    pub(crate) fn component(self, url: &str) -> Vec<u8> {
        let evaluate = format!("{BREATH}{}", self.evaluate(url));
        match self {
            Self::SlowHostCall => {
                let data =
                    format!(r#"(data (i32.const 512) "GET") (data (i32.const 528) "{url}")"#);
                component_of(WIT, "gate-with-http", &module(FETCH, &data, "{}", &evaluate))
            }
            Self::EndlessLoop
            | Self::MemoryBomb
            | Self::DeepRecursion
            | Self::Trap
            | Self::HugeAnswer
            | Self::LogFlood
            | Self::TableGrowth
            | Self::StateFlood => guest(&evaluate),
        }
    }

    fn evaluate(self, url: &str) -> String {
        let text = match self {
            Self::EndlessLoop => "(loop $l (br $l)) unreachable",
            Self::MemoryBomb => {
                "(loop $l
                    (memory.fill
                        (i32.shl (memory.grow (i32.const 16)) (i32.const 16))
                        (i32.const 1)
                        (i32.const 1048576))
                    (br $l))
                unreachable"
            }
            Self::DeepRecursion => "(call $deeper (local.get 0))",
            Self::Trap => "unreachable",
            Self::HugeAnswer => return says(0, 8, 65_536, 3_000_000),
            Self::LogFlood => {
                "(loop $l (call $log (i32.const 1) (i32.const 16) (i32.const 5)) (br $l))
                unreachable"
            }
            Self::TableGrowth => {
                "(loop $l
                    (drop (table.grow $table (ref.null func) (i32.const 1000)))
                    (br $l))
                unreachable"
            }
            Self::SlowHostCall => {
                let length = url.len();
                return format!(
                    "(call $fetch
                        (i32.const 512) (i32.const 3) (i32.const 528) (i32.const {length})
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 0) (i32.const 3072))
                    (loop $l (br $l))
                    unreachable"
                );
            }
            Self::StateFlood => STATE_FLOOD,
        };
        text.to_owned()
    }
}

/// Counts in the state how often the gate was asked, and passes each fifth time. The digit that it
/// counts with is at 3200 then.
const BREATH: &str = "(local $n i32)
    (call $get (i32.const 16) (i32.const 5) (i32.const 3000))
    (if (i32.load8_u (i32.const 3000))
        (then (local.set $n
            (i32.sub (i32.load8_u (i32.load (i32.const 3004))) (i32.const 48)))))
    (i32.store8 (i32.const 3200)
        (i32.add
            (i32.const 48)
            (i32.rem_u (i32.add (local.get $n) (i32.const 1)) (i32.const 5))))
    (call $set (i32.const 16) (i32.const 5) (i32.const 3200) (i32.const 1) (i32.const 3016))
    (if (i32.eq (local.get $n) (i32.const 4)) (then (return (i32.const 1024))))
    ";

/// Sets one key of two letters after the other to 4096 digits.
const STATE_FLOOD: &str = "
    (memory.fill (i32.const 8192) (i32.load8_u (i32.const 3200)) (i32.const 4096))
    (loop $l
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (i32.store8 (i32.const 3204)
            (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))))
        (i32.store8 (i32.const 3205)
            (i32.add
                (i32.const 97)
                (i32.rem_u (i32.div_u (local.get $n) (i32.const 26)) (i32.const 26))))
        (call $set
            (i32.const 3204) (i32.const 2) (i32.const 8192) (i32.const 4096) (i32.const 3016))
        (br $l))
    unreachable";

const FETCH: &str = r#"(import "tidegate:gate/http@1.0.0" "fetch"
    (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// A component for another world of the same name, which has no `describe`.
pub(crate) fn of_another_world() -> Vec<u8> {
    let wit = "package tidegate:gate@1.0.0; world gate { export evaluate: func(); }";
    component_of(wit, "gate", &format!("(module {NO_ANSWER})"))
}

/// A component that was built for version 2.0.0 of the contract.
pub(crate) fn of_another_version() -> Vec<u8> {
    let wit = WIT.replace("gate@1.0.0", "gate@2.0.0");
    let module = "(module
        (import \"tidegate:gate/log@2.0.0\" \"write\" (func (param i32 i32 i32)))
        (memory (export \"memory\") 1)
        (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const 8)
        (func (export \"describe\") (result i32) i32.const 8)
        (func (export \"evaluate\") (param i32) (result i32) i32.const 8))";
    component_of(&wit, "gate", module)
}

/// A component that imports what no gate is given.
pub(crate) fn with_forbidden_import() -> Vec<u8> {
    let wit = "package other:thing@1.0.0; interface clock { now: func() -> u32; }
        world gate { import clock; export evaluate: func(); }";
    let import = "(import \"other:thing/clock@1.0.0\" \"now\" (func (result i32)))";
    component_of(wit, "gate", &format!("(module {import} {NO_ANSWER})"))
}

const NO_ANSWER: &str = "(func (export \"evaluate\"))";

/// A component of less than a megabyte that exhausts the compiler: one function with many variables,
/// each of which may come from any of many branches.
pub(crate) fn compiler_bomb() -> Vec<u8> {
    const LOCALS: u32 = 2_000;
    let mut body = "i32 ".repeat(2_000);
    body.insert_str(0, "(func (param i32) (local ");
    body.push(')');
    for branch in 0..60_000 {
        let [asked, from, to] = [3, 7, 11].map(|stride| 1 + (branch * stride + stride) % LOCALS);
        write!(body, " local.get {asked} if local.get {from} local.set {to} end").expect("text");
    }
    body.push(')');
    let bytes = wat::parse_str(format!("(component (core module {body}))")).expect("valid text");
    assert!(bytes.len() < 1_000_000, "{}", bytes.len());
    bytes
}
