//! Links: a group's transport, with what an adapter made of it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::core::model::Transport;

/// How a group's targets are spoken to, carried from table to table while it stays the same.
pub struct Link {
    number: u64,
    transport: Transport,
    derived: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Link {
    /// A link; each has a number of its own, so that no connection of another trust is used.
    #[must_use]
    pub fn new(number: u64, transport: Transport) -> Self {
        Self { number, transport, derived: OnceLock::new() }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What an adapter makes of the transport in types of its own, made at the first call. There
    /// is one adapter, and so one such type; `None` where another one was made before.
    pub fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce(&Transport) -> T) -> Option<&T> {
        self.derived.get_or_init(|| Arc::new(make(&self.transport))).downcast_ref()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("number", &self.number)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
