//! A check by path over HTTP/2: one request on a connection of its own.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::Request;
use http::header::USER_AGENT;

use crate::core::model::StatusRange;

use super::ProbeFailure;
use super::exchange::over;
use super::line::Io;

/// The request of a check.
pub(super) fn request(scheme: &str, host: &str, path: &str) -> Result<Request<()>, ProbeFailure> {
    Request::get(format!("{scheme}://{host}{path}"))
        .header(USER_AGENT, "tidegate-probe")
        .body(())
        .map_err(|error| ProbeFailure::unsendable(&error))
}

/// Asks a target, whose answer must have one of the expected statuses.
pub(super) async fn ask(
    stream: impl Io,
    request: Request<()>,
    expected: StatusRange,
) -> Result<(), ProbeFailure> {
    over(stream, HEADER_LIMIT, |sender| exchange(sender, request, expected)).await
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    expected: StatusRange,
) -> Result<(), ProbeFailure> {
    let broken = |error: h2::Error| ProbeFailure::broken(&error);
    let mut sender = sender.ready().await.map_err(broken)?;
    let (answer, _) = sender.send_request(request, true).map_err(broken)?;
    let (head, body) = answer.await.map_err(broken)?.into_parts();
    let status = head.status.as_u16();
    if !expected.contains(status) {
        return Err(ProbeFailure::Status { status });
    }
    read(body).await
}

/// Reads a body to its end, so that the target sees a whole request served; gives up without
/// blame where it is longer than a health check needs.
async fn read(mut body: RecvStream) -> Result<(), ProbeFailure> {
    let broken = |error: h2::Error| ProbeFailure::broken(&error);
    let mut length = 0;
    while length < BODY_LIMIT
        && let Some(part) = body.data().await
    {
        let part = part.map_err(broken)?;
        length += part.len();
        body.flow_control().release_capacity(part.len()).map_err(broken)?;
    }
    Ok(())
}

const HEADER_LIMIT: u32 = 32 * 1_024;
const BODY_LIMIT: usize = 64 * 1_024;
