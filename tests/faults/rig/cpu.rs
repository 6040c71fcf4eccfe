//! How much of the machine's time a process takes.

use rustix::process::Pid;

/// The time for which a process has used a processor so far, in milliseconds.
pub(crate) fn cpu_ms(id: Pid) -> u64 {
    let path = format!("/proc/{}/stat", id.as_raw_pid());
    let stat = std::fs::read_to_string(path).expect("it runs");
    // The process's name stands in parentheses, and may have spaces.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(USER_TIME).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>() * MS_PER_TICK
}

/// The place of the time in user mode behind the name; that in the kernel's follows it.
const USER_TIME: usize = 11;
/// The system tells times in hundredths of a second.
const MS_PER_TICK: u64 = 10;
