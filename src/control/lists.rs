//! Lists of targets that files gave, each until it is in force or another one takes its place.
//!
//! A list may come when it cannot be used: while a rollout needs what it takes away, or while a
//! change of its group is being saved. Its file does not change again because of that, so the last
//! list of each file waits here and is tried at every look. And a configuration may have waited
//! itself, for DNS or for gates, since its files were read: what was heard since then counts.

use std::collections::BTreeMap;

use crate::core::model::TargetGroupName;
use crate::resolve::{HeardList, ListNumber};

use super::Refusal;

/// What files gave.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The last list of each file that is not in force yet.
    waiting: BTreeMap<TargetGroupName, Waiting>,
    /// The number of the list that a group has from its file.
    taken: BTreeMap<TargetGroupName, ListNumber>,
    /// The last list that was heard before the files were read for the configuration in force.
    read: ListNumber,
}

/// A list that is not in force yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) list: HeardList,
    /// Why it cannot be used, as told last; `None` as long as nothing was told.
    told: Option<String>,
}

impl Lists {
    /// Takes lists; each replaces one of the same file that still waits.
    pub(super) fn hear(&mut self, lists: BTreeMap<TargetGroupName, HeardList>) {
        let read = self.read;
        let younger = lists.into_iter().filter(|(_, list)| list.number > read);
        self.waiting.extend(younger.map(|(group, list)| (group, Waiting { list, told: None })));
    }

    /// Gives out every list that waits, to be tried.
    pub(super) fn take_waiting(&mut self) -> BTreeMap<TargetGroupName, Waiting> {
        std::mem::take(&mut self.waiting)
    }

    /// Takes back a list that cannot be used yet.
    pub(super) fn keep(&mut self, group: TargetGroupName, waiting: Waiting) {
        self.waiting.insert(group, waiting);
    }

    /// A group has this list now.
    pub(super) fn took(&mut self, group: TargetGroupName, number: ListNumber) {
        self.taken.insert(group, number);
    }

    /// Whether what a group has is younger than a reading of its file that began when this list was
    /// the last.
    pub(super) fn has_younger(&self, group: &TargetGroupName, read: ListNumber) -> bool {
        self.read > read || self.taken.get(group).is_some_and(|taken| *taken > read)
    }

    /// A configuration whose files were read when this list was the last is in force; lists of
    /// groups that have no file any more, or another one, are forgotten.
    pub(super) fn reloaded(
        &mut self,
        read: ListNumber,
        has_same_file: impl Fn(&TargetGroupName) -> bool,
    ) {
        self.read = self.read.max(read);
        let read = self.read;
        self.taken.retain(|group, _| has_same_file(group));
        self.waiting.retain(|group, waiting| waiting.list.number > read && has_same_file(group));
    }
}

impl Waiting {
    /// Takes note of why it cannot be used; gives whether that is to be told. A change that is
    /// being saved is over in a moment.
    pub(super) fn is_to_be_told(&mut self, why: &Refusal) -> bool {
        if matches!(why, Refusal::Busy(_)) {
            return false;
        }
        let why = why.to_string();
        let is_new = self.told.as_ref() != Some(&why);
        self.told = Some(why);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::ListCount;

    fn group(name: &str) -> TargetGroupName {
        name.parse().expect("valid")
    }

    fn heard(count: &ListCount, name: &str) -> BTreeMap<TargetGroupName, HeardList> {
        let list = HeardList { number: count.count(), targets: Vec::new() };
        BTreeMap::from([(group(name), list)])
    }

    fn waiting(lists: &mut Lists) -> Vec<TargetGroupName> {
        let waiting = lists.take_waiting();
        let names = waiting.keys().cloned().collect();
        lists.waiting = waiting;
        names
    }

    #[test]
    fn a_list_waits_until_it_is_taken_and_is_told_of_once() {
        let (mut lists, count) = (Lists::default(), ListCount::default());
        lists.hear(heard(&count, "a"));
        let mut all = lists.take_waiting();
        let mut list = all.remove(&group("a")).expect("it waits");
        assert!(waiting(&mut lists).is_empty());
        let refusal = |text: &str| Refusal::Reload(text.to_owned());
        assert!(!list.is_to_be_told(&Refusal::Busy("a".to_owned())));
        assert!(list.is_to_be_told(&refusal("one")));
        assert!(!list.is_to_be_told(&refusal("one")));
        assert!(list.is_to_be_told(&refusal("another")));
        lists.keep(group("a"), list);
        assert_eq!(waiting(&mut lists), [group("a")]);
    }

    #[test]
    fn what_was_heard_before_a_reading_is_older_than_what_was_read() {
        let (mut lists, count) = (Lists::default(), ListCount::default());
        lists.hear(heard(&count, "a"));
        let unheard = heard(&count, "b");
        let read = count.last();
        lists.hear(heard(&count, "c"));
        lists.reloaded(read, |_| true);
        lists.hear(unheard);
        assert_eq!(
            waiting(&mut lists),
            [group("c")],
            "the others were read with the configuration"
        );
        lists.reloaded(read, |_| false);
        assert!(waiting(&mut lists).is_empty(), "its group has another file");
    }

    #[test]
    fn what_was_taken_since_a_reading_is_younger_than_what_was_read() {
        let (mut lists, count) = (Lists::default(), ListCount::default());
        let first = count.last();
        lists.took(group("a"), count.count());
        let second = count.last();
        assert!(lists.has_younger(&group("a"), first));
        assert!(!lists.has_younger(&group("a"), second) && !lists.has_younger(&group("b"), first));
        lists.reloaded(second, |_| true);
        assert!(!lists.has_younger(&group("b"), second));
        assert!(lists.has_younger(&group("b"), first), "a later reading is in force already");
    }
}
