//! The one engine, and the ticker that moves its epoch.
//!
//! It has no compiler: a component whose native code is not in the cache is an error, never a
//! compilation in this process. The engine that compiles is another one, in a process of its own
//! ([`super::compiler`]); both are made from the same settings, which decide what code comes out.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;
use std::time::Duration;

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

use super::limiter::Limiter;

/// How many calls run at once; the pool has a place for each and for the `describe` of a load.
pub(super) const CONCURRENT_CALLS: usize = 8;

/// The largest memory limit that a gate may be given, in bytes.
pub(super) const LARGEST_MEMORY: usize = 64 << 20;

/// How often a running guest is interrupted to see whether its time is over.
const TICK: Duration = Duration::from_millis(10);

const POOL_PLACES: u32 = 9;

/// What a place for a memory keeps after a call, in bytes: twice what a gate in Rust or C writes.
/// There are up to twice as many places in use as [`POOL_PLACES`], since a gate that was not asked
/// before gets one that nobody had, and what they keep is what a hostile gate leaves behind.
const KEPT_MEMORY: usize = 128 << 10;

/// What a stack keeps after a call, in bytes, which is more than a call that does not recurse needs.
const KEPT_STACK: usize = 32 << 10;

/// Makes the engine that runs guests, with the cache where it finds their native code.
pub(super) fn running(cache: Cache) -> wasmtime::Result<Engine> {
    let mut config = settings();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()))
        .async_stack_zeroing(true)
        .cache(Some(cache))
        .enable_compiler(false);
    Engine::new(&config)
}

/// Makes the engine that compiles, with the cache where it leaves what came of it. It has no pool
/// of instances, whose address space would be beyond the limits of the process that compiles. A NaN
/// has the same bits on every machine: a gate that looks at them says the same everywhere.
pub(super) fn compiling(cache: Cache) -> wasmtime::Result<Engine> {
    let mut config = settings();
    config.parallel_compilation(false).cranelift_nan_canonicalization(true).cache(Some(cache));
    Engine::new(&config)
}

/// What decides how native code looks, or which components are valid.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .wasm_backtrace_max_frames(NonZeroUsize::new(10))
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .concurrency_support(false);
    config
}

/// A cache in a folder that only we may write: its entries are native code.
///
/// It is kept small by [`super::compiler`], which alone adds to it; entries are not compressed anew
/// behind its back.
pub(super) fn cache(folder: &Path) -> wasmtime::Result<Cache> {
    let mut config = CacheConfig::new();
    config.with_directory(folder).with_optimized_compression_usage_counter_threshold(u64::MAX);
    Cache::new(config)
}

/// Places for the largest guests known: an embedded Python has 38 core instances.
///
/// After a call a place is made as new. Where the system can say which pages were written, only
/// those are, and they stay: giving pages back interrupts the other cores, on which the proxy runs,
/// and to overwrite whatever may have been written takes longer than a short call.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOL_PLACES)
        .total_core_instances(POOL_PLACES * 64)
        .total_memories(POOL_PLACES * 4)
        .total_tables(POOL_PLACES * 16)
        .total_stacks(POOL_PLACES)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_memory_size(LARGEST_MEMORY)
        .table_elements(Limiter::TABLE_ELEMENTS)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .async_stack_keep_resident(KEPT_STACK)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(POOL_PLACES);
    pool
}

/// Moves the epoch until the engine is gone, and not a moment less: a guest that loops while the
/// host is being dropped must still come to its deadline.
pub(super) fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Linker};
    use wasmtime::{PoolConcurrencyLimitError, Store};

    use super::*;

    #[test]
    fn the_pool_has_a_place_for_every_call_and_one_load() {
        assert_eq!(usize::try_from(POOL_PLACES), Ok(CONCURRENT_CALLS + 1));
        let of_one_gate = crate::core::model::GateLimits::CONCURRENT_CALLS;
        assert_eq!(usize::try_from(of_one_gate), Ok(CONCURRENT_CALLS));
    }

    /// In one component the most of each kind that the known guest runtimes have: the 38 instances
    /// of Python, three memories as QuickJS, of 13 MiB as Python's, tables as large as those of
    /// SpiderMonkey.
    fn large_guest() -> Vec<u8> {
        let (large, small) =
            ("(core instance (instantiate $large))", "(core instance (instantiate $small))");
        let text = format!(
            "(component
                (core module $large (memory 208) (table 7693 funcref))
                (core module $small (table 16 funcref))
                (core module $empty)
                {} {} {})",
            large.repeat(3),
            small.repeat(9),
            "(core instance (instantiate $empty))".repeat(26),
        );
        wat::parse_str(text).expect("valid text")
    }

    #[test]
    fn every_place_of_the_pool_takes_the_largest_guests_known() {
        // What serves has no compiler; the pool is the same.
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let engine = Engine::new(&config).expect("an engine");
        let guest = Component::new(&engine, large_guest()).expect("within the pool's limits");
        let linker = Linker::<()>::new(&engine);
        let mut places = Vec::new();
        for _ in 0..POOL_PLACES {
            let mut store = Store::new(&engine, ());
            linker.instantiate(&mut store, &guest).expect("a place");
            places.push(store);
        }
        let error = linker.instantiate(Store::new(&engine, ()), &guest).expect_err("no place");
        assert!(error.downcast_ref::<PoolConcurrencyLimitError>().is_some(), "{error:#}");
        drop(places);
        linker.instantiate(Store::new(&engine, ()), &guest).expect("a place again");
    }
}
