//! The PROXY header (HAProxy's specification, versions 1 and 2): a load balancer in front tells
//! from whom a connection comes, before its first byte.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The reason why a connection does not begin with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHeader {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header")]
    Other,
    /// It ended inside of it.
    #[error("the connection ended inside of its PROXY header")]
    Ended,
}

/// What a header said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The client's address.
    Client(SocketAddr),
    /// The load balancer speaks for itself, as in its health checks.
    Local,
}

/// Reads the header and nothing after it.
///
/// # Errors
/// There is none.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, NoHeader> {
    let mut seen = Vec::with_capacity(LONGEST_V1);
    loop {
        // Byte by byte, from a buffered stream: what follows the header is not ours.
        let byte = stream.read_u8().await.map_err(|_| NoHeader::Ended)?;
        seen.push(byte);
        if !could_begin(&seen) {
            return Err(NoHeader::Other);
        }
        // Parsed only where it can be whole: at the end of a line, or of the length it gives.
        let whole = match seen.first() {
            Some(b'P') => seen.ends_with(b"\r\n"),
            Some(_) | None => v2_length(&seen).is_some_and(|length| seen.len() == length),
        };
        if whole {
            return parse(&seen);
        }
        if seen.len() >= if seen[0] == b'P' { LONGEST_V1 } else { LONGEST_V2 } {
            return Err(NoHeader::Other);
        }
    }
}

fn could_begin(seen: &[u8]) -> bool {
    let begins = |prefix: &[u8]| seen.iter().zip(prefix).all(|(a, b)| a == b);
    begins(b"PROXY ") || begins(v2::PROTOCOL_PREFIX)
}

/// How long a header of version 2 is in all; `None` until that is known.
fn v2_length(seen: &[u8]) -> Option<usize> {
    let length = seen.get(14..16)?;
    Some(V2_HEAD + usize::from(u16::from_be_bytes([length[0], length[1]])))
}

fn parse(header: &[u8]) -> Result<Source, NoHeader> {
    let parsed = HeaderResult::parse(header);
    if parsed.is_incomplete() {
        return Err(NoHeader::Other);
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(of) => client(of.source_address, of.source_port),
            v1::Addresses::Tcp6(of) => client(of.source_address, of.source_port),
            v1::Addresses::Unknown => Source::Local,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(of)) => {
                client(of.source_address, of.source_port)
            }
            (v2::Command::Proxy, v2::Addresses::IPv6(of)) => {
                client(of.source_address, of.source_port)
            }
            (v2::Command::Proxy | v2::Command::Local, _) => Source::Local,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(NoHeader::Other),
    }
}

fn client(ip: impl Into<std::net::IpAddr>, port: u16) -> Source {
    Source::Client(SocketAddr::new(ip.into(), port))
}

/// The longest line of version 1, its end included.
const LONGEST_V1: usize = 107;
/// What every header of version 2 begins with: the signature, command, family and length.
const V2_HEAD: usize = 16;
/// The longest header of version 2 that is read: addresses and a kilobyte of further fields.
const LONGEST_V2: usize = 1_280;

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(bytes: &[u8], expected: Result<Source, NoHeader>, rest: &[u8]) {
        let mut stream = bytes;
        assert_eq!(read(&mut stream).await, expected, "{bytes:?}");
        if expected.is_ok() {
            assert_eq!(stream, rest);
        }
    }

    #[tokio::test]
    async fn both_versions_tell_the_client_and_leave_what_follows() {
        let from = |text: &str| Ok(Source::Client(text.parse().expect("valid")));
        let v1 = b"PROXY TCP4 10.1.2.3 10.0.0.1 5000 80\r\nGET / HTTP/1.1\r\n";
        check(v1, from("10.1.2.3:5000"), b"GET / HTTP/1.1\r\n").await;
        check(b"PROXY TCP6 ::1 ::2 5000 80\r\n", from("[::1]:5000"), b"").await;
        check(b"PROXY UNKNOWN\r\nx", Ok(Source::Local), b"x").await;
        let v2 = |command: u8| {
            let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
            bytes.extend([command, 0x11, 0, 12, 10, 1, 2, 3, 10, 0, 0, 1, 0x13, 0x88, 0, 80]);
            bytes.extend(b"rest");
            bytes
        };
        check(&v2(0x21), from("10.1.2.3:5000"), b"rest").await;
        check(&v2(0x20), Ok(Source::Local), b"rest").await;
    }

    #[tokio::test]
    async fn anything_else_is_refused_at_its_first_wrong_byte() {
        check(b"GET / HTTP/1.1\r\n\r\n", Err(NoHeader::Other), b"").await;
        check(b"PROXY TCP4 nonsense\r\n", Err(NoHeader::Other), b"").await;
        check(b"PROXY TCP4 10.1.2.3", Err(NoHeader::Ended), b"").await;
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        check(&endless, Err(NoHeader::Other), b"").await;
        let mut huge = v2::PROTOCOL_PREFIX.to_vec();
        huge.extend([0x21, 0x11, 0xff, 0xff]);
        huge.extend([0; 2_000]);
        check(&huge, Err(NoHeader::Other), b"").await;
    }
}
