//! One keep-alive connection that asks one request at a time, as a user's browser would.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::core::model::Side;

use super::origin::ORIGIN_HEADER;

/// Why there was no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the exchange broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no whole answer within {} s", PATIENCE.as_secs())]
    TooLate,
}

/// What a user can tell of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `None` where no proxy says it.
    pub(super) side: Option<Side>,
    /// `None` where no proxy says it.
    pub(super) generation: Option<u64>,
    /// The revision that answered; `None` for an answer of the proxy's own.
    pub(super) origin: Option<String>,
    /// The proxy's own word for what is wrong; `None` for an answer of a target.
    pub(super) proxy_error: Option<String>,
}

/// A user: connects when needed, and again after an error.
pub(super) struct Client {
    address: SocketAddr,
    host: HeaderValue,
    path: Uri,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Empty<Bytes>>,
    /// Drives the connection; ends with it when dropped.
    _driver: JoinSet<()>,
}

impl Client {
    pub(super) fn new(address: SocketAddr, host: HeaderValue, path: Uri) -> Self {
        Self { address, host, path, open: None }
    }

    /// Asks once, within a few seconds.
    pub(super) async fn ask(&mut self) -> Result<Answer, ClientError> {
        let exchange = self.exchange();
        let answer = timeout(PATIENCE, exchange).await.unwrap_or(Err(ClientError::TooLate));
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    async fn exchange(&mut self) -> Result<Answer, ClientError> {
        // A connection that the other side closed between two requests is no error to a user.
        if let Some(mut open) = self.open.take()
            && open.sender.ready().await.is_ok()
        {
            match open.sender.send_request(self.request()).await {
                Ok(response) => return self.read(open, response).await,
                Err(error) if error.is_canceled() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut open = self.connect().await?;
        let response = open.sender.send_request(self.request()).await?;
        self.read(open, response).await
    }

    /// Reads the body to its end, and keeps the connection.
    async fn read(
        &mut self,
        open: Open,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Answer, ClientError> {
        let answer = Answer::of(response.status().as_u16(), response.headers());
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        self.open = Some(open);
        Ok(answer)
    }

    async fn connect(&self) -> Result<Open, ClientError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its errors come out of the exchange, too.
            let _ = connection.await;
        });
        Ok(Open { sender, _driver: driver })
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }
}

impl Answer {
    fn of(status: u16, headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let sides = [Side::Blue, Side::Green];
        Self {
            status,
            side: text("x-tidegate-side")
                .and_then(|word| sides.into_iter().find(|side| side.as_str() == word)),
            generation: text("x-tidegate-generation").and_then(|number| number.parse().ok()),
            origin: text(ORIGIN_HEADER).map(str::to_owned),
            proxy_error: text("x-tidegate-error").map(str::to_owned),
        }
    }

    /// Whether it counts as failed.
    pub(super) fn is_failed(&self) -> bool {
        self.status >= 500
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
