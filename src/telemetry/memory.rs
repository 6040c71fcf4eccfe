//! What Linux says about memory: how much the process has, and how much it may have.

use std::fs;
use std::path::{Path, PathBuf};

/// The resident memory of this process in bytes; `None` where the system does not say.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    kib_of(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// How much memory the groups of this process are allowed, in bytes; `None` if that is no less than
/// what the machine has.
#[must_use]
pub fn allowed_bytes() -> Option<u64> {
    let machine = kib_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let allowed = allowed_by(Path::new("/sys/fs/cgroup"), &groups)?;
    (allowed < machine).then_some(allowed)
}

/// The least limit of the groups and of those around them. A process in a container may see its
/// own group as the root.
fn allowed_by(root: &Path, groups: &str) -> Option<u64> {
    groups.lines().flat_map(|line| files_of(root, line)).filter_map(|file| limit_in(&file)).min()
}

/// The files that may hold a limit for the group on a line: `0::/path` in the one hierarchy of
/// version 2, `4:memory:/path` in that for memory of version 1.
fn files_of(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let (root, name) = if controllers.split(',').any(|controller| controller == "memory") {
        (root.join("memory"), "memory.limit_in_bytes")
    } else if number == "0" && controllers.is_empty() {
        (root.to_owned(), "memory.max")
    } else {
        return Vec::new();
    };
    // Outside of what the process may see there is nothing to read.
    let group = if group.contains("..") { "" } else { group.trim_start_matches('/') };
    Path::new(group).ancestors().map(|group| root.join(group).join(name)).collect()
}

/// `None` where there is no file, or `max` in it.
fn limit_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_some_memory_and_less_than_the_machine() {
        let machine = fs::read_to_string("/proc/meminfo").expect("Linux");
        let machine = kib_of(&machine, "MemTotal:").expect("a number");
        let resident = resident_bytes().expect("Linux");
        assert!((1 << 20..machine).contains(&resident), "{resident} of {machine}");
        assert!(allowed_bytes().is_none_or(|allowed| allowed < machine));
    }

    #[test]
    fn the_least_limit_of_a_group_and_of_those_around_it_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        };
        write("memory.max", "max\n");
        write("a/memory.max", "3000\n");
        write("a/b/memory.max", "4000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/c/memory.limit_in_bytes", "2000\n");
        for (groups, expected) in [
            ("0::/a/b\n", Some(3_000)),
            ("0::/a/none\n", Some(3_000)),
            ("0::/\n", None),
            ("0::/../a\n", None),
            ("0::\n", None),
            ("5:cpu,memory:/c\n1:name=systemd:/a\n0::/a/b\n", Some(2_000)),
            ("5:memory:/\n", Some(9_223_372_036_854_771_712)),
            ("5:cpu:/c\nnonsense\n", None),
        ] {
            assert_eq!(allowed_by(folder.path(), groups), expected, "{groups}");
        }
    }
}
