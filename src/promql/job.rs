//! What asks one question again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::board::Board;
use super::client::Client;
use super::{Failure, Question};
use crate::core::model::QueryAnswer;

/// What one task needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) question: Question,
    /// `None` if the configuration has no such server any more.
    pub(super) client: Option<Arc<Client>>,
    pub(super) board: Arc<Board>,
    pub(super) permits: Arc<Semaphore>,
}

impl Job {
    /// Asks once per period, at once for the first time.
    pub(super) async fn run(self) {
        let period = Duration::from(self.question.period).max(SHORTEST_PERIOD);
        let mut failures = 0_u32;
        let mut turns = interval(period);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let answer = match self.ask().await {
                Ok(answer) => {
                    if failures > 0 {
                        tracing::info!(server = %self.question.server, "a query is answered again");
                    }
                    failures = 0;
                    answer
                }
                Err(failure) => {
                    if failures == 0 {
                        let (server, query) = (&self.question.server, &self.question.query);
                        tracing::warn!(%server, query, %failure, "a query is not answered");
                    }
                    failures = failures.saturating_add(1);
                    QueryAnswer::Failed { why: failure.why }
                }
            };
            self.board.put(&self.question, failures, answer);
        }
    }

    /// Asks, and asks again where that may help.
    async fn ask(&self) -> Result<QueryAnswer, Failure> {
        let gone = || Failure::lasting(format!("there is no server {}", self.question.server));
        let client = self.client.as_ref().ok_or_else(gone)?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            let asked = client.ask(&self.question).await;
            drop(permit);
            match (asked, pauses.next()) {
                (Err(failure), Some(pause)) if failure.is_passing => sleep(pause).await,
                (asked, _) => return asked,
            }
        }
    }
}

/// Before the second attempt, and before the third, which is the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
