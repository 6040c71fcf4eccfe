//! One of the two processes stands still in the last step of a hand-over, for longer than the other
//! one waits: exactly one of them has everything afterwards.

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::give::{conclude, dismiss, taken};
use super::message::{FromNew, FromOld};
use super::waits::Waits;
use super::wire::{Wire, WireError};
use super::{Offer, Takeover, TakeoverError};

const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(10);
const PATIENT: Waits = Waits { bind: LATE, ready: LATE, answer: LATE, taken: LATE, end: LATE };

/// A process that stands for the new one where that is killed; it ends by itself with the test.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Self(child.expect("it starts"))
    }

    /// The signal that has ended it; `None` if it lives until now.
    fn killed_by(mut self) -> Option<i32> {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends").signal()
    }
}

/// Both ends of a connection on which everything up to `paused` was said.
fn wires() -> (Wire, Wire) {
    let (old, new) = UnixStream::pair().expect("a pair");
    (Wire::over(old).expect("set up"), Wire::over(new).expect("set up"))
}

fn ends(victim: &Victim, waits: Waits) -> (Offer, Takeover) {
    let (old, new) = wires();
    (Offer::over(old, Pid::from_child(&victim.0), waits), Takeover::over(new, waits))
}

fn silent() -> TakeoverError {
    TakeoverError::Wire(WireError::Silent(SOON))
}

#[test]
fn an_old_process_that_wakes_up_after_the_new_one_has_given_up_keeps_everything() {
    let victim = Victim::start();
    let (offer, takeover) = ends(&victim, Waits { answer: SOON, ..PATIENT });
    let given_up = takeover.ready();
    assert!(matches!(given_up, Err(TakeoverError::Wire(WireError::Silent(_)))), "{given_up:?}");
    // It has not ended yet, and still holds the store.
    let kept = conclude(&offer).expect_err("nothing was handed over");
    assert!(kept.contains("said nothing"), "{kept}");
    drop(takeover);
    dismiss(&offer, &kept);
    assert_eq!(victim.killed_by(), None, "it ends by itself");
}

#[test]
fn a_word_that_came_before_the_new_process_gave_up_counts() {
    let victim = Victim::start();
    let (offer, takeover) = ends(&victim, PATIENT);
    offer.wire.say(&FromOld::Yours).expect("said");
    takeover.give_up(silent()).expect("it has everything");
    drop(takeover);
    assert_eq!(taken(&offer), Ok(()));
    assert_eq!(victim.killed_by(), None);
}

#[test]
fn a_no_that_came_before_the_new_process_gave_up_counts() {
    let victim = Victim::start();
    let (offer, takeover) = ends(&victim, PATIENT);
    offer.wire.say(&FromOld::No { why: "too late".to_owned() }).expect("said");
    let given_up = takeover.give_up(silent());
    assert!(matches!(given_up, Err(TakeoverError::Refused(why)) if why == "too late"));
}

#[test]
fn an_old_process_that_wakes_up_long_after_its_word_finds_the_answer() {
    let victim = Victim::start();
    let (offer, takeover) = ends(&victim, Waits { taken: SOON, ..PATIENT });
    offer.wire.say(&FromOld::Yours).expect("said");
    takeover.ready().expect("it has everything");
    drop(takeover);
    assert_eq!(offer.wire.hear::<FromNew>(LATE).expect("heard"), FromNew::Ready);
    assert_eq!(taken(&offer), Ok(()));
    assert_eq!(victim.killed_by(), None);
}

#[test]
fn a_new_process_that_stands_still_before_it_takes_over_is_killed() {
    let victim = Victim::start();
    let (old, new) = wires();
    let waits = Waits { taken: SOON, ..PATIENT };
    let offer = Offer::over(old, Pid::from_child(&victim.0), waits);
    new.say(&FromNew::Ready).expect("said");
    let kept = conclude(&offer).expect_err("nothing was handed over");
    assert!(kept.contains("killed"), "{kept}");
    // What a dead process has said last, if it came to that, is too late.
    new.say(&FromNew::Taken).expect("said");
    drop(new);
    dismiss(&offer, &kept);
    assert_eq!(victim.killed_by(), Some(Signal::KILL.as_raw()));
}

#[test]
fn a_new_process_that_dies_before_it_takes_over_leaves_everything_where_it_was() {
    let victim = Victim::start();
    let (offer, takeover) = ends(&victim, PATIENT);
    offer.wire.say(&FromOld::Yours).expect("said");
    drop(takeover);
    assert!(taken(&offer).is_err_and(|why| why.contains("ended")));
}

#[test]
fn an_old_process_that_dies_in_the_last_step_is_succeeded() {
    let victim = Victim::start();
    let (offer, takeover) = ends(&victim, PATIENT);
    drop(offer);
    takeover.ready().expect("nobody else is there");
    let (offer, takeover) = ends(&victim, PATIENT);
    drop(offer);
    takeover.give_up(silent()).expect("nobody else is there, though it was given up");
    let (offer, takeover) = ends(&victim, PATIENT);
    offer.wire.say(&FromOld::Yours).expect("said");
    drop(offer);
    takeover.ready().expect("it was told so");
}

/// The stall of the old process is as long as the patience of the new one, give or take what it
/// takes to notice: both orders come up.
#[test]
fn exactly_one_has_everything_whenever_the_old_process_wakes_up() {
    let mut handed_over = 0;
    for round in 0..ROUNDS {
        let victim = Victim::start();
        let (offer, takeover) = ends(&victim, Waits { answer: SOON, ..PATIENT });
        let asleep = SOON / 2 + SOON * round / ROUNDS;
        let old = thread::spawn(move || {
            thread::sleep(asleep);
            conclude(&offer).is_ok()
        });
        let new_has_it = takeover.ready().is_ok();
        drop(takeover);
        let old_has_it = !old.join().expect("no panic");
        assert_ne!(old_has_it, new_has_it, "after {asleep:?}");
        assert_eq!(victim.killed_by(), None);
        handed_over += u32::from(new_has_it);
    }
    assert!(handed_over > 0, "one that wakes up soon hands over");
    assert!(handed_over < ROUNDS, "one that wakes up late does not");
}

const ROUNDS: u32 = 50;
