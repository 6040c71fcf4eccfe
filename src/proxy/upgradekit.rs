//! Upgrades as their tests play them: a client and a target, byte by byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::testkit::{PATIENCE, World};

pub(super) const ASKS: &str = "GET /chat HTTP/1.1\r\nhost: shop.test\r\n\
    connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
pub(super) const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One end of a connection.
pub(super) struct End {
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
}

impl End {
    fn of(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.expect("connected"))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("something comes in time").is_ok_and(|bytes| bytes > 0)
    }

    /// A header, up to its empty line.
    pub(super) async fn head(&mut self) -> String {
        loop {
            let end = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).expect("text");
            }
            assert!(self.more().await, "ended inside of a header");
        }
    }

    /// The next bytes.
    pub(super) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await, "ended after {:?}", self.buffer);
        }
        self.buffer.drain(..count).collect()
    }

    /// Everything up to the end.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }
}

/// A target that the test plays itself.
pub(super) struct Target {
    socket: TcpListener,
    pub(super) address: SocketAddr,
}

impl Target {
    pub(super) async fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        Self { socket, address }
    }

    pub(super) async fn accept(&self) -> End {
        let accepted = timeout(PATIENCE, self.socket.accept()).await;
        End::of(accepted.expect("a connection in time").expect("a connection").0)
    }

    /// Asks for an upgrade through the proxy and agrees to it; both ends and what the target read.
    pub(super) async fn upgraded(
        &self,
        world: &World,
        asks: &str,
        agrees: &str,
    ) -> (End, End, String) {
        let mut client = End::to(world.address()).await;
        client.send(asks.as_bytes()).await;
        let mut target = self.accept().await;
        let asked = target.head().await;
        target.send(agrees.as_bytes()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        (client, target, asked)
    }

    /// Agrees to every upgrade and sends everything back, from now on.
    pub(super) fn echo(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.socket.accept().await {
                tokio::spawn(async move {
                    let mut end = End::of(stream);
                    end.head().await;
                    end.send(AGREES.as_bytes()).await;
                    let early = std::mem::take(&mut end.buffer);
                    end.send(&early).await;
                    let (mut from, mut to) = end.stream.split();
                    // However the tunnel ends.
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        })
    }
}
