//! Pages of lists: `?limit` and `?cursor`.

use serde::Deserialize;
use utoipa::IntoParams;

use super::json;
use super::problem::Denied;

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The most items, 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    /// A page from its parts; for lists with more parameters.
    pub(super) fn new(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The most items.
    pub(super) fn limit(&self) -> Result<usize, Denied> {
        match self.limit {
            None => Ok(USUAL),
            Some(limit) if (1..=LONGEST).contains(&limit) => Ok(limit),
            Some(limit) => {
                let detail = format!("a page has 1 to {LONGEST} items, not {limit}");
                Err(Denied::bad("bad_query", detail).at("query limit"))
            }
        }
    }

    /// The cursor as a number; `None` on the first page.
    pub(super) fn cursor_number(&self) -> Result<Option<u64>, Denied> {
        let number = self.cursor.as_deref().map(str::parse::<u64>).transpose();
        number
            .map_err(|_| Denied::bad("bad_query", "it is not `next` of a page").at("query cursor"))
    }

    /// The page of a list whose items come with the keys they are ordered by. The cursor is the
    /// last key of a page, so that items that come or go shift nothing.
    pub(super) fn page<T>(
        &self,
        items: impl IntoIterator<Item = (String, T)>,
    ) -> Result<json::Page<T>, Denied> {
        let limit = self.limit()?;
        let after = |key: &String| self.cursor.as_ref().is_none_or(|cursor| key > cursor);
        let mut rest: Vec<(String, T)> = items.into_iter().filter(|(key, _)| after(key)).collect();
        rest.sort_by(|a, b| a.0.cmp(&b.0));
        let more = rest.len() > limit;
        rest.truncate(limit);
        let next = rest.last().filter(|_| more).map(|(key, _)| key.clone());
        Ok(json::Page { items: rest.into_iter().map(|(_, item)| item).collect(), next })
    }
}

const USUAL: usize = 100;
const LONGEST: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_together_are_the_list() {
        let all = || (0..7).map(|n| (format!("k{n}"), n));
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = PageQuery::new(Some(3), cursor).page(all()).expect("valid");
            assert!(page.items.len() <= 3);
            seen.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_length_of_a_page_is_bounded() {
        for bad in [0, 1_001] {
            assert!(PageQuery::new(Some(bad), None).limit().is_err());
        }
        assert!(PageQuery::new(None, Some("x".to_owned())).cursor_number().is_err());
    }
}
