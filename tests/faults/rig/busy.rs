//! A thread that does nothing but work, as nice as those are that run gates: what an attack that
//! needs such a thread is compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::process::setpriority_process;

/// The thread; it works until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    stopping: Arc<AtomicBool>,
    working: Option<JoinHandle<()>>,
}

impl Busy {
    /// Begins to work.
    pub(crate) fn start() -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let working = std::thread::spawn(move || {
            // Of this thread alone; a run that is nicer already stays so.
            let _ = setpriority_process(None, NICE);
            while !told.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self { stopping, working: Some(working) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(working) = self.working.take() {
            let _ = working.join();
        }
    }
}

const NICE: i32 = 10;
