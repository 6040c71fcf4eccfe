//! Whoever looks at the memory of the process, so that the proxy knows when to refuse new work.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::core::model::MemoryLimit;
use crate::telemetry::{Recorder, allowed_bytes, resident_bytes};

/// The task that looks; it ends when this is dropped. It goes on while the control side stands
/// still.
#[derive(Debug)]
pub(super) struct MemoryGuard {
    looking: JoinHandle<()>,
}

impl MemoryGuard {
    /// Begins to look, with a limit that a reload may change.
    pub(super) fn start(recorder: Arc<Recorder>, limit: MemoryLimit, runtime: &Runtime) -> Self {
        recorder.pressure().choose(limit);
        let of_system = allowed_bytes();
        let looking = runtime.spawn(async move {
            let mut looks = interval(LOOK);
            loop {
                looks.tick().await;
                look(&recorder, of_system);
            }
        });
        Self { looking }
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Reads a file of the kernel's, which never waits for a disk.
fn look(recorder: &Recorder, of_system: Option<u64>) {
    let Some(used) = resident_bytes() else { return };
    let pressure = recorder.pressure();
    let before = pressure.is_high();
    pressure.observe(used, of_system);
    match (before, pressure.is_high()) {
        (false, true) => tracing::warn!(used, "memory is at its limit: new requests are refused"),
        (true, false) => tracing::info!(used, "memory is below its limit: requests are served"),
        (true, true) | (false, false) => {}
    }
}

const LOOK: Duration = Duration::from_millis(100);
