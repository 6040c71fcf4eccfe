//! What compiling one component may take.

use std::fmt;
use std::str::FromStr;

use crate::core::model::Span;

/// The limits of the process that compiles. Written as one word, they are what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompileLimits {
    /// Its address space in bytes.
    pub(super) memory_bytes: u64,
    /// Its processor time in seconds.
    pub(super) processor_secs: u64,
    /// The native code in bytes: in memory, and in any file.
    pub(super) native_bytes: u64,
    /// Its time in milliseconds, which its parent looks after.
    pub(super) time_ms: u64,
}

impl CompileLimits {
    /// The processor time.
    pub(super) fn processor(self) -> Span {
        Span::from_secs(self.processor_secs)
    }

    /// The time.
    pub(super) fn time(self) -> Span {
        Span::from_ms(self.time_ms)
    }
}

impl Default for CompileLimits {
    /// Several times what the largest guests known need: an embedded Python of 18 MiB takes 7 s
    /// and 370 MB, and makes 34 MB of native code.
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            processor_secs: 60,
            native_bytes: 128 << 20,
            time_ms: 180_000,
        }
    }
}

impl fmt::Display for CompileLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_bytes, processor_secs, native_bytes, time_ms } = self;
        write!(f, "{memory_bytes},{processor_secs},{native_bytes},{time_ms}")
    }
}

/// The reason why a text is no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limits of a compilation are four numbers with commas between them")]
pub(crate) struct LimitsError;

impl FromStr for CompileLimits {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let numbers: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
        let numbers = numbers.map_err(|_| LimitsError)?;
        let [memory_bytes, processor_secs, native_bytes, time_ms] = numbers[..] else {
            return Err(LimitsError);
        };
        Ok(Self { memory_bytes, processor_secs, native_bytes, time_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let limits = CompileLimits::default();
        assert_eq!(limits.to_string().parse(), Ok(limits));
        for text in ["", "1,2,3", "1,2,3,4,5", "1,2,3,x"] {
            assert_eq!(text.parse::<CompileLimits>(), Err(LimitsError), "{text}");
        }
    }
}
