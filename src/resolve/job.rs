//! What keeps one name resolved.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::core::model::TargetName;

use super::LookupError;
use super::board::Board;
use super::client::LateClient;
use super::lookup::{Found, Known, look_up};

/// What one task needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: TargetName,
    pub(super) client: Arc<LateClient>,
    pub(super) board: Arc<Board>,
    pub(super) permits: Arc<Semaphore>,
}

impl Job {
    /// Asks, waits as long as the answer counts, and asks again.
    pub(super) async fn run(self) {
        let mut known = Known::default();
        let mut failures = 0_u32;
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            let found = self.ask(&mut known).await;
            drop(permit);
            let pause = match found {
                Ok(Found { addresses, ttl }) => {
                    failures = 0;
                    self.board.found(&self.name, addresses);
                    ttl.clamp(SHORTEST, LONGEST)
                }
                Err(error) => {
                    self.board.failed(&self.name, &error);
                    let pause = back_off(failures);
                    failures = failures.saturating_add(1);
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    async fn ask(&self, known: &mut Known) -> Result<Found, LookupError> {
        let client = self.client.ready().await?;
        look_up(client, &self.name, known).await
    }
}

/// The pause after a failure that followed so many others.
fn back_off(failures: u32) -> Duration {
    SHORTEST.saturating_mul(1 << failures.min(10)).min(SLOWEST)
}

/// The time that an answer counts is kept within these.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// The longest pause between two failures.
const SLOWEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_repeated_ever_more_slowly_up_to_a_bound() {
        let pauses: Vec<u64> = (0..8).map(|failures| back_off(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(back_off(u32::MAX), SLOWEST);
    }
}
