//! The watchdog: says so when the writer does not come round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::writer::TICK;
use crate::clock::Clock;
use crate::core::model::{MonoTime, Span};
use crate::telemetry::{Lateness, LatenessGauge};

/// The writer's heartbeat; cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchdog {
    clock: Clock,
    beat_ms: Arc<AtomicU64>,
    /// When the next beat is due, in microseconds; 0 before the first one.
    due_us: Arc<AtomicU64>,
    lateness: Arc<Lateness>,
}

/// How long the writer may be silent: it comes round ten times a second.
const SILENCE: Span = Span::from_secs(3);

impl Watchdog {
    /// A heart that beats now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let beat_ms = Arc::new(AtomicU64::new(clock.mono().ms()));
        Self { clock, beat_ms, due_us: Arc::default(), lateness: Arc::default() }
    }

    /// Beats.
    pub(super) fn beat(&self) {
        self.beat_ms.store(self.clock.mono().ms(), Ordering::Relaxed);
        let now_us = self.clock.mono_us();
        let pause_us = u64::try_from(TICK.as_micros()).unwrap_or(u64::MAX);
        let due_us = self.due_us.swap(now_us.saturating_add(pause_us), Ordering::Relaxed);
        if due_us != 0 {
            self.lateness.add(now_us.saturating_sub(due_us));
        }
    }

    /// How late the beats were so far.
    pub(super) fn lateness(&self) -> LatenessGauge {
        self.lateness.gauge()
    }

    /// Whether the writer has been silent for longer than it ever should.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silence() > SILENCE
    }

    /// How long the writer has been silent.
    #[must_use]
    pub fn silence(&self) -> Span {
        self.clock.mono().since(MonoTime::from_ms(self.beat_ms.load(Ordering::Relaxed)))
    }

    /// Looks once a second, from a runtime other than the writer's, for ever.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.is_silent() {
                let silence = self.silence();
                tracing::error!(%silence, "the writer does not come round: rollouts stand still");
            }
        }
    }
}

#[cfg(test)]
impl Watchdog {
    /// Makes it as if the writer had not come round since the clock's zero.
    pub(super) fn fall_silent(&self) {
        self.beat_ms.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_does_not_come_round_is_silent_until_it_does() {
        let watchdog = Watchdog::new(Clock::started_before());
        assert!(!watchdog.is_silent(), "{}", watchdog.silence());
        watchdog.fall_silent();
        assert!(watchdog.is_silent(), "{}", watchdog.silence());
        assert!(watchdog.silence() >= Span::from_secs(10), "{}", watchdog.silence());
        watchdog.beat();
        assert!(!watchdog.is_silent(), "{}", watchdog.silence());
    }

    #[test]
    fn what_was_late_is_counted_from_the_second_beat_on() {
        let watchdog = Watchdog::new(Clock::started_before());
        watchdog.beat();
        assert_eq!(watchdog.lateness().count(), 0);
        // As if it had been due nine seconds ago.
        watchdog.due_us.store(1_000_000, Ordering::Relaxed);
        watchdog.beat();
        watchdog.beat();
        assert_eq!(watchdog.lateness().count(), 2);
        let in_time = Lateness::default();
        (0..2).for_each(|_| in_time.add(0));
        assert_ne!(watchdog.lateness(), in_time.gauge());
    }

    #[test]
    fn a_silence_of_three_seconds_is_borne() {
        let watchdog = Watchdog::new(Clock::started_before());
        let ago = |ms: u64| watchdog.clock.mono().ms() - ms;
        watchdog.beat_ms.store(ago(1_000), Ordering::Relaxed);
        assert!(!watchdog.is_silent(), "{}", watchdog.silence());
        watchdog.beat_ms.store(ago(3_001), Ordering::Relaxed);
        assert!(watchdog.is_silent(), "{}", watchdog.silence());
    }
}
