//! The watchdog: says so when the writer does not come round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::core::model::{MonoTime, Span};

/// The writer's heartbeat; cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchdog {
    clock: Clock,
    beat_ms: Arc<AtomicU64>,
}

/// How long the writer may be silent: it comes round ten times a second.
const SILENCE: Span = Span::from_secs(3);

impl Watchdog {
    /// A heart that beats now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, beat_ms: Arc::new(AtomicU64::new(clock.mono().ms())) }
    }

    /// Beats.
    pub(super) fn beat(&self) {
        self.beat_ms.store(self.clock.mono().ms(), Ordering::Relaxed);
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
    fn a_silence_of_three_seconds_is_borne() {
        let watchdog = Watchdog::new(Clock::started_before());
        let ago = |ms: u64| watchdog.clock.mono().ms() - ms;
        watchdog.beat_ms.store(ago(1_000), Ordering::Relaxed);
        assert!(!watchdog.is_silent(), "{}", watchdog.silence());
        watchdog.beat_ms.store(ago(3_001), Ordering::Relaxed);
        assert!(watchdog.is_silent(), "{}", watchdog.silence());
    }
}
