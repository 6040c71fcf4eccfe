//! The process that compiles: gives itself limits, reads a component, leaves its native code, ends.
//!
//! What may go wrong in here goes wrong in a process that nobody needs. It reads the component from
//! its standard input, knows nothing else, and says on its standard error why it refuses.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setpriority_process,
    setrlimit,
};
use wasmtime::component::Component;

use super::super::{component_file, engine};
use super::limits::CompileLimits;

/// Compiles the component on the standard input into a cache in this folder, and tells how that
/// went: the code to end with. The process must end then; it has limits that it cannot take off.
#[must_use]
pub fn compile_gate(folder: &Path, limits: &str) -> u8 {
    match compile(folder, limits) {
        Ok(()) => 0,
        Err(stopped) => {
            // Whoever started this reads it, and goes by the code if there is nothing to read.
            let _ = writeln!(io::stderr(), "{}", stopped.text);
            stopped.code
        }
    }
}

/// The component is not valid, or uses what gates may not use.
pub(super) const INVALID: u8 = 20;
/// Its native code is too large.
pub(super) const TOO_LARGE: u8 = 21;
/// There is no compiling here, whatever the component.
pub(super) const NOT_HERE: u8 = 22;

/// How nice the process is.
const NICE: i32 = 10;

struct Stopped {
    code: u8,
    text: String,
}

fn compile(folder: &Path, limits: &str) -> Result<(), Stopped> {
    let not_here = |text: String| Stopped { code: NOT_HERE, text };
    let limits: CompileLimits = limits.parse().map_err(|error| not_here(format!("{error}")))?;
    confine(limits).map_err(|error| not_here(format!("no limits can be set: {error}")))?;
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(component_file::LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| not_here(format!("the component cannot be read: {error}")))?;
    let engine = engine::cache(folder)
        .and_then(engine::compiling)
        .map_err(|error| not_here(format!("{error:#}")))?;
    // The cache writes the native code into the folder before this returns.
    let component = Component::new(&engine, &bytes)
        .map_err(|error| Stopped { code: INVALID, text: format!("{error:#}") })?;
    let image = component.image_range();
    let size = image.end.addr().saturating_sub(image.start.addr()) as u64;
    if size > limits.native_bytes {
        return Err(Stopped { code: TOO_LARGE, text: format!("{size} bytes of native code") });
    }
    Ok(())
}

/// Takes from this process what a compiler does not need, for good.
fn confine(limits: CompileLimits) -> rustix::io::Result<()> {
    // Without whoever waits for it, it is of no use.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that is nicer than this is fine.
    let _ = setpriority_process(None, NICE);
    // Where the system runs out of memory, this is what it shall end, not the proxy.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    lower(Resource::Core, 0, 0)?;
    lower(Resource::Fsize, limits.native_bytes, limits.native_bytes)?;
    lower(Resource::As, limits.memory_bytes, limits.memory_bytes)?;
    // The signal at the soft limit says what happened; the one at the hard limit cannot be missed.
    lower(Resource::Cpu, limits.processor_secs, limits.processor_secs.saturating_add(1))
}

/// Lowers a limit; one that is lower already stays.
fn lower(resource: Resource, soft: u64, hard: u64) -> rustix::io::Result<()> {
    let present = getrlimit(resource).maximum;
    let at_most = |wanted: u64| Some(present.map_or(wanted, |present| present.min(wanted)));
    setrlimit(resource, Rlimit { current: at_most(soft), maximum: at_most(hard) })
}

#[cfg(test)]
mod tests {
    /// The process that compiles is this binary again, which takes no commands: among its tests
    /// this one carries them out. Without a command there is nothing to do.
    #[test]
    fn a_command_is_carried_out() {
        let args: Vec<_> = std::env::args_os().collect();
        let [.., command, folder, limits] = &args[..] else { return };
        if command == super::super::job::COMMAND {
            let limits = limits.to_str().expect("numbers");
            let code = super::compile_gate(folder.as_ref(), limits);
            std::process::exit(code.into());
        }
    }
}
