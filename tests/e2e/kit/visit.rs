//! One request as a visitor makes it, over HTTP/1.1 or HTTP/2, on a connection that may be kept.
//!
//! Written by hand, since what matters is what a library hides: whether a connection that was
//! closed had been announced to be, and whether a request was sent on it before that.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection that can be used once more.
#[derive(Debug)]
pub(crate) struct Kept {
    stream: TcpStream,
    /// When its last request was sent.
    pub(crate) used: Instant,
    /// The last stream of HTTP/2; `None` in HTTP/1.1.
    stream_id: Option<u32>,
    /// What was read of HTTP/2 and belongs to no answer yet.
    buffer: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection was closed before any part of an answer, and nobody had said that it would
    /// be.
    Unanswered,
    /// Anything else.
    Broken(String),
}

impl Kept {
    /// A new connection.
    ///
    /// # Errors
    /// Nobody accepts it.
    pub(crate) async fn open(address: SocketAddr, http2: bool) -> Result<Self, Failure> {
        let refused = |error| Failure::Broken(format!("cannot connect: {error}"));
        let mut stream = TcpStream::connect(address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        if http2 {
            let settings = frame(SETTINGS, 0, 0, &[]);
            let hello = [PREFACE, &settings, &frame(WINDOW, 0, 0, &MEBIBYTE)].concat();
            let sent = stream.write_all(&hello).await;
            sent.map_err(|_| Failure::Unanswered)?;
        }
        let stream_id = http2.then_some(0);
        Ok(Self { stream, used: Instant::now(), stream_id, buffer: Vec::new() })
    }

    /// Asks once; gives the connection back unless it was announced to be the last answer, or the
    /// visitor keeps none.
    ///
    /// # Errors
    /// There was no whole 200 of a target.
    pub(crate) async fn ask(mut self, keeps: bool) -> Result<Option<Self>, Failure> {
        self.used = Instant::now();
        let stays = match self.stream_id {
            Some(last) => self.ask_http2(last).await?,
            None => self.ask_http1(keeps).await?,
        };
        Ok((stays && keeps).then_some(self))
    }

    /// Gives whether another request may follow.
    async fn ask_http1(&mut self, keeps: bool) -> Result<bool, Failure> {
        let close = if keeps { "" } else { "connection: close\r\n" };
        let request = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{close}\r\n");
        if self.stream.write_all(request.as_bytes()).await.is_err() {
            return Err(Failure::Unanswered);
        }
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                if !head.starts_with("HTTP/1.1 200 ") || head.contains("x-tidegate-error") {
                    return Err(Failure::Broken(head.to_owned()));
                }
                if body == "ok" {
                    return Ok(!head.to_ascii_lowercase().contains("\r\nconnection: close"));
                }
            }
            match self.stream.read_buf(&mut answer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) if answer.is_empty() => return Err(Failure::Unanswered),
                Ok(0) => return Err(Failure::Broken(format!("broken off after {text:?}"))),
                Err(error) => return Err(Failure::Broken(format!("{error} after {text:?}"))),
            }
        }
    }

    /// The same over HTTP/2. After a GOAWAY that leaves this request out another one may be made
    /// elsewhere; one that does not is answered like any other, and is the last one here.
    async fn ask_http2(&mut self, last: u32) -> Result<bool, Failure> {
        let id = if last == 0 { 1 } else { last + 2 };
        self.stream_id = Some(id);
        let request = frame(HEADERS, END_HEADERS | END_STREAM, id, &GET);
        if self.stream.write_all(&request).await.is_err() {
            return Err(Failure::Unanswered);
        }
        let (mut stays, mut has_head) = (true, false);
        let mut body: Vec<u8> = Vec::new();
        loop {
            while let Some((kind, flags, stream, payload)) = self.next_frame() {
                match (kind, stream == id) {
                    (HEADERS, true) if !has_head => {
                        // A 200 has a number of its own, and stands first.
                        if payload.first() != Some(&0x88) {
                            return Err(Failure::Broken(format!("not a 200: {payload:?}")));
                        }
                        has_head = true;
                    }
                    (DATA, true) => body.extend(&payload),
                    (RESET, true) => {
                        return Err(Failure::Broken(format!("reset with {payload:?}")));
                    }
                    (GOAWAY, _) => {
                        stays = false;
                        if covered(&payload) < id {
                            return Err(Failure::Unanswered);
                        }
                        if payload.get(4..8) != Some(&NO_ERROR[..]) {
                            return Err(Failure::Broken(format!("a GOAWAY: {payload:?}")));
                        }
                    }
                    (SETTINGS, _) if flags & ACK == 0 => self.reply(SETTINGS, &[]).await,
                    (PING, _) if flags & ACK == 0 => self.reply(PING, &payload).await,
                    (_, _) => {}
                }
                if stream == id && flags & END_STREAM != 0 && (kind == DATA || kind == HEADERS) {
                    if body != b"ok" {
                        return Err(Failure::Broken(format!("ended after {body:?}")));
                    }
                    return Ok(stays);
                }
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) if !has_head => return Err(Failure::Unanswered),
                Ok(0) => return Err(Failure::Broken("broken off in the answer".to_owned())),
                Err(error) => return Err(Failure::Broken(format!("{error} in the answer"))),
            }
        }
    }

    /// A frame that was read whole: its type, its flags, its stream, what is in it.
    fn next_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head: [u8; 9] = self.buffer.get(..9)?.try_into().expect("of this length");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// Acknowledges a frame of the connection.
    async fn reply(&mut self, kind: u8, payload: &[u8]) {
        // That it is closed shows in the next read.
        let _ = self.stream.write_all(&frame(kind, ACK, 0, payload)).await;
    }
}

/// The last stream that a GOAWAY leaves in.
fn covered(goaway: &[u8]) -> u32 {
    let last: Option<[u8; 4]> = goaway.get(..4).and_then(|bytes| bytes.try_into().ok());
    last.map_or(0, |last| u32::from_be_bytes(last) & 0x7fff_ffff)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;

const ACK: u8 = 0x01;
const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;

/// The code of a GOAWAY that blames nobody.
const NO_ERROR: [u8; 4] = [0; 4];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MEBIBYTE: [u8; 4] = [0x00, 0x10, 0x00, 0x00];
/// The header of a `GET /`, which changes no table of header compression.
const GET: [u8; 14] = *b"\x82\x86\x84\x01\x09shop.test";
