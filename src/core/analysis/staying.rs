//! A target of green that should be out, because all the evidence rests on it, and stays in.
//!
//! Where all of green fails, one target after the other is suspected on the way to the rollback, so
//! that such a target is let be for a moment. After that it holds the weight until it is out, or
//! until a person takes it upon themselves. Whether it may be ejected is for others to say.

use crate::core::model::{MonoTime, Span};

/// Whether there is such a target, and what is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Staying {
    /// Since when it is; `None` while there is none.
    since: Option<MonoTime>,
    is_accepted: bool,
}

impl Staying {
    /// For how long it is let be.
    pub const PATIENCE: Span = Span::from_secs(3);

    /// One that is there since then, `None` without one, and whether a person accepted what holds
    /// the weight.
    #[must_use]
    pub fn recalled(since: Option<MonoTime>, is_accepted: bool) -> Self {
        Self { since, is_accepted }
    }

    /// There is one now, if there was none before.
    pub fn begin(&mut self, now: MonoTime) {
        self.since.get_or_insert(now);
    }

    /// It is out, or nothing rests on it any more.
    pub fn end(&mut self) {
        self.since = None;
    }

    /// A person took upon themselves what holds the weight; that lasts.
    pub fn accept(&mut self) {
        self.is_accepted = true;
    }

    /// Since when there is one; `None` while there is none.
    #[must_use]
    pub fn since(self) -> Option<MonoTime> {
        self.since
    }

    /// Whether a person took upon themselves what holds the weight.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        self.is_accepted
    }

    /// Whether it holds the weight now.
    #[must_use]
    pub fn holds(self, now: MonoTime) -> bool {
        let is_long = self.since.is_some_and(|since| now.since(since) >= Self::PATIENCE);
        is_long && !self.is_accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    #[test]
    fn it_holds_after_a_while_until_it_is_over_or_accepted() {
        let mut staying = Staying::default();
        assert!(!staying.holds(at(9_000)));
        staying.begin(at(1_000));
        staying.begin(at(3_900));
        assert_eq!((staying.holds(at(3_999)), staying.holds(at(4_000))), (false, true));
        assert_eq!(Staying::recalled(staying.since(), false), staying);
        staying.end();
        assert!(!staying.holds(at(9_000)));
        staying.begin(at(10_000));
        staying.accept();
        assert!(!staying.holds(at(99_000)) && staying.is_accepted());
    }
}
