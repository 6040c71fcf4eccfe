//! The set of questions, and the task of each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::Question;
use super::board::Board;
use super::client::Client;
use super::job::Job;
use crate::core::model::{PrometheusName, PrometheusServer, Reading};

/// Asks questions until [`Asker::shutdown`].
#[derive(Debug)]
pub struct Asker {
    runtime: Handle,
    permits: Arc<Semaphore>,
    board: Arc<Board>,
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    clients: BTreeMap<PrometheusName, Arc<Client>>,
    tasks_of: BTreeMap<Question, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Asker {
    /// An asker whose tasks run on a runtime; it asks nothing yet.
    #[must_use]
    pub fn start(runtime: Handle) -> Self {
        let permits = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE));
        Self { runtime, permits, board: Arc::default(), watches: Mutex::default() }
    }

    /// Replaces what is asked. What stays goes on as if nothing had happened, unless its server is
    /// another one now; what is new is asked at once.
    pub fn watch(
        &self,
        servers: &BTreeMap<PrometheusName, PrometheusServer>,
        questions: BTreeSet<Question>,
    ) {
        let mut watches = self.watches();
        watches.reap();
        let changed = watches.follow(servers);
        self.board.keep_only(&questions);
        let mut before = std::mem::take(&mut watches.tasks_of);
        for question in questions {
            let goes_on =
                |task: &AbortHandle| !task.is_finished() && !changed.contains(&question.server);
            let task = match before.remove(&question) {
                Some(task) if goes_on(&task) => task,
                ended => {
                    ended.inspect(AbortHandle::abort);
                    self.begin(&mut watches, question.clone())
                }
            };
            watches.tasks_of.insert(question, task);
        }
        before.values().for_each(AbortHandle::abort);
    }

    /// What came of a question last; `None` if nothing did yet. Never waits.
    #[must_use]
    pub fn reading(&self, question: &Question) -> Option<Reading> {
        self.board.reading(question)
    }

    /// Ends every task and waits until the last one is gone.
    pub async fn shutdown(&self) {
        let mut watches = std::mem::take(&mut *self.watches());
        watches.tasks.shutdown().await;
    }

    fn begin(&self, watches: &mut Watches, question: Question) -> AbortHandle {
        let client = watches.clients.get(&question.server).cloned();
        let (board, permits) = (Arc::clone(&self.board), Arc::clone(&self.permits));
        let job = Job { question, client, board, permits };
        watches.tasks.spawn_on(job.run(), &self.runtime)
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watches {
    /// Has a client for each server; gives the servers that are other ones now, or gone, or new.
    fn follow(
        &mut self,
        servers: &BTreeMap<PrometheusName, PrometheusServer>,
    ) -> BTreeSet<PrometheusName> {
        let mut changed = BTreeSet::new();
        self.clients.retain(|name, client| {
            let stays = servers.get(name) == Some(client.server());
            if !stays {
                changed.insert(name.clone());
            }
            stays
        });
        for (name, server) in servers {
            if let Entry::Vacant(vacant) = self.clients.entry(name.clone()) {
                vacant.insert(Arc::new(Client::new(server.clone())));
                changed.insert(name.clone());
            }
        }
        changed
    }

    /// Lets go of tasks that ended. None does so by itself: one that was not ended by us panicked,
    /// and its question is asked anew.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task that asks a Prometheus server panicked");
            }
        }
    }
}

/// The most questions that are under way at the same time.
const QUESTIONS_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::core::model::{QueryAnswer, Span};
    use crate::promql::fake::{Fake, Script, vector};

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn until<T>(what: &str, mut see: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(seen) = see() {
                return seen;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn question(query: &str) -> Question {
        Question {
            server: "main".parse().expect("valid"),
            query: query.to_owned(),
            period: Span::from_ms(20),
            timeout: Span::from_secs(2),
        }
    }

    fn servers(fake: &Fake) -> BTreeMap<PrometheusName, PrometheusServer> {
        let url = fake.url().parse().expect("a URL");
        let server = PrometheusServer { url, credentials: None, tls: None };
        BTreeMap::from([("main".parse().expect("valid"), server)])
    }

    #[tokio::test]
    async fn a_question_is_asked_again_and_again_and_the_last_answer_counts() {
        let fake = Fake::start(Script::Json(200, vector("1"))).await;
        let asker = Asker::start(Handle::current());
        let up = question("up");
        asker.watch(&servers(&fake), BTreeSet::from([up.clone()]));
        let answer = |value: f64| {
            let reading = asker.reading(&up)?;
            (reading.answer == QueryAnswer::Value(value)).then_some(reading.number)
        };
        let first = until("it is answered", || answer(1.0)).await;
        fake.play(Script::Json(200, vector("2")));
        let second = until("it is answered anew", || answer(2.0)).await;
        assert!(second > first);
        asker.watch(&servers(&fake), BTreeSet::new());
        assert_eq!(asker.reading(&up), None);
        asker.shutdown().await;
    }

    #[tokio::test]
    async fn a_failure_that_passes_is_no_failure_and_others_are_counted() {
        let fake = Fake::start(Script::Json(503, String::new())).await;
        let asker = Asker::start(Handle::current());
        let up = question("up");
        asker.watch(&servers(&fake), BTreeSet::from([up.clone()]));
        until("it was asked", || (fake.asked() > 0).then_some(())).await;
        fake.play(Script::Json(200, vector("1")));
        let reading = until("there is a reading", || asker.reading(&up)).await;
        assert_eq!((reading.failures, reading.answer), (0, QueryAnswer::Value(1.0)));
        fake.play(Script::Json(401, String::new()));
        let failures = || asker.reading(&up).filter(|reading| reading.failures >= 3);
        let reading = until("it fails three times in a row", failures).await;
        assert!(matches!(reading.answer, QueryAnswer::Failed { .. }), "{reading:?}");
        fake.play(Script::Json(200, vector("1")));
        until("it is answered", || asker.reading(&up).filter(|r| r.failures == 0)).await;
        asker.shutdown().await;
    }

    #[tokio::test]
    async fn another_server_of_the_same_name_is_asked_from_then_on() {
        let old = Fake::start(Script::Json(200, vector("1"))).await;
        let new = Fake::start(Script::Json(200, vector("2"))).await;
        let asker = Asker::start(Handle::current());
        let up = question("up");
        let read = |value: f64| {
            let answer = asker.reading(&up).map(|reading| reading.answer);
            (answer == Some(QueryAnswer::Value(value))).then_some(())
        };
        asker.watch(&servers(&old), BTreeSet::from([up.clone()]));
        until("the old one answers", || read(1.0)).await;
        asker.watch(&servers(&new), BTreeSet::from([up.clone()]));
        until("the new one answers", || read(2.0)).await;
        asker.watch(&BTreeMap::new(), BTreeSet::from([up.clone()]));
        let failed = || asker.reading(&up).filter(|reading| reading.failures > 0);
        let reading = until("there is none", failed).await;
        let why = "there is no server main".to_owned();
        assert_eq!(reading.answer, QueryAnswer::Failed { why });
        asker.shutdown().await;
    }
}
