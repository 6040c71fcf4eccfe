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
    };
    fields.finish();
    limits
}

const MOST_CONNECTIONS: u32 = 1_000_000;
/// Pingora reads no more fields than this.
const MOST_FIELDS: u32 = 256;
const MOST_STREAMS: u32 = 10_000;
