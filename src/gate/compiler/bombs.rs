//! The compiler against components that are good, damaged, and made to exhaust it.

use std::fs;
use std::path::Path;

use wasmtime::Engine;

use super::{CompileError, CompileLimits, Compiler, Stop};
use crate::clock::Clock;
use crate::core::model::{GateGrants, Span};
use crate::gate::malice::compiler_bomb;
use crate::gate::{GateError, engine};

struct Bench {
    compiler: Compiler,
    engine: Engine,
    clock: Clock,
    _stop: Stop,
}

impl Bench {
    fn open(cache: Option<&Path>, limits: CompileLimits) -> Self {
        let clock = Clock::start();
        let (compiler, stop) = Compiler::open(cache, limits, clock).expect("a compiler");
        let engine = engine::running(compiler.cache()).expect("an engine");
        Self { compiler, engine, clock, _stop: stop }
    }

    fn with(limits: CompileLimits) -> Self {
        Self::open(None, limits)
    }

    fn link(&self, bytes: &[u8]) -> Result<(), GateError> {
        self.compiler.link(&self.engine, bytes, &GateGrants::default()).map(drop)
    }

    fn refusal(&self, bytes: &[u8]) -> CompileError {
        match self.link(bytes) {
            Err(GateError::Compile(refusal)) => refusal,
            Err(other) => panic!("{other}"),
            Ok(()) => panic!("it was compiled"),
        }
    }
}

fn good() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed")
}

#[test]
fn native_code_is_made_once_and_found_after_a_restart() {
    let folder = tempfile::tempdir().expect("a directory");
    let cache = folder.path().join("cache");
    let first = Bench::open(Some(&cache), CompileLimits::default());
    first.link(&good()).expect("a good gate");
    first.link(&good()).expect("a good gate");
    assert_eq!(first.compiler.compiled(), 1);
    drop(first);
    let second = Bench::open(Some(&cache), CompileLimits::default());
    second.link(&good()).expect("a good gate");
    assert_eq!(second.compiler.compiled(), 0, "it was in the cache");
}

#[test]
fn native_code_that_was_touched_is_made_anew() {
    let folder = tempfile::tempdir().expect("a directory");
    let bench = Bench::open(Some(folder.path()), CompileLimits::default());
    bench.link(&good()).expect("a good gate");
    let key = super::artefacts::key(&bench.engine, &good());
    let builds = fs::read_dir(folder.path().join("modules")).expect("a folder");
    let entries: Vec<_> = builds.map(|build| build.expect("read").path().join(&key)).collect();
    assert_eq!(entries.len(), 1);
    let mut bytes = fs::read(&entries[0]).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&entries[0], bytes).expect("written");
    bench.link(&good()).expect("a good gate");
    assert_eq!(bench.compiler.compiled(), 2);
}

#[test]
fn the_engine_that_runs_guests_compiles_nothing() {
    let bench = Bench::with(CompileLimits::default());
    let compiled = wasmtime::component::Component::new(&bench.engine, good());
    let Err(error) = compiled else { panic!("it was compiled") };
    let text = format!("{error:#}");
    assert!(text.contains("compiler"), "{text}");
}

#[test]
fn a_component_that_exhausts_the_compiler_is_refused_within_the_limits() {
    let limits = CompileLimits {
        memory_bytes: 1 << 30,
        processor_secs: 3,
        time_ms: 30_000,
        ..CompileLimits::default()
    };
    let bench = Bench::with(limits);
    let bomb = compiler_bomb();
    let begun = bench.clock.mono();
    let refusal = bench.refusal(&bomb);
    // Which of them comes first depends on the machine.
    match refusal {
        CompileError::Memory { .. }
        | CompileError::Processor { .. }
        | CompileError::Time { .. } => {}
        other @ (CompileError::TooLarge { .. }
        | CompileError::Crashed { .. }
        | CompileError::Host { .. }
        | CompileError::Stopped) => panic!("{other}"),
    }
    let took = bench.clock.mono().since(begun);
    assert!(took < Span::from_secs(60), "{took}");
    bench.link(&good()).expect("the next one is none the worse");
}

#[test]
fn a_compilation_that_takes_too_long_is_ended() {
    let bench = Bench::with(CompileLimits { time_ms: 1, ..CompileLimits::default() });
    assert!(matches!(bench.refusal(&compiler_bomb()), CompileError::Time { .. }));
}

#[test]
fn native_code_beyond_the_limit_is_refused() {
    let bench = Bench::with(CompileLimits { native_bytes: 4_096, ..CompileLimits::default() });
    let refusal = bench.refusal(&good());
    assert!(matches!(refusal, CompileError::TooLarge { limit: 4_096 }), "{refusal}");
}

#[test]
fn a_host_that_ends_waits_for_no_compilation() {
    let Bench { compiler, engine, _stop: stop, .. } = Bench::with(CompileLimits::default());
    drop(stop);
    let refused = compiler.link(&engine, &compiler_bomb(), &GateGrants::default()).map(drop);
    assert!(matches!(refused, Err(GateError::Compile(CompileError::Stopped))), "{refused:?}");
}

#[test]
fn what_the_compiler_says_is_passed_on() {
    let bench = Bench::with(CompileLimits::default());
    let check = |text: &str, expected: &str| {
        let bytes = wat::parse_str(text).expect("valid text");
        let Err(GateError::Invalid { text }) = bench.link(&bytes) else { panic!("{expected}") };
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    };
    check("(component (core module (memory i64 1)))", "memory64");
    let cut_off = &good()[..30_000];
    let Err(GateError::Invalid { text }) = bench.link(cut_off) else { panic!("it is half") };
    assert!(text.contains("cut off or damaged"), "{text}");
}
