//! The only reader of time.

use std::time::{Instant, SystemTime};

use crate::core::model::{MonoTime, Now, WallTime};

/// Reads both clocks; cheap to copy, and every copy has the same zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock whose monotonic zero is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { zero: Instant::now() }
    }

    /// For tests: a clock whose monotonic zero lies ten seconds back.
    #[cfg(test)]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub(crate) fn started_before() -> Self {
        let ago = std::time::Duration::from_secs(10);
        Self { zero: Instant::now().checked_sub(ago).expect("the machine runs for longer") }
    }

    /// Monotonic time since the zero.
    #[must_use]
    pub fn mono(&self) -> MonoTime {
        MonoTime::from_ms(u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Monotonic time since the zero in microseconds, for latencies.
    #[must_use]
    pub fn mono_us(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The wall clock; the epoch if it is set before it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallTime::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Both at once.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { wall: self.wall(), mono: self.mono() }
    }
}
