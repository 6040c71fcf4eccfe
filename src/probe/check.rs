//! One check of one target.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::core::model::{HealthCheck, Probe, StatusRange, TargetProtocol};
use crate::tls::Offers;

use super::line::{Io, Line, connect};
use super::{ProbeFailure, grpc, http2};

/// Checks a target once, within the check's timeout.
pub(super) async fn run(
    address: SocketAddr,
    check: &HealthCheck,
    line: &Line,
) -> Result<(), ProbeFailure> {
    let checked = async {
        match &check.probe {
            Probe::Tcp => connect(address).await.map(drop),
            Probe::Grpc { service } => {
                let stream = line.open(address, Offers::Http2).await?;
                grpc::ask(stream, &format!("{}://{address}", line.scheme()), service).await
            }
            Probe::Http { path, host, expected } => {
                let host = host.clone().unwrap_or_else(|| address.to_string());
                match line.protocol() {
                    TargetProtocol::Http1 => {
                        let request = request(path, &host)?;
                        ask(line.open(address, Offers::Http1).await?, request, *expected).await
                    }
                    TargetProtocol::H2c | TargetProtocol::H2 => {
                        let request = http2::request(line.scheme(), &host, path)?;
                        let stream = line.open(address, Offers::Http2).await?;
                        http2::ask(stream, request, *expected).await
                    }
                }
            }
        }
    };
    timeout(Duration::from(check.timeout), checked)
        .await
        .unwrap_or(Err(ProbeFailure::Timeout { after: check.timeout }))
}

fn request(path: &str, host: &str) -> Result<Request<Empty<Bytes>>, ProbeFailure> {
    Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "tidegate-probe")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| ProbeFailure::unsendable(&error))
}

async fn ask(
    stream: impl Io,
    request: Request<Empty<Bytes>>,
    expected: StatusRange,
) -> Result<(), ProbeFailure> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ProbeFailure::broken(&error))?;
    let mut exchange = pin!(async move {
        let answer =
            sender.send_request(request).await.map_err(|error| ProbeFailure::broken(&error))?;
        let status = answer.status().as_u16();
        if !expected.contains(status) {
            return Err(ProbeFailure::Status { status });
        }
        read(answer.into_body()).await
    });
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // A connection that is over has handed on all it had: the exchange ends with that.
        _ = connection => exchange.await,
    }
}

/// Reads a body to its end, so that the target sees a whole request served; gives up without
/// blame where it is longer than a health check needs.
async fn read(mut body: Incoming) -> Result<(), ProbeFailure> {
    let mut length = 0;
    while length < BODY_LIMIT
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| ProbeFailure::broken(&error))?;
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

const HEADER_LIMIT: usize = 32 * 1_024;
const BODY_LIMIT: usize = 64 * 1_024;
