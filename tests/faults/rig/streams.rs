//! Targets that speak HTTP/2 in clear text as well as HTTP/1.1: the first bytes of a connection say
//! which, so that whoever starts one need not choose.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Response;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Request;

/// What is spoken to targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in clear text.
    Http2,
}

impl Wire {
    /// The keys of target groups (`Scene::groups`) to which it is spoken.
    pub(crate) fn keys(self) -> String {
        match self {
            Self::Http1 => String::new(),
            Self::Http2 => ", protocol: h2c".to_owned(),
        }
    }

    /// What a connection begins with; `None` if it ends before.
    pub(crate) async fn of(stream: &TcpStream) -> Option<Self> {
        let mut first = [0; 3];
        loop {
            match stream.peek(&mut first).await {
                Ok(0) | Err(_) => return None,
                Ok(3) if first == *b"PRI" => return Some(Self::Http2),
                Ok(3) => return Some(Self::Http1),
                // The rest of a word is on its way.
                Ok(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

/// Serves a connection of HTTP/2: each request, once its body is read, in a task of its own, which
/// ends with the connection.
pub(crate) async fn serve_streams<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut answering = JoinSet::new();
    while let Some(Ok((request, reply))) = connection.accept().await {
        while answering.try_join_next().is_some() {}
        let (head, body) = request.into_parts();
        let request = Request { method: head.method.to_string(), path: head.uri.path().to_owned() };
        let answer = answer.clone();
        answering.spawn(async move {
            if read_whole(body).await {
                let answered = answer(request, reply);
                answered.await;
            }
        });
    }
}

/// Reads a body to its end; `false` if it has none.
async fn read_whole(mut body: RecvStream) -> bool {
    while let Some(part) = body.data().await {
        let Ok(part) = part else { return false };
        if body.flow_control().release_capacity(part.len()).is_err() {
            return false;
        }
    }
    true
}

/// Answers 200; tells whether the stream still stands.
pub(crate) fn reply_with(reply: &mut SendResponse<Bytes>, name: &str, body: &'static str) -> bool {
    let head = Response::builder()
        .header("content-length", body.len())
        .header("x-origin", name)
        .body(())
        .expect("valid");
    match reply.send_response(head, false) {
        Ok(mut content) => content.send_data(Bytes::from_static(body.as_bytes()), true).is_ok(),
        Err(_) => false,
    }
}
