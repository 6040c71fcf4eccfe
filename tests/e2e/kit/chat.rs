//! WebSockets on both sides of the proxy: a target's, which sends each message back, and a
//! client's.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, until};

/// A client's open WebSocket.
#[derive(Debug)]
pub(crate) struct Chat {
    stream: TcpStream,
    /// The name of the target at its other end.
    pub(crate) target: String,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It came back.
    Echoed,
    /// The other end has said goodbye with 1001 instead, and was answered.
    GoneAway,
}

impl Chat {
    /// Opens one.
    ///
    /// # Errors
    /// What came instead of a 101.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, String> {
        let opening = async {
            let stream = TcpStream::connect(address).await;
            let mut stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let request = "GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: Upgrade\r\n\
                           upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                           sec-websocket-key: dGlkZWdhdGUtZmF1bHRzIQ==\r\n\r\n";
            let sent = stream.write_all(request.as_bytes()).await;
            sent.map_err(|error| format!("cannot ask: {error}"))?;
            let mut head: Vec<u8> = Vec::new();
            // Nothing is said in the tunnel before the first question.
            while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match stream.read_buf(&mut head).await {
                    Ok(1..) => {}
                    Ok(0) => return Err("closed before it was open".to_owned()),
                    Err(error) => return Err(format!("before it was open: {error}")),
                }
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let target = head.lines().find_map(|line| line.strip_prefix("x-origin: "));
            match (head.starts_with("http/1.1 101 "), target) {
                (true, Some(target)) => Ok(Self { stream, target: target.to_owned() }),
                (_, _) => Err(head),
            }
        };
        timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err("not open in time".to_owned()))
    }

    /// Opens one at a target: the proxy draws, and is asked until it draws that one.
    pub(crate) async fn open_at(target: &str, address: SocketAddr) -> Self {
        let mut opened = None;
        until("the proxy draws the target", async || {
            let chat = Self::open(address).await.expect("it is opened");
            opened = (chat.target == target).then_some(chat);
            opened.is_some()
        })
        .await;
        opened.expect("it was waited for")
    }

    /// Says something, and waits for what comes of it.
    ///
    /// # Errors
    /// It was closed without a goodbye, or something else came back.
    pub(crate) async fn say(&mut self) -> Result<Said, String> {
        // One that is closed may have said goodbye before.
        let _ = self.stream.write_all(&QUESTION).await;
        self.hear().await
    }

    /// Waits for what is said.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub(crate) async fn hear(&mut self) -> Result<Said, String> {
        let heard = async {
            let mut head = [0_u8; 2];
            let read = self.stream.read_exact(&mut head).await;
            read.map_err(|error| format!("no goodbye: {error}"))?;
            let mut body = vec![0; usize::from(head[1])];
            let read = self.stream.read_exact(&mut body).await;
            read.map_err(|error| format!("cut in a frame: {error}"))?;
            match (head[0], body.as_slice()) {
                (0x81, b"ping") => Ok(Said::Echoed),
                (0x88, [0x03, 0xe9]) => Ok(Said::GoneAway),
                (_, _) => Err(format!("an unknown frame: {head:?} {body:?}")),
            }
        };
        let heard = timeout(PATIENCE, heard).await;
        heard.unwrap_or_else(|_| Err("nothing in time".to_owned()))
    }

    /// Answers a goodbye; gives whether the connection was then closed in order, and not reset.
    ///
    /// # Errors
    /// Something came after the goodbye, or the connection stayed open.
    pub(crate) async fn answer_goodbye(mut self) -> Result<bool, String> {
        // The other end need not wait for it.
        let _ = self.stream.write_all(&CLOSING).await;
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        match read.map_err(|_| "not closed after the goodbye".to_owned())? {
            // A message that crossed the goodbye makes the system reset what is closed.
            read if rest.is_empty() => Ok(read.is_ok()),
            Ok(_) | Err(_) => Err(format!("{rest:?} after the goodbye")),
        }
    }
}

/// A target's side: agrees to an upgrade whose request was read, and sends each message back.
pub(crate) async fn serve_chat(stream: &mut TcpStream, name: &str) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         x-origin: {name}\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut question = [0; QUESTION.len()];
    while stream.read_exact(&mut question).await.is_ok() {
        if stream.write_all(&ANSWER).await.is_err() {
            return;
        }
    }
}

/// `ping` in a text frame of a client, whose mask is zero.
const QUESTION: [u8; 10] = [0x81, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
/// The same of a server.
const ANSWER: [u8; 6] = [0x81, 0x04, b'p', b'i', b'n', b'g'];
/// A client's answer to a server's goodbye.
const CLOSING: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
