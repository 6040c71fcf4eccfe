//! A client of HTTP/1.1 that sends exactly the bytes that it is given.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::kit::PATIENCE;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Everything before its body.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl Client {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// Connects from an address of this machine's own.
    pub(crate) async fn open_from(from: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // A socket that is bound before it connects has a port of its own; the system lets others
        // share one.
        if from != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer, String> {
        self.send(request).await.map_err(|error| error.to_string())?;
        self.answer().await
    }

    /// The next answer, which has a length.
    pub(crate) async fn answer(&mut self) -> Result<Answer, String> {
        let answer = timeout(PATIENCE, self.read_answer()).await;
        answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    /// The head of the next answer.
    pub(crate) async fn head(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.read().await.map_err(|error| error.to_string())? {
                return Err("the connection was closed before the answer".to_owned());
            }
        }
    }

    /// The next bytes behind what was read before; none at the end of the connection.
    pub(crate) async fn bytes(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.read().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads up to the end of the connection, by a close or by a reset; gives what came.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.read().await.is_ok_and(|more| more) {}
        std::mem::take(&mut self.buffer)
    }

    /// The stream, with nothing read ahead of it.
    pub(crate) fn into_stream(self) -> TcpStream {
        assert!(self.buffer.is_empty(), "{:?} was read ahead", self.buffer);
        self.stream
    }

    async fn read_answer(&mut self) -> Result<Answer, String> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("not an answer: {head}"))?;
        let length: usize = field(&head, "content-length")
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| format!("an answer without a length: {head}"))?;
        while self.buffer.len() < length {
            match self.read().await {
                Ok(true) => {}
                Ok(false) => return Err(format!("the body was cut after {head}")),
                Err(error) => return Err(format!("{error} in the body after {head}")),
            }
        }
        let body = self.buffer.drain(..length).collect();
        Ok(Answer { status, head, body })
    }

    /// Whether there was more.
    async fn read(&mut self) -> io::Result<bool> {
        self.buffer.reserve(16 * 1_024);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

/// Asks once, on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n");
    let mut client = Client::open(address).await.map_err(|error| error.to_string())?;
    client.ask(request.as_bytes()).await
}

/// Sends so many bytes once, on a connection of its own.
pub(crate) async fn post(address: SocketAddr, path: &str, length: usize) -> Result<Answer, String> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\ncontent-length: \
         {length}\r\n\r\n"
    );
    let mut client = Client::open(address).await.map_err(|error| error.to_string())?;
    client.ask(&[head.into_bytes(), vec![b'x'; length]].concat()).await
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
