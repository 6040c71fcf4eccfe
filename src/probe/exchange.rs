//! Exchanges over HTTP/2: one for each check, on a connection of its own.
//!
//! The connection is driven in the check's own task, so that a check that runs out of time leaves
//! nothing behind.

use std::pin::pin;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};

use super::ProbeFailure;
use super::line::Io;

/// Shakes hands, and goes on with the exchange while the connection is driven beside it.
pub(super) async fn over<E>(
    stream: impl Io,
    header_limit: u32,
    exchange: impl FnOnce(SendRequest<Bytes>) -> E,
) -> Result<(), ProbeFailure>
where
    E: Future<Output = Result<(), ProbeFailure>>,
{
    let (sender, connection) = Builder::new()
        .enable_push(false)
        .max_header_list_size(header_limit)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(|error| ProbeFailure::broken(&error))?;
    let mut exchange = pin!(exchange(sender));
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // A connection that is over has handed on all it had: the exchange ends with that.
        _ = connection => exchange.await,
    }
}
