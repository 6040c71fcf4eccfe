//! What is left of a session whose stream was taken: it reads a request and swallows what is
//! written, so that Pingora can end it as it ends any other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of one request and nothing more.
#[derive(Debug)]
pub(super) struct Husk {
    left: &'static [u8],
    proxy: Option<Arc<ProxyDigest>>,
    socket: Option<Arc<SocketDigest>>,
}

impl Husk {
    /// A husk with the facts of the connection that it stands for.
    pub(super) fn new(digest: Option<&Digest>) -> Self {
        Self {
            left: REQUEST,
            proxy: digest.and_then(|digest| digest.proxy_digest.clone()),
            socket: digest.and_then(|digest| digest.socket_digest.clone()),
        }
    }
}

/// The least that Pingora takes for an upgrade.
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: husk\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

impl AsyncRead for Husk {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.left.split_at(self.left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Husk {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Shutdown for Husk {
    async fn shutdown(&mut self) {}
}

impl UniqueID for Husk {
    fn id(&self) -> UniqueIDType {
        // No descriptor: the socket has left.
        -1
    }
}

impl Ssl for Husk {}

impl Peek for Husk {}

impl GetTimingDigest for Husk {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Husk {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.proxy.clone()
    }
}

impl GetSocketDigest for Husk {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.clone()
    }
}
