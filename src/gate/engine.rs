//! The one engine, and the ticker that moves its epoch.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use wasmtime::{
    Cache, CacheConfig, Config, Engine, EngineWeak, InstanceAllocationStrategy,
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
const CACHE_BYTES: u64 = 256 << 20;

/// Makes the engine; `cache` is where compiled components are kept, `None` keeps none.
pub(super) fn build(cache: Option<&Path>) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .wasm_backtrace_max_frames(NonZeroUsize::new(10))
        .parallel_compilation(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    if let Some(directory) = cache {
        config.cache(Some(open_cache(directory)?));
    }
    Engine::new(&config)
}

/// Places for the largest guests known: an embedded Python has 38 core instances.
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
        .linear_memory_keep_resident(1 << 20)
        .max_unused_warm_slots(POOL_PLACES);
    pool
}

/// Opens the cache in a directory that nobody else may write: its entries are native code that is
/// run without further proof.
fn open_cache(directory: &Path) -> wasmtime::Result<Cache> {
    private_directory(directory)?;
    let mut config = CacheConfig::new();
    config.with_directory(fs::canonicalize(directory)?);
    config.with_files_total_size_soft_limit(CACHE_BYTES);
    Cache::new(config)
}

fn private_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mode = fs::metadata(directory)?.permissions().mode();
    if mode & 0o022 != 0 {
        let text = format!("{}: others than its owner may write there", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
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
    use super::*;

    #[test]
    fn the_pool_has_a_place_for_every_call_and_one_load() {
        assert_eq!(usize::try_from(POOL_PLACES), Ok(CONCURRENT_CALLS + 1));
        let of_one_gate = crate::core::model::GateLimits::CONCURRENT_CALLS;
        assert_eq!(usize::try_from(of_one_gate), Ok(CONCURRENT_CALLS));
    }

    #[test]
    fn a_cache_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = directory.path().join("new");
        assert!(private_directory(&cache).is_ok());
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&cache), 0o700);
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("own directory");
        assert!(private_directory(&cache).is_err());
    }
}
