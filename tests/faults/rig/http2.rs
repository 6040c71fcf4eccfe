//! Frames of HTTP/2 (RFC 9113), written by hand: a client of a library refuses to misbehave.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::kit::PATIENCE;

/// A frame: its type, its flags, its stream, what is in it.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header of a `GET /`, which changes no table of header compression.
pub(crate) fn get_header() -> Vec<u8> {
    [&[0x82, 0x86, 0x84, 0x01, 0x09][..], b"shop.test"].concat()
}

/// The same for a `GET` of a path.
pub(crate) fn header_of(path: &str) -> Vec<u8> {
    let host = [&[0x82, 0x86, 0x01, 0x09][..], b"shop.test"].concat();
    [host, literal(b":path", path.as_bytes())].concat()
}

/// The same for a `POST /`.
pub(crate) fn post_header() -> Vec<u8> {
    [&[0x83, 0x86, 0x84, 0x01, 0x09][..], b"shop.test"].concat()
}

/// A header field as a literal that changes no table of header compression. What is in it goes out
/// as it is.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0];
    for part in [name, value] {
        let length = part.len();
        if length < 127 {
            field.push(u8::try_from(length).expect("below 127"));
        } else {
            field.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                field.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
                rest /= 128;
            }
            field.push(u8::try_from(rest).expect("seven bits"));
        }
        field.extend(part);
    }
    field
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    frames: Frames,
    writing: OwnedWriteHalf,
}

/// The half of a connection from which frames are read.
#[derive(Debug)]
pub(crate) struct Frames {
    reading: OwnedReadHalf,
    buffer: Vec<u8>,
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// Its stream.
    pub(crate) stream: u32,
    /// What is in it.
    pub(crate) payload: Vec<u8>,
    /// Its flags.
    pub(crate) flags: u8,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By a GOAWAY with this code.
    GoAway(u32),
    /// By a close or a reset without one.
    Closed,
}

impl Http2 {
    /// Connects, and says how much may be sent to it.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reading, mut writing) = stream.into_split();
        let hello = [PREFACE, &frame(4, 0, 0, &[]), &frame(8, 0, 0, &WINDOW)].concat();
        writing.write_all(&hello).await?;
        Ok(Self { frames: Frames { reading, buffer: Vec::new() }, writing })
    }

    /// Its two halves.
    pub(crate) fn split(self) -> (Frames, OwnedWriteHalf) {
        (self.frames, self.writing)
    }

    /// Asks for `/` once, on a connection of its own; the answer has to be a 200.
    pub(crate) async fn get(address: SocketAddr) -> Result<(), String> {
        let asked = async {
            let Self { mut frames, mut writing } = Self::open(address).await?;
            writing.write_all(&frame(1, 0x05, 1, &get_header())).await?;
            loop {
                match frames.next().await? {
                    Some(Frame { kind: 1, stream: 1, payload, .. }) => return Ok(payload),
                    Some(Frame { kind: 7, payload, .. }) => {
                        let text = format!("a GOAWAY: {payload:?}");
                        return Err(io::Error::other(text));
                    }
                    Some(_) => {}
                    None => return Err(io::Error::other("it was closed before the answer")),
                }
            }
        };
        let asked = timeout(PATIENCE, asked).await;
        let header: Vec<u8> = asked
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|error: io::Error| error.to_string())?;
        // A 200 has a number of its own, and stands first.
        if header.first() == Some(&0x88) { Ok(()) } else { Err(format!("not a 200: {header:?}")) }
    }
}

impl Frames {
    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            if self.reading.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.buffer.get(..9)?.try_into().expect("of this length");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if self.buffer.len() < 9 + length {
            return None;
        }
        let payload = self.buffer[9..9 + length].to_vec();
        self.buffer.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, payload, flags: head[4] })
    }
}

impl Frame {
    /// The code of a GOAWAY; `None` for any other frame.
    pub(crate) fn goaway(&self) -> Option<u32> {
        let code: [u8; 4] = self.payload.get(4..8)?.try_into().expect("of this length");
        (self.kind == 7).then(|| u32::from_be_bytes(code))
    }

    /// Whether it acknowledges a SETTINGS or a PING.
    pub(crate) fn is_acknowledgement(&self) -> bool {
        matches!(self.kind, 4 | 6) && self.flags & 0x01 != 0
    }

    /// Whether its stream ends with it: by its flag, or by a reset.
    pub(crate) fn ends_stream(&self) -> bool {
        self.kind == 3 || (matches!(self.kind, 0 | 1) && self.flags & 0x01 != 0)
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A mebibyte.
const WINDOW: [u8; 4] = [0x00, 0x10, 0x00, 0x00];
