//! The board: what is known of every name now, and what the writer has not taken yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::core::model::{Target, TargetAddress, TargetGroupName, TargetName};

use super::{HeardList, ListCount, LookupError, News};

/// What tasks find and the writer takes. The newest finding replaces an older one that nobody took,
/// so that the board never holds more than there are names and files.
#[derive(Debug, Default)]
pub(super) struct Board {
    inner: Mutex<Inner>,
    answered: Notify,
    lists: ListCount,
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<TargetName, State>,
    files: BTreeMap<TargetGroupName, PathBuf>,
    news: News,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
struct State {
    addresses: Vec<TargetAddress>,
    /// Why the last look failed; `None` if it did not.
    failure: Option<String>,
    /// Whether a look is over.
    asked: bool,
}

impl Board {
    /// Begins to know of names and files, and forgets all others.
    pub(super) fn keep_only(
        &self,
        names: &BTreeSet<TargetName>,
        files: BTreeMap<TargetGroupName, PathBuf>,
    ) {
        let mut inner = self.inner();
        let Inner { names: known, files: listed, news } = &mut *inner;
        known.retain(|name, _| names.contains(name));
        for name in names {
            known.entry(name.clone()).or_default();
        }
        news.answers.retain(|name, _| names.contains(name));
        // What another file of the same group gave is no news either.
        news.lists.retain(|group, _| {
            files.get(group).is_some_and(|path| listed.get(group) == Some(path))
        });
        *listed = files;
    }

    /// A look found a name's addresses.
    pub(super) fn found(&self, name: &TargetName, addresses: Vec<TargetAddress>) {
        let mut inner = self.inner();
        let Inner { names, news, .. } = &mut *inner;
        // A name that was let go of in the meantime is no news.
        let Some(state) = names.get_mut(name) else { return };
        state.asked = true;
        let failed = state.failure.take().is_some();
        if state.addresses != addresses {
            let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            tracing::info!(%name, addresses = listed, "a name's addresses changed");
            state.addresses.clone_from(&addresses);
            news.answers.insert(name.clone(), addresses);
        } else if failed {
            tracing::info!(%name, "a name resolves again");
        }
        drop(inner);
        self.answered.notify_waiters();
    }

    /// A look found nothing: what was known stays.
    pub(super) fn failed(&self, name: &TargetName, error: &LookupError) {
        let mut inner = self.inner();
        let Some(state) = inner.names.get_mut(name) else { return };
        state.asked = true;
        if state.failure.is_none() {
            let kept = state.addresses.len();
            tracing::warn!(%name, %error, kept, "a name does not resolve; what was known stays");
        }
        state.failure = Some(error.to_string());
        drop(inner);
        self.answered.notify_waiters();
    }

    /// A file lists other targets.
    pub(super) fn listed(&self, group: &TargetGroupName, file: &Path, targets: Vec<Target>) {
        let mut inner = self.inner();
        if inner.files.get(group).is_some_and(|kept| kept == file) {
            let list = HeardList { number: self.lists.count(), targets };
            inner.news.lists.insert(group.clone(), list);
        }
    }

    /// How many lists were heard.
    pub(super) fn list_count(&self) -> ListCount {
        self.lists.clone()
    }

    /// Takes what nobody took yet; `None` if there is nothing.
    pub(super) fn take(&self) -> Option<News> {
        let mut inner = self.inner();
        let nothing = inner.news.answers.is_empty() && inner.news.lists.is_empty();
        (!nothing).then(|| std::mem::take(&mut inner.news))
    }

    /// Why a name's last look failed; `None` if it did not, or nobody looked.
    pub(super) fn failure(&self, name: &TargetName) -> Option<String> {
        self.inner().names.get(name)?.failure.clone()
    }

    /// Whether a name has addresses.
    pub(super) fn knows(&self, name: &TargetName) -> bool {
        self.inner().names.get(name).is_some_and(|state| !state.addresses.is_empty())
    }

    /// Whether a first look at every name is over.
    pub(super) fn all_asked(&self) -> bool {
        self.inner().names.values().all(|state| state.asked)
    }

    /// Waits until a first look at every name is over.
    pub(super) async fn until_all_asked(&self) {
        loop {
            let answered = self.answered.notified();
            if self.all_asked() {
                return;
            }
            answered.await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TargetName {
        text.parse().expect("valid")
    }

    #[test]
    fn only_what_changed_is_news_and_the_newest_counts() {
        let board = Board::default();
        let (shop, gone) = (name("shop.internal:80"), name("gone.internal:80"));
        board.keep_only(&BTreeSet::from([shop.clone()]), BTreeMap::new());
        assert!(!board.all_asked());
        let at = |text: &str| vec![text.parse::<TargetAddress>().expect("valid")];
        board.found(&shop, at("10.0.0.1:80"));
        board.found(&shop, at("10.0.0.2:80"));
        board.found(&gone, at("10.0.0.3:80"));
        let news = board.take().expect("news");
        assert_eq!(news.answers, BTreeMap::from([(shop.clone(), at("10.0.0.2:80"))]));
        board.found(&shop, at("10.0.0.2:80"));
        board.failed(&shop, &LookupError::NoSuchName);
        assert!(board.take().is_none());
        assert_eq!(board.failure(&shop).as_deref(), Some("there is no such name"));
        assert!(board.knows(&shop) && board.all_asked() && !board.knows(&gone));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_no_news() {
        let board = Board::default();
        let (shop, group) = (name("shop.internal:80"), "a".parse::<TargetGroupName>());
        let group = group.expect("valid");
        let file = |path: &str| BTreeMap::from([(group.clone(), PathBuf::from(path))]);
        board.keep_only(&BTreeSet::from([shop.clone()]), file("one"));
        board.found(&shop, vec!["10.0.0.1:80".parse().expect("valid")]);
        board.listed(&group, Path::new("one"), Vec::new());
        board.keep_only(&BTreeSet::new(), BTreeMap::new());
        assert!(board.take().is_none());
        board.listed(&group, Path::new("one"), Vec::new());
        assert!(board.take().is_none());

        board.keep_only(&BTreeSet::new(), file("one"));
        board.listed(&group, Path::new("one"), Vec::new());
        board.keep_only(&BTreeSet::new(), file("two"));
        assert!(board.take().is_none(), "the group has another file");
        board.listed(&group, Path::new("one"), Vec::new());
        assert!(board.take().is_none(), "its old file says nothing any more");
        let before = board.list_count().last();
        board.listed(&group, Path::new("two"), Vec::new());
        let news = board.take().expect("news");
        assert!(news.lists[&group].number > before);
        assert_eq!(news.lists[&group].number, board.list_count().last());
    }
}
