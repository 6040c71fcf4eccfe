//! A client's socket as TLS and Pingora take it.
//!
//! A type of ours, for Pingora's own gets its buffers from Pingora's listener alone, and without one
//! each small write would be a packet. Nothing else that Pingora's does is used: its clock at every
//! read and write least of all.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufStream, ReadBuf};
use tokio::net::TcpStream;

/// The socket, with what is read ahead and what is yet to be sent.
#[derive(Debug)]
pub(super) struct ClientSocket {
    io: BufStream<TcpStream>,
    peer: SocketAddr,
    digest: Arc<SocketDigest>,
}

impl ClientSocket {
    /// One that was accepted from this address.
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // It is empty, for nobody has asked it before.
        let _ = digest.peer_addr.set(Some(peer.into()));
        let io = BufStream::with_capacity(READ_AHEAD, SENT_TOGETHER, stream);
        Self { io, peer, digest: Arc::new(digest) }
    }

    /// The address at the other end.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Drop for ClientSocket {
    /// What was written last is sent, as far as the system has room for it.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        // Nobody is left to hear how it went.
        let _ = Pin::new(&mut self.io).poll_flush(&mut cx);
    }
}

/// The bytes read in one go by who wants few: room for the PROXY header, which is read by the byte.
/// Who wants more, as HTTP and TLS do, reads past it.
const READ_AHEAD: usize = 2_048;
/// What is written in small parts is sent in packets of about this size.
const SENT_TOGETHER: usize = 1_460;

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for ClientSocket {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(&mut self.io).await {
            tracing::debug!(%error, "a client had left before its connection was closed");
        }
    }
}

impl UniqueID for ClientSocket {
    fn id(&self) -> UniqueIDType {
        self.io.get_ref().as_raw_fd()
    }
}

impl Ssl for ClientSocket {}

impl Peek for ClientSocket {}

impl GetTimingDigest for ClientSocket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientSocket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientSocket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::super::testkit::PATIENCE;
    use super::*;

    #[tokio::test]
    async fn small_writes_wait_for_each_other_and_the_last_of_them_for_no_flush() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (stream, peer) = listener.accept().await.expect("accepted");
        let mut socket = ClientSocket::new(stream, peer);
        assert_eq!(socket.peer(), client.local_addr().expect("connected"));
        let digest = socket.get_socket_digest().expect("it has one");
        let known = digest.peer_addr().and_then(|address| address.as_inet()).copied();
        assert_eq!(known, Some(peer));

        client.write_all(b"hello, you").await.expect("sent");
        let mut read = [0; 10];
        for byte in &mut read {
            *byte = socket.read_u8().await.expect("read");
        }
        assert_eq!(&read, b"hello, you");

        for part in [&b"last "[..], b"words"] {
            socket.write_all(part).await.expect("taken");
        }
        let nothing = client.try_read(&mut [0; 10]).map_err(|error| error.kind());
        assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
        drop(socket);
        let mut rest = String::new();
        let read = timeout(PATIENCE, client.read_to_string(&mut rest)).await;
        read.expect("it ends in time").expect("no reset");
        assert_eq!(rest, "last words");
    }
}
