//! `access_log`: where requests are logged; without the section they are not.

use std::path::Path;

use super::file_path;
use super::node::Node;
use crate::core::model::{AccessLogSpec, Weight};

/// Reads the section; `None` if it names no file.
pub(super) fn access_log(node: &Node<'_>, base_dir: &Path) -> Option<AccessLogSpec> {
    let mut fields = node.fields();
    let path = fields.require("path").and_then(|node| file_path(&node, base_dir));
    let buffer = fields.take("buffer").and_then(|node| node.count(1..=LARGEST_BUFFER));
    let sample = fields.take("sample").and_then(|node| share(&node));
    let query = fields.take("query").and_then(|node| node.flag());
    fields.finish();
    Some(AccessLogSpec {
        path: path?,
        buffer: buffer.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(DEFAULT_BUFFER),
        sample: sample.unwrap_or(Weight::FULL),
        query: query.unwrap_or(false),
    })
}

fn share(node: &Node<'_>) -> Option<Weight> {
    let share = node.quantity::<Weight>()?;
    if share == Weight::ZERO {
        node.mistake_with_fix("0% logs nothing", "leave the section `access_log` out");
        return None;
    }
    Some(share)
}

const DEFAULT_BUFFER: usize = 8_192;
/// A line that waits takes some hundred bytes, with a path of full length a few thousand.
const LARGEST_BUFFER: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;
    use crate::config::tests::{BASE, parse, refuses, with};
    use crate::core::model::{AccessLogSpec, Weight};

    #[test]
    fn without_the_section_nothing_is_logged() {
        assert_eq!(parse(BASE).unwrap().access_log, None);
    }

    #[test]
    fn the_path_is_relative_to_the_file_and_the_rest_has_defaults() {
        let text = with("access_log: { path: logs/access.log }");
        let found = Config::parse(&text, Path::new("/etc/tidegate")).unwrap().access_log;
        let path = "/etc/tidegate/logs/access.log".into();
        let wanted = AccessLogSpec { path, buffer: 8_192, sample: Weight::FULL, query: false };
        assert_eq!(found, Some(wanted));
        let text = with("access_log: { path: a.log, buffer: 9, sample: 0.5%, query: true }");
        let found = parse(&text).unwrap().access_log.unwrap();
        assert_eq!((found.buffer, found.sample.bp(), found.query), (9, 50, true));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        refuses(&with("access_log: {}"), "line 4: access_log: `path` is missing");
        refuses(&with("access_log: { path: '' }"), "access_log.path: wanted the path of a file");
        refuses(&with("access_log: { path: a, buffer: 0 }"), "access_log.buffer: wanted a whole");
        refuses(
            &with("access_log: { path: a, sample: 1 }"),
            "access_log.sample: \"1\" has no unit",
        );
        refuses(&with("access_log: { path: a, sample: 0% }"), "access_log.sample: 0% logs nothing");
        refuses(&with("access_log: { path: a, format: json }"), "access_log.format: unknown key");
    }
}
