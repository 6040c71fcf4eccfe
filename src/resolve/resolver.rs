//! The set of names and files that are kept up to date, and the task of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::core::model::{ResolverSpec, TargetGroupName, TargetName};

use super::board::Board;
use super::client::LateClient;
use super::file::FileJob;
use super::job::Job;
use super::lookup::{Known, look_up};
use super::{ListCount, LookupError, News, Wanted};

/// Keeps names resolved and files read until [`Resolver::shutdown`].
#[derive(Debug)]
pub struct Resolver {
    runtime: Handle,
    permits: Arc<Semaphore>,
    board: Arc<Board>,
    watches: Mutex<Watches>,
}

#[derive(Debug)]
struct Watches {
    spec: ResolverSpec,
    client: Arc<LateClient>,
    names: BTreeMap<TargetName, AbortHandle>,
    files: BTreeMap<TargetGroupName, (PathBuf, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Resolver {
    /// A resolver whose tasks run on a runtime; it keeps nothing up to date yet.
    #[must_use]
    pub fn start(runtime: Handle) -> Self {
        let permits = Arc::new(Semaphore::new(LOOKUPS_AT_ONCE));
        Self { runtime, permits, board: Arc::default(), watches: Mutex::default() }
    }

    /// Replaces what is kept up to date. What stays goes on as if nothing had happened, what is new
    /// is looked at at once.
    pub fn watch(&self, wanted: Wanted) {
        let Wanted { spec, names, files } = wanted;
        let mut watches = self.watches();
        watches.reap();
        self.board.keep_only(&names, files.clone());
        if watches.spec != spec {
            watches.begin_anew(spec);
        }
        let mut before = std::mem::take(&mut watches.names);
        for name in names {
            let kept = before.remove(&name).filter(|task| !task.is_finished());
            let task = kept.unwrap_or_else(|| self.begin(&mut watches, name.clone()));
            watches.names.insert(name, task);
        }
        before.values().for_each(AbortHandle::abort);
        let mut before = std::mem::take(&mut watches.files);
        for (group, path) in files {
            let goes_on =
                |(kept, task): &(PathBuf, AbortHandle)| *kept == path && !task.is_finished();
            let watch = match before.remove(&group) {
                Some(watch) if goes_on(&watch) => watch,
                changed => {
                    changed.inspect(|(_, task)| task.abort());
                    let task = self.begin_file(&mut watches, group.clone(), path.clone());
                    (path, task)
                }
            };
            watches.files.insert(group, watch);
        }
        before.values().for_each(|(_, task)| task.abort());
    }

    /// What is another since this was last asked; `None` if nothing is. Never waits.
    #[must_use]
    pub fn news(&self) -> Option<News> {
        self.board.take()
    }

    /// How many lists of targets were heard so far.
    #[must_use]
    pub fn list_count(&self) -> ListCount {
        self.board.list_count()
    }

    /// Why a name did not resolve when it was last asked for; `None` if it did.
    #[must_use]
    pub fn failure(&self, name: &TargetName) -> Option<String> {
        self.board.failure(name)
    }

    /// Whether the addresses of a name are known.
    #[must_use]
    pub fn knows(&self, name: &TargetName) -> bool {
        self.board.knows(name)
    }

    /// Whether every name was asked for once; true if there is none.
    #[must_use]
    pub fn all_asked(&self) -> bool {
        self.board.all_asked()
    }

    /// Waits until every name was asked for once, or for this long.
    pub async fn first_answers(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.board.until_all_asked()).await.is_err() {
            tracing::warn!("not every name was resolved in time; their targets come later");
        }
    }

    /// Ends every task and waits until the last one is gone.
    pub async fn shutdown(&self) {
        let mut watches = std::mem::take(&mut *self.watches());
        watches.tasks.shutdown().await;
    }

    fn begin(&self, watches: &mut Watches, name: TargetName) -> AbortHandle {
        let client = Arc::clone(&watches.client);
        let (board, permits) = (Arc::clone(&self.board), Arc::clone(&self.permits));
        let job = Job { name, client, board, permits };
        watches.tasks.spawn_on(job.run(), &self.runtime)
    }

    fn begin_file(
        &self,
        watches: &mut Watches,
        group: TargetGroupName,
        path: PathBuf,
    ) -> AbortHandle {
        let job = FileJob { group, path, board: Arc::clone(&self.board) };
        watches.tasks.spawn_on(job.run(), &self.runtime)
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Watches {
    fn default() -> Self {
        let spec = ResolverSpec::default();
        Self {
            client: Arc::new(LateClient::new(spec.clone())),
            spec,
            names: BTreeMap::new(),
            files: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }
}

impl Watches {
    /// Others are asked from now on: every name anew.
    fn begin_anew(&mut self, spec: ResolverSpec) {
        self.client = Arc::new(LateClient::new(spec.clone()));
        self.spec = spec;
        std::mem::take(&mut self.names).values().for_each(AbortHandle::abort);
    }

    /// Lets go of tasks that ended. None does so by itself: one that was not ended by us panicked,
    /// and what it kept is begun anew.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a task that keeps targets up to date panicked");
            }
        }
    }
}

/// Asks once for every name; gives those that do not resolve, each with why.
pub async fn check_names(
    spec: &ResolverSpec,
    names: BTreeSet<TargetName>,
) -> BTreeMap<TargetName, LookupError> {
    let client = Arc::new(LateClient::new(spec.clone()));
    let permits = Arc::new(Semaphore::new(LOOKUPS_AT_ONCE));
    let mut lookups = JoinSet::new();
    for name in names {
        let (client, permits) = (Arc::clone(&client), Arc::clone(&permits));
        lookups.spawn(async move {
            let _permit = permits.acquire().await.expect("the semaphore is never closed");
            let found = match client.ready().await {
                Ok(client) => look_up(client, &name, &mut Known::default()).await,
                Err(error) => Err(error),
            };
            (name, found)
        });
    }
    let mut failed = BTreeMap::new();
    while let Some(ended) = lookups.join_next().await {
        // One that panicked says nothing against its name.
        if let Ok((name, Err(error))) = ended {
            failed.insert(name, error);
        }
    }
    failed
}

/// The most names that are asked for at the same time.
const LOOKUPS_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::core::model::{Span, TargetAddress};
    use crate::resolve::{Dns, Record};

    const DEADLINE: Duration = Duration::from_secs(20);

    fn name(text: &str) -> TargetName {
        text.parse().expect("valid")
    }

    fn addresses(texts: &[&str]) -> Vec<TargetAddress> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    fn spec(dns: &Dns) -> ResolverSpec {
        ResolverSpec { nameservers: vec![dns.address()], timeout: Span::from_ms(300) }
    }

    fn watching(dns: &Dns, names: &[&str]) -> Resolver {
        let resolver = Resolver::start(Handle::current());
        let names = names.iter().map(|text| name(text)).collect();
        resolver.watch(Wanted { spec: spec(dns), names, files: BTreeMap::new() });
        resolver
    }

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

    async fn answer(resolver: &Resolver, text: &str) -> Vec<TargetAddress> {
        let mut news = until("there is an answer", || resolver.news()).await;
        news.answers.remove(&name(text)).expect("it is about the name")
    }

    #[tokio::test]
    async fn an_answer_counts_for_its_time_and_the_next_moves_the_target() {
        let dns = Dns::start().await;
        dns.set("shop.test", &[Record::A([10, 0, 0, 2]), Record::A([10, 0, 0, 1])]);
        let resolver = watching(&dns, &["shop.test:80"]);
        let first = answer(&resolver, "shop.test:80").await;
        assert_eq!(first, addresses(&["10.0.0.1:80", "10.0.0.2:80"]));
        assert!(resolver.all_asked() && resolver.knows(&name("shop.test:80")));
        dns.set("shop.test", &[Record::A([10, 0, 0, 3])]);
        assert_eq!(answer(&resolver, "shop.test:80").await, addresses(&["10.0.0.3:80"]));
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn a_name_is_at_its_addresses_of_both_families_and_of_one_alone() {
        let dns = Dns::start().await;
        let v6 = Record::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        dns.set("shop.test", &[Record::A([10, 0, 0, 1]), v6.clone()]);
        let resolver = watching(&dns, &["shop.test:80"]);
        let both = addresses(&["10.0.0.1:80", "[2001:db8::1]:80"]);
        assert_eq!(answer(&resolver, "shop.test:80").await, both);
        dns.set("shop.test", &[v6]);
        assert_eq!(answer(&resolver, "shop.test:80").await, addresses(&["[2001:db8::1]:80"]));
        dns.set("shop.test", &[Record::A([10, 0, 0, 2])]);
        assert_eq!(answer(&resolver, "shop.test:80").await, addresses(&["10.0.0.2:80"]));
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn an_outage_and_a_name_that_is_gone_take_nothing_away() {
        let dns = Dns::start().await;
        dns.set("shop.test", &[Record::A([10, 0, 0, 1])]);
        let resolver = watching(&dns, &["shop.test:80"]);
        answer(&resolver, "shop.test:80").await;
        let shop = name("shop.test:80");
        dns.silence(true);
        until("nobody answers", || resolver.failure(&shop)).await;
        dns.silence(false);
        dns.set("shop.test", &[]);
        let gone = || resolver.failure(&shop).filter(|why| why == "there is no such name");
        until("the name is gone", gone).await;
        assert!(resolver.news().is_none() && resolver.knows(&shop));
        dns.set("shop.test", &[Record::A([10, 0, 0, 2])]);
        assert_eq!(answer(&resolver, "shop.test:80").await, addresses(&["10.0.0.2:80"]));
        assert_eq!(resolver.failure(&shop), None);
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn an_answer_may_take_a_while_and_one_that_takes_too_long_takes_nothing_away() {
        let dns = Dns::start().await;
        dns.set("slow.test", &[Record::A([10, 0, 0, 1])]);
        dns.delay("slow.test", Duration::from_millis(20));
        let resolver = watching(&dns, &["slow.test:80"]);
        assert_eq!(answer(&resolver, "slow.test:80").await, addresses(&["10.0.0.1:80"]));
        dns.delay("slow.test", Duration::from_secs(3));
        let slow = name("slow.test:80");
        until("it is too slow", || resolver.failure(&slow)).await;
        assert!(resolver.news().is_none() && resolver.knows(&slow));
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn srv_records_give_hosts_and_ports_of_the_lowest_priority() {
        let dns = Dns::start().await;
        let srv = |priority, port, host| Record::Srv { priority, port, host };
        let service = "_http._tcp.shop.test";
        dns.set(service, &[srv(1, 81, "a.test"), srv(1, 82, "b.test"), srv(2, 83, "c.test")]);
        dns.set("a.test", &[Record::A([10, 0, 0, 1])]);
        dns.set("b.test", &[Record::A([10, 0, 0, 2]), Record::A([10, 0, 0, 3])]);
        dns.set("c.test", &[Record::A([10, 0, 0, 4])]);
        let written = "srv:_http._tcp.shop.test";
        let resolver = watching(&dns, &[written]);
        let expected = addresses(&["10.0.0.1:81", "10.0.0.2:82", "10.0.0.3:82"]);
        assert_eq!(answer(&resolver, written).await, expected);
        // A host that is gone keeps its addresses as long as the records name it.
        dns.set("a.test", &[]);
        dns.set("b.test", &[Record::A([10, 0, 0, 2])]);
        assert_eq!(answer(&resolver, written).await, addresses(&["10.0.0.1:81", "10.0.0.2:82"]));
        dns.set(service, &[srv(2, 83, "c.test")]);
        assert_eq!(answer(&resolver, written).await, addresses(&["10.0.0.4:83"]));
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn a_name_that_is_not_wanted_any_more_is_not_asked_for() {
        let dns = Dns::start().await;
        dns.set("shop.test", &[Record::A([10, 0, 0, 1])]);
        let resolver = watching(&dns, &["shop.test:80"]);
        resolver.first_answers(DEADLINE).await;
        resolver.watch(Wanted { spec: spec(&dns), ..Wanted::default() });
        assert!(resolver.news().is_none() && !resolver.knows(&name("shop.test:80")));
        let tasks = || resolver.watches().tasks.try_join_next().map(|_| ());
        until("its task is gone", tasks).await;
        let asked = dns.asked();
        resolver.watch(Wanted {
            spec: spec(&dns),
            names: BTreeSet::from([name("shop.test:80")]),
            files: BTreeMap::new(),
        });
        resolver.first_answers(DEADLINE).await;
        assert!(dns.asked() > asked && resolver.knows(&name("shop.test:80")));
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_gives_another_list_and_a_bad_one_gives_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.targets");
        let replace = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, &path).expect("renamed");
        };
        replace("127.0.0.1:9001\n");
        let group: TargetGroupName = "a".parse().expect("valid");
        let resolver = Resolver::start(Handle::current());
        let files = BTreeMap::from([(group.clone(), path.clone())]);
        resolver.watch(Wanted { files, ..Wanted::default() });
        let list = async || {
            let mut news = until("there is a list", || resolver.news()).await;
            let list = news.lists.remove(&group).expect("it is about the group");
            list.targets.iter().map(|target| target.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list().await, ["127.0.0.1:9001"]);
        replace("nowhere\n");
        replace("- 127.0.0.1:9002\n- shop.test:80\n");
        assert_eq!(list().await, ["127.0.0.1:9002", "shop.test:80"]);
        resolver.shutdown().await;
    }

    #[tokio::test]
    async fn names_are_checked_once_and_each_failure_says_why() {
        let dns = Dns::start().await;
        dns.set("shop.test", &[Record::A([10, 0, 0, 1])]);
        dns.set("_x._tcp.shop.test", &[Record::A([10, 0, 0, 1])]);
        let names = ["shop.test:80", "gone.test:80", "srv:_x._tcp.shop.test"].map(name);
        let failed = check_names(&spec(&dns), BTreeSet::from(names)).await;
        let expected = [
            (name("gone.test:80"), LookupError::NoSuchName),
            (name("srv:_x._tcp.shop.test"), LookupError::NoAddress),
        ];
        assert_eq!(failed, BTreeMap::from(expected));
    }
}
