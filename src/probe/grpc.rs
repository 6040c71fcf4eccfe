//! The gRPC health protocol, version 1: `grpc.health.v1.Health/Check`, unary, over HTTP/2: with
//! prior knowledge in plain text, agreed by ALPN over TLS.
//!
//! Two messages of one field each do not need a Protocol Buffers library.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};

use super::ProbeFailure;
use super::exchange::over;
use super::line::Io;

/// Asks a target over a new connection how a service of it is; `origin` is its scheme and address.
pub(super) async fn ask(stream: impl Io, origin: &str, service: &str) -> Result<(), ProbeFailure> {
    let request = Request::post(format!("{origin}{METHOD}"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "tidegate-probe")
        .body(())
        .map_err(|error| ProbeFailure::unsendable(&error))?;
    let question = question(service);
    over(stream, HEADER_LIMIT, |sender| exchange(sender, request, question)).await
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    question: Bytes,
) -> Result<(), ProbeFailure> {
    let broken = |error: h2::Error| ProbeFailure::broken(&error);
    let mut sender = sender.ready().await.map_err(broken)?;
    let (answer, mut body) = sender.send_request(request, false).map_err(broken)?;
    body.send_data(question, true).map_err(broken)?;
    let (head, mut stream) = answer.await.map_err(broken)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(ProbeFailure::Status { status: head.status.as_u16() });
    }
    let message = read(&mut stream).await?;
    let trailers = stream.trailers().await.map_err(broken)?.unwrap_or_default();
    // An answer without a message has its status in the header.
    let status = grpc_status(&trailers).or_else(|| grpc_status(&head.headers));
    match status {
        Some("0") => served(&message),
        Some(status) => Err(ProbeFailure::Grpc { status: super::shortened(&status) }),
        None => Err(ProbeFailure::broken(&"no grpc-status")),
    }
}

/// Reads the answer's message, which is a few bytes.
async fn read(stream: &mut RecvStream) -> Result<Bytes, ProbeFailure> {
    let mut message = BytesMut::new();
    while let Some(part) = stream.data().await {
        let part = part.map_err(|error| ProbeFailure::broken(&error))?;
        if message.len() + part.len() > MESSAGE_LIMIT {
            return Err(ProbeFailure::broken(&"the message is too long"));
        }
        message.put_slice(&part);
        let released = stream.flow_control().release_capacity(part.len());
        released.map_err(|error| ProbeFailure::broken(&error))?;
    }
    Ok(message.freeze())
}

fn grpc_status(fields: &HeaderMap) -> Option<&str> {
    fields.get("grpc-status")?.to_str().ok()
}

fn served(message: &[u8]) -> Result<(), ProbeFailure> {
    match answer(message) {
        Some(SERVING) => Ok(()),
        Some(status) => {
            let name = usize::try_from(status).ok().and_then(|status| STATUSES.get(status));
            Err(ProbeFailure::NotServing { status: name.copied().unwrap_or("an unknown status") })
        }
        None => Err(ProbeFailure::broken(&"not a HealthCheckResponse")),
    }
}

/// A `HealthCheckRequest` in a message's frame: not compressed, four bytes of length, then the
/// name of the service as field 1, left out where it is empty.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(FIELD_1_TEXT);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a service's name is short"));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(message: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        message.put_u8(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    message.put_u8(u8::try_from(number).expect("what is left has seven bits"));
}

/// The status in a framed `HealthCheckResponse`: field 1, the last one that is there, or 0.
/// `None` if this is none.
fn answer(framed: &[u8]) -> Option<u64> {
    let (head, mut rest) = framed.split_first_chunk::<5>()?;
    let [compressed, length @ ..] = *head;
    if compressed != 0 || usize::try_from(u32::from_be_bytes(length)).ok()? != rest.len() {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let key = take_varint(&mut rest)?;
        match key & 7 {
            0 => {
                let number = take_varint(&mut rest)?;
                status = if key >> 3 == 1 { number } else { status };
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

const METHOD: &str = "/grpc.health.v1.Health/Check";
const SERVING: u64 = 1;
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// The key of a field 1 of bytes: the number shifted by three, and wire type 2.
const FIELD_1_TEXT: u8 = 0x0a;
const HEADER_LIMIT: u32 = 16 * 1_024;
const MESSAGE_LIMIT: usize = 4 * 1_024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Response};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    /// What a server says.
    #[derive(Clone, Copy)]
    struct Says {
        http: u16,
        message: &'static [u8],
        /// `None` sends no trailers at all.
        trailer: Option<&'static str>,
        /// `Some` puts a status into the header.
        header: Option<&'static str>,
    }

    const WELL: Says =
        Says { http: 200, message: &[0, 0, 0, 0, 2, 8, 1], trailer: Some("0"), header: None };

    /// A server that answers one request; gives what it was asked.
    async fn serve(listener: TcpListener, says: Says) -> (String, Bytes) {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        let (request, mut respond) =
            connection.accept().await.expect("a request").expect("a good one");
        // The connection has to be driven while the body is read.
        let driving =
            tokio::spawn(async move { while let Some(Ok(_)) = connection.accept().await {} });
        let path = request.uri().path().to_owned();
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        let question = read(&mut request.into_body()).await.expect("a message");
        let mut head = Response::builder().status(says.http);
        if let Some(status) = says.header {
            head = head.header("grpc-status", status);
        }
        let only_head = says.message.is_empty() && says.trailer.is_none();
        let head = head.body(()).expect("valid");
        let mut body = respond.send_response(head, only_head).expect("sent");
        if !only_head {
            let last = says.trailer.is_none();
            body.send_data(Bytes::from_static(says.message), last).expect("sent");
        }
        if let Some(status) = says.trailer {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            body.send_trailers(trailers).expect("sent");
        }
        driving.await.expect("the client is done");
        (path, question)
    }

    /// What a check of such a server comes to, and what the server was asked.
    async fn check(service: &str, says: Says) -> (Result<(), ProbeFailure>, (String, Bytes)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve(listener, says));
        let asked = async {
            let stream = TcpStream::connect(address).await.expect("connected");
            let result = ask(stream, &format!("http://{address}"), service).await;
            (result, server.await.expect("the server did not fail"))
        };
        timeout(Duration::from_secs(20), asked).await.expect("in time")
    }

    #[tokio::test]
    async fn a_server_that_says_serving_is_healthy() {
        let (result, (path, question)) = check("shop.Cart", WELL).await;
        assert_eq!(result, Ok(()));
        assert_eq!(path, "/grpc.health.v1.Health/Check");
        assert_eq!(&question[..], b"\0\0\0\0\x0b\x0a\x09shop.Cart");
        let (result, (_, question)) = check("", WELL).await;
        assert_eq!(result, Ok(()));
        assert_eq!(&question[..], b"\0\0\0\0\0");
    }

    #[tokio::test]
    async fn everything_else_is_a_failure_that_says_what_it_was() {
        let said = async |says: Says| {
            let (result, _) = check("", says).await;
            result.expect_err("not healthy").to_string()
        };
        let not_serving = Says { message: &[0, 0, 0, 0, 2, 8, 2], ..WELL };
        assert_eq!(said(not_serving).await, "not serving: NOT_SERVING");
        let unknown = Says { message: &[0, 0, 0, 0, 0], ..WELL };
        assert_eq!(said(unknown).await, "not serving: UNKNOWN");
        let not_found = Says { message: &[], trailer: None, header: Some("5"), ..WELL };
        assert_eq!(said(not_found).await, "grpc-status 5");
        let failed_late = Says { trailer: Some("13"), ..WELL };
        assert_eq!(said(failed_late).await, "grpc-status 13");
        let silent = Says { trailer: None, ..WELL };
        assert_eq!(said(silent).await, "broken answer: no grpc-status");
        assert_eq!(said(Says { http: 503, ..WELL }).await, "status 503");
        let nonsense = Says { message: b"what is this?", ..WELL };
        assert_eq!(said(nonsense).await, "broken answer: not a HealthCheckResponse");
    }

    #[tokio::test]
    async fn a_target_that_does_not_speak_http_2_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let text = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, text).await.expect("sent");
        });
        let stream = TcpStream::connect(address).await.expect("connected");
        let origin = format!("http://{address}");
        let asked = timeout(Duration::from_secs(20), ask(stream, &origin, ""));
        let failure = asked.await.expect("in time").expect_err("not healthy");
        assert!(failure.to_string().starts_with("broken answer: "), "{failure}");
        server.await.expect("it did not fail");
    }

    #[test]
    fn an_answer_is_read_with_fields_that_are_not_known() {
        let check = |message: &[u8], expected: Option<u64>| {
            let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).expect("short")];
            framed.extend_from_slice(message);
            assert_eq!(answer(&framed), expected, "{message:?}");
        };
        check(&[], Some(0));
        check(&[8, 1], Some(1));
        check(&[8, 2, 8, 1], Some(1));
        check(&[0x12, 2, 8, 9, 8, 1], Some(1));
        check(&[0x11, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1], Some(1));
        check(&[0x15, 0, 0, 0, 0, 8, 1], Some(1));
        check(&[0x10, 0xac, 0x02, 8, 1], Some(1));
        check(&[8, 0xff, 0x01], Some(255));
        check(&[8], None);
        check(&[8, 0x80], None);
        check(&[0x12, 9, 1], None);
        check(&[0x0b], None);
        check(&[8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], None);
        assert_eq!(answer(&[0, 0, 0, 0, 3, 8, 1]), None, "shorter than it says");
        assert_eq!(answer(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(answer(&[0, 0, 0]), None);
    }

    #[test]
    fn a_long_name_has_a_length_of_two_bytes() {
        let question = question(&"x".repeat(200));
        assert_eq!(&question[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
        assert_eq!(question.len(), 208);
    }
}
