//! What a target that was killed has taken with it: at most what was in flight on it then.

use std::collections::HashSet;

use crate::rig::{Method, Row, Sample};
use crate::victim::Victim;

/// Compares the POSTs that were lost with those that a killed target has seen, and the paths of
/// those that other targets have seen.
pub(crate) fn judge_lost(row: &mut Row, samples: &[Sample], killed: &Victim, elsewhere: &[String]) {
    let lost: HashSet<String> = samples
        .iter()
        .filter(|sample| sample.failure().is_some() && sample.method == Method::Post)
        .map(|sample| format!("/{}", sample.number))
        .collect();
    let (at_killed, answered) = (killed.posts(), killed.answered_posts());
    let under_way = at_killed.iter().filter(|path| !answered.contains(path)).count();
    let lost_elsewhere = elsewhere.iter().filter(|path| lost.contains(*path)).count();
    // Sent to the killed target, which was dead before it had read them.
    let unread = lost.iter().filter(|path| !at_killed.contains(path) && !elsewhere.contains(path));
    let unread = unread.count();
    row.measure("in_flight_on_it", killed.unanswered());
    row.measure("posts_in_flight_on_it", under_way);
    row.measure("lost_posts", lost.len());
    row.measure("lost_posts_that_another_target_had", lost_elsewhere);
    row.measure("lost_posts_that_it_had_not_read", unread);
    row.require("nothing is lost that another target had", lost_elsewhere == 0);
    row.require("at most what was in flight on it is lost", lost.len() <= under_way + unread);
    row.require("it had read almost all of what is lost", unread <= UNREAD);
}

/// How many requests may be on their way into a process that is killed just then.
const UNREAD: usize = 5;
