//! Whether the target at the other end of a connection of HTTP/2 is still there.
//!
//! TCP finds out that a machine is gone (`peer::keepalive`). A process that hangs with its machine well
//! is found out here, within the same time: it is asked by a PING when it was told something and has
//! been silent since. No more than that: servers of gRPC end connections that are pinged while nothing
//! happens on them (`too_many_pings`), and a call may be silent for long. Nor is it asked on the
//! connection of an upload, which it may read slowly, with the ping at the end: that has a limit of its
//! own.

use std::future::{pending, poll_fn};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep};

use super::line::Talk;
use super::trunk::Load;

/// Resolves once a target is silent for so long to what it was told, and to a ping in between; never
/// without a time.
pub(super) async fn silence(
    pinger: Option<PingPong>,
    time: Option<Duration>,
    talk: &Talk,
    load: &Load,
) {
    let (Some(mut pinger), Some(time)) = (pinger, time) else { return pending().await };
    let mut silence = Silence::new(time, Instant::now());
    loop {
        sleep(time / LOOKS).await;
        let is_waited_for = load.riders() > 0 && !talk.is_stuck();
        match silence.look(talk.heard(), talk.said(), is_waited_for, Instant::now()) {
            Verdict::Fine => {}
            Verdict::Ask => {
                // It fails while one is under way, whose answer will do as well.
                if pinger.send_ping(Ping::opaque()).is_ok() {
                    silence.asked(Instant::now());
                }
            }
            Verdict::Gone => return,
        }
        // Takes the answers, which free the way for the next ping.
        poll_fn(|cx| {
            let _ = pinger.poll_pong(cx);
            std::task::Poll::Ready(())
        })
        .await;
    }
}

/// What is to be done about a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    /// The target is to be asked whether it is there.
    Ask,
    /// It was asked, and is not.
    Gone,
}

/// How long a target has been silent.
#[derive(Debug)]
struct Silence {
    /// How long it may be in all.
    time: Duration,
    heard: u64,
    /// What had been said to it when it was heard last.
    said: u64,
    /// Since when it has been silent to something; `None` while it owes nothing.
    since: Option<Instant>,
    /// When it was asked in this silence; `None` if it was not.
    asked: Option<Instant>,
    /// When it may be asked again.
    next: Instant,
}

impl Silence {
    fn new(time: Duration, now: Instant) -> Self {
        Self { time, heard: 0, said: 0, since: None, asked: None, next: now }
    }

    fn look(&mut self, heard: u64, said: u64, is_waited_for: bool, now: Instant) -> Verdict {
        if heard != self.heard || !is_waited_for {
            (self.heard, self.said) = (heard, said);
            (self.since, self.asked) = (None, None);
            return Verdict::Fine;
        }
        if said == self.said {
            return Verdict::Fine;
        }
        let since = *self.since.get_or_insert(now);
        match self.asked {
            Some(asked) if now.duration_since(asked) >= self.time / 2 => Verdict::Gone,
            Some(_) => Verdict::Fine,
            None if now.duration_since(since) >= self.time / 4 && now >= self.next => Verdict::Ask,
            None => Verdict::Fine,
        }
    }

    fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
        self.next = now + AGAIN;
    }
}

/// How often it is looked at within the time that it may last: a quarter of that goes by before a target
/// is asked, a half is for its answer, and looking takes the rest.
const LOOKS: u32 = 16;
/// How long it is left alone after it was asked: so long it may work on an answer.
const AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdicts on what was heard and said by then, at these times in milliseconds.
    fn verdicts(looks: &[(u64, u64, u64)]) -> Vec<Verdict> {
        let begin = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(8), begin);
        let look = |(ms, heard, said): &(u64, u64, u64)| {
            let now = begin + Duration::from_millis(*ms);
            let verdict = silence.look(*heard, *said, true, now);
            if verdict == Verdict::Ask {
                silence.asked(now);
            }
            verdict
        };
        looks.iter().map(look).collect()
    }

    #[tokio::test]
    async fn a_target_that_was_told_something_and_is_silent_is_asked_and_then_gone() {
        use Verdict::{Ask, Fine, Gone};
        let looks = [(0, 1, 1), (500, 1, 2), (2_400, 1, 2), (2_500, 1, 3), (6_400, 1, 4)];
        assert_eq!(verdicts(&looks), [Fine, Fine, Fine, Ask, Fine]);
        let looks = [(0, 1, 1), (500, 1, 2), (2_500, 1, 2), (6_500, 1, 3)];
        assert_eq!(verdicts(&looks), [Fine, Fine, Ask, Gone]);
    }

    #[tokio::test]
    async fn a_quiet_connection_is_left_alone_and_anything_that_comes_is_a_sign_of_life() {
        use Verdict::{Ask, Fine};
        assert_eq!(verdicts(&[(0, 1, 1), (60_000, 1, 1), (3_600_000, 1, 1)]), [Fine; 3]);
        let heard = [(0, 1, 1), (500, 1, 2), (4_500, 1, 3), (9_000, 2, 3), (14_500, 2, 3)];
        assert_eq!(verdicts(&heard), [Fine, Fine, Ask, Fine, Fine]);
    }

    #[tokio::test]
    async fn a_target_that_works_on_an_answer_is_asked_once_a_minute() {
        use Verdict::{Ask, Fine};
        let mut looks = vec![(0, 1, 1), (500, 1, 2), (4_500, 1, 3)];
        // Its pong, and another request that it does not answer.
        looks.extend([
            (5_000, 2, 3),
            (5_500, 2, 4),
            (10_000, 2, 4),
            (60_000, 2, 4),
            (64_500, 2, 4),
        ]);
        assert_eq!(verdicts(&looks), [Fine, Fine, Ask, Fine, Fine, Fine, Fine, Ask]);
    }
}
