//! What one call may take, and the errors for what goes beyond.
//!
//! A limit that is passed ends the call with a [`Breach`]. Merely refusing (`Ok(false)`) would let
//! the guest's allocator abort instead, which cannot be told from a bug in the gate.

use wasmtime::ResourceLimiter;

use crate::core::model::{GateLimits, Span};

/// A limit that a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// It did not answer in time.
    #[error("no answer within {after}")]
    Deadline {
        /// The time it had.
        after: Span,
    },
    /// It wanted more linear memory, all its memories together.
    #[error("{wanted} bytes of memory wanted, {limit} permitted")]
    Memory {
        /// What it would have had in bytes.
        wanted: usize,
        /// What it may have in bytes.
        limit: usize,
    },
    /// It wanted larger tables, all together.
    #[error("{wanted} table elements wanted, {limit} permitted")]
    Table {
        /// What it would have had.
        wanted: usize,
        /// What it may have.
        limit: usize,
    },
    /// It called the host too often.
    #[error("more than {limit} calls into the host")]
    HostCalls {
        /// How often it may.
        limit: u32,
    },
    /// It logged too much.
    #[error("more than {lines} lines or {bytes} bytes of log")]
    Log {
        /// How many lines it may write.
        lines: u32,
        /// How many bytes it may write.
        bytes: usize,
    },
    /// What it wrote of requests, and did not send, is too long.
    #[error("more than {limit} bytes of requests that were not sent")]
    Unsent {
        /// How many bytes it may write.
        limit: usize,
    },
    /// It wanted too much chance at a time.
    #[error("{wanted} random bytes wanted, {limit} permitted at a time")]
    Random {
        /// What it wanted in bytes.
        wanted: u32,
        /// What it may have in bytes.
        limit: u32,
    },
}

/// Counts the memory and tables of one store.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_limit: usize,
    memory: usize,
    table_limit: usize,
    table_elements: usize,
}

impl Limiter {
    /// The most table elements of one instance.
    pub(super) const TABLE_ELEMENTS: usize = GateLimits::TABLE_ELEMENTS as usize;

    /// A limiter for one call.
    pub(super) fn new(limits: &GateLimits) -> Self {
        let memory_limit = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        let table_limit = usize::try_from(limits.table_elements).unwrap_or(usize::MAX);
        Self { memory_limit, memory: 0, table_limit, table_elements: 0 }
    }

    /// The linear memory in bytes, which never shrinks.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_sub(current).saturating_add(desired);
        if wanted > self.memory_limit {
            return Err(wasmtime::Error::new(Breach::Memory { wanted, limit: self.memory_limit }));
        }
        self.memory = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_sub(current).saturating_add(desired);
        if wanted > self.table_limit {
            let limit = self.table_limit;
            return Err(wasmtime::Error::new(Breach::Table { wanted, limit }));
        }
        self.table_elements = wanted;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(&GateLimits { memory_bytes: 100, ..GateLimits::default() });
        assert!(limiter.memory_growing(0, 60, None).is_ok());
        assert!(limiter.memory_growing(0, 30, None).is_ok());
        assert!(limiter.memory_growing(60, 70, None).is_ok());
        let error = limiter.memory_growing(30, 31, None).expect_err("101 of 100");
        assert_eq!(error.downcast_ref(), Some(&Breach::Memory { wanted: 101, limit: 100 }));
    }
}
