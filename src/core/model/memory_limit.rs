//! How much memory a process may take before it refuses new work.

/// The limit; above it new requests are refused, which is better than to be killed with all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Nine tenths of what the system allows the process, where it allows less than the machine
    /// has; none elsewhere.
    #[default]
    OfTheSystem,
    /// So many bytes.
    Bytes(u64),
    /// None.
    Off,
}

impl MemoryLimit {
    /// The limit in bytes, given what the system allows; `None` is no limit.
    #[must_use]
    pub fn bytes(self, of_system: Option<u64>) -> Option<u64> {
        match self {
            Self::OfTheSystem => of_system.map(|allowed| allowed / 10 * 9),
            Self::Bytes(bytes) => Some(bytes),
            Self::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_the_limit_is_a_little_below_that_of_the_system() {
        assert_eq!(MemoryLimit::default().bytes(Some(1_000)), Some(900));
        assert_eq!(MemoryLimit::default().bytes(None), None);
        assert_eq!(MemoryLimit::Bytes(7).bytes(Some(1_000)), Some(7));
        assert_eq!(MemoryLimit::Off.bytes(Some(1_000)), None);
    }
}
