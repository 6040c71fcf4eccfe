//! `limits` of a listener: the bounds on its clients.

use super::bytes::bytes_between;
use super::node::Node;
use crate::core::model::{ClientLimits, Span};

/// Reads the section.
pub(super) fn client_limits(node: &Node<'_>) -> ClientLimits {
    let default = ClientLimits::default();
    let mut fields = node.fields();
    let mut count = |key, most, default| {
        fields.take(key).and_then(|node| node.count(1..=most)).unwrap_or(default)
    };
    let connections = count("connections", MOST_CONNECTIONS, default.connections);
    let per_client = fields.take("connections_per_client");
    let per_client_given = per_client.as_ref().and_then(|node| node.count(1..=MOST_CONNECTIONS));
    if let (Some(given), Some(node)) = (per_client_given, &per_client)
        && given > connections
    {
        node.mistake_with_fix(
            format!("{given} is above `connections`, which is {connections}"),
            "one client cannot have more connections than all of them together",
        );
    }
    let mut count = |key, most, default| {
        fields.take(key).and_then(|node| node.count(1..=most)).unwrap_or(default)
    };
    let header_count = count("header_count", MOST_FIELDS, default.header_count);
    let h2_streams = count("h2_streams", MOST_STREAMS, default.h2_streams);
    let h2_control_frames = fields
        .take("h2_control_frames")
        .and_then(|node| node.count(FEWEST_CONTROL_FRAMES..=MOST_CONTROL_FRAMES));
    let body_rate = fields.take("body_rate").and_then(|node| node.count(0..=u32::MAX));
    let header_bytes =
        fields.take("header_bytes").and_then(|node| bytes_between(&node, "1KiB", "256KiB"));
    let body_bytes =
        fields.take("body_bytes").and_then(|node| bytes_between(&node, "1KiB", "1024TiB"));
    let mut span = |key, least, default| {
        fields.take(key).and_then(|node| node.span_from(least)).unwrap_or(default)
    };
    let limits = ClientLimits {
        connections,
        connections_per_client: per_client_given
            .unwrap_or(default.connections_per_client.min(connections)),
        header: span("header", Span::from_ms(10), default.header),
        header_bytes: header_bytes
            .and_then(|bytes| u32::try_from(bytes).ok())
            .unwrap_or(default.header_bytes),
        header_count,
        body_bytes: body_bytes.unwrap_or(default.body_bytes),
        body_read: span("body_read", Span::from_ms(10), default.body_read),
        body_rate: body_rate.unwrap_or(default.body_rate),
        response_write: span("response_write", Span::from_ms(10), default.response_write),
        keepalive: span("keepalive", Span::from_secs(1), default.keepalive),
        body_drain: span("body_drain", Span::from_ms(10), default.body_drain),
        h2_streams,
        h2_control_frames: h2_control_frames.unwrap_or(default.h2_control_frames),
    };
    fields.finish();
    limits
}

const MOST_CONNECTIONS: u32 = 1_000_000;
/// Pingora reads no more fields than this.
const MOST_FIELDS: u32 = 256;
const MOST_STREAMS: u32 = 10_000;
/// The first frames of a client are such frames.
const FEWEST_CONTROL_FRAMES: u32 = 10;
const MOST_CONTROL_FRAMES: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::super::listeners::tests::with_listener;
    use super::*;
    use crate::config::tests::{parse, refuses};

    fn read(keys: &str) -> ClientLimits {
        let text = with_listener(&format!("limits: {{ {keys} }}"));
        parse(&text).expect(&text).listeners[0].limits
    }

    #[test]
    fn every_limit_is_read_and_has_a_default() {
        assert_eq!(read(""), ClientLimits::default());
        let all = read(
            "connections: 7, connections_per_client: 6, header: 5s, header_bytes: 8KiB, header_count: 4, body_bytes: 3MiB, body_read: 2s, body_rate: 0, response_write: 9s, keepalive: 8s, body_drain: 1s, h2_streams: 10, h2_control_frames: 20",
        );
        let expected = ClientLimits {
            connections: 7,
            connections_per_client: 6,
            header: Span::from_secs(5),
            header_bytes: 8 << 10,
            header_count: 4,
            body_bytes: 3 << 20,
            body_read: Span::from_secs(2),
            body_rate: 0,
            response_write: Span::from_secs(9),
            keepalive: Span::from_secs(8),
            body_drain: Span::from_secs(1),
            h2_streams: 10,
            h2_control_frames: 20,
        };
        assert_eq!(all, expected);
        // One client can have all of fewer connections than its own limit would be.
        assert_eq!(read("connections: 10").connections_per_client, 10);
    }

    #[test]
    fn every_mistake_of_a_limit_is_told_where_it_is() {
        let check = |keys: &str, expected: &str| {
            let text = with_listener(&format!("limits: {{ {keys} }}"));
            refuses(&text, &format!("line 1: listeners[0].limits.{expected}"));
        };
        check("connections: 0", "connections: wanted a whole number from 1 to 1000000");
        check(
            "connections: 10, connections_per_client: 11",
            "connections_per_client: 11 is above `connections`, which is 10; one client cannot",
        );
        check("connections_per_client: 20001", "connections_per_client: 20001 is above");
        check("header: 5ms", "header: 5ms is too short: at least 10ms");
        check("header: 10", "header: \"10\" has no unit");
        check("header_bytes: 512KiB", "header_bytes: \"512KiB\" is not between 1KiB and 256KiB");
        check(
            "header_bytes: 8192",
            "header_bytes: \"8192\" is not an amount of bytes: for example",
        );
        check("header_count: 257", "header_count: wanted a whole number from 1 to 256");
        check("body_bytes: 0KiB", "body_bytes: \"0KiB\" is not between 1KiB and 1024TiB");
        check("body_rate: -1", "body_rate: wanted a whole number from 0 to");
        check("body_read: 0s", "body_read: 0s is too short");
        check("response_write: 0s", "response_write: 0s is too short");
        check("keepalive: 500ms", "keepalive: 500ms is too short: at least 1s");
        check("body_drain: 0s", "body_drain: 0s is too short");
        check("h2_streams: 0", "h2_streams: wanted a whole number from 1 to 10000");
        check(
            "h2_control_frames: 9",
            "h2_control_frames: wanted a whole number from 10 to 1000000",
        );
        check("header_byte: 1KiB", "header_byte: unknown key; did you mean `header_bytes`?");
    }
}
