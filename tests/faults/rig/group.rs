//! A control group that bounds the memory of a process: whoever needs more is killed by the system.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// A group; it goes when this is dropped, if its process has ended by then.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
    /// The file in which the system counts whom it has killed.
    events: &'static str,
}

impl Group {
    /// Puts a process into a group of its own inside that of this process, with so much memory for
    /// what it takes from now on.
    ///
    /// # Errors
    /// Why the machine gives none.
    pub(crate) fn enclose(process: Pid, bytes: u64) -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let own = |controllers: &str| {
            groups.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                (parts.next()? == controllers).then(|| parts.next())?
            })
        };
        let (root, own, limit, events) = match (own("memory"), own("")) {
            (Some(own), _) => ("memory", own, "memory.limit_in_bytes", "memory.oom_control"),
            (None, Some(own)) => ("", own, "memory.max", "memory.events"),
            (None, None) => return Err("no control groups".to_owned()),
        };
        let parent = Path::new("/sys/fs/cgroup").join(root).join(own.trim_start_matches('/'));
        let folder = parent.join(format!("tidegate-faults-{}", std::process::id()));
        let said = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir(&folder).map_err(said)?;
        let group = Self { folder: folder.clone(), events };
        // Before the process: a group without a limit would prove nothing.
        fs::write(folder.join(limit), bytes.to_string()).map_err(said)?;
        let process = process.as_raw_pid().to_string();
        fs::write(folder.join("cgroup.procs"), process).map_err(said)?;
        Ok(group)
    }

    /// How many processes the system has killed in it.
    pub(crate) fn killed(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join(self.events)).unwrap_or_default();
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.and_then(|killed| killed.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One with a process in it stays: the test has failed then.
        let _ = fs::remove_dir(&self.folder);
    }
}
