//! The upstreams that play in the demo: two of each revision.

use std::io;
use std::net::SocketAddr;

use crate::core::model::{Target, Weight};

use super::{Failures, Origin};

/// Two upstreams that run the same revision.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) revision: &'static str,
    origins: [Origin; 2],
}

/// Everybody who plays.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) first: Pair,
    pub(super) good: Pair,
    pub(super) bad: Pair,
}

impl Cast {
    /// Starts all of them on the present runtime.
    pub(super) async fn start() -> io::Result<Self> {
        let cast = Self {
            first: Pair::start("v1").await?,
            good: Pair::start("v2").await?,
            bad: Pair::start("v3").await?,
        };
        let share = Weight::from_bp(BAD_SHARE_BP).expect("a share is at most 10000");
        for origin in &cast.bad.origins {
            origin.set_failures(Failures::Random(share));
        }
        Ok(cast)
    }
}

impl Pair {
    async fn start(revision: &'static str) -> io::Result<Self> {
        let origins = [Origin::start(revision).await?, Origin::start(revision).await?];
        Ok(Self { revision, origins })
    }

    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        [self.origins[0].address(), self.origins[1].address()]
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        self.addresses().map(|address| Target { address: address.into() }).to_vec()
    }
}

/// The share of its requests that the bad revision fails.
const BAD_SHARE_BP: u16 = 3_000;
