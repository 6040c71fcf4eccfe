//! The queue of connections that wait to be accepted.
//!
//! A client whose connection does not fit in is not refused: its system tries again a second later,
//! and nobody here ever hears of that. So the queue is as long as the system allows, and whoever
//! operates a system that allows little is told.

use std::fs;

/// How many connections may wait; the system cuts that down to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 65_535;

/// Says so where the system allows fewer than come in a burst.
pub(super) fn tell_if_short() {
    let allowed = fs::read_to_string(SOMAXCONN).ok().and_then(|text| short(&text));
    if let Some(allowed) = allowed {
        tracing::warn!(
            allowed,
            "net.core.somaxconn is low: clients whose connections do not fit into the queue of a \
             listener wait a second or longer; 4096 or more is usual"
        );
    }
}

/// How many the system allows, if those are few; `None` where they will do, and where the system does
/// not say.
fn short(somaxconn: &str) -> Option<u32> {
    somaxconn.trim().parse().ok().filter(|allowed| *allowed < USUAL)
}

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
/// What Linux allows since 5.4; before, it was 128.
const USUAL: u32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_short_below_what_systems_allow_by_themselves() {
        let check = |somaxconn: &str, expected| assert_eq!(short(somaxconn), expected);
        check("128\n", Some(128));
        check("4095\n", Some(4_095));
        check("4096\n", None);
        check("65535\n", None);
        check("", None);
        check("many\n", None);
    }
}
