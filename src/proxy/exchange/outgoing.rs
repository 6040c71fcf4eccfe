//! The body of a request on its way to a target, part by part, with the trailers at its end.
//!
//! No more of it is kept here than one part: whoever brings the next waits until this one was
//! taken. A body whose end never came breaks off: it must not look like a whole one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// A part of a body.
#[derive(Debug)]
pub(super) struct Part {
    /// May be empty.
    pub(super) bytes: Bytes,
    /// The trailers, which may be none; `None` if more parts follow.
    pub(super) end: Option<HeaderMap>,
}

/// The body that a target is sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Parts are coming.
    Coming(mpsc::Receiver<Part>),
    /// Nothing but the trailers is left.
    Trailers(HeaderMap),
    /// It is whole.
    Over,
}

/// A body whose end did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's body did not come to its end")]
pub(super) struct CutShort;

impl Outgoing {
    /// A body, and what brings its parts.
    pub(super) fn coming() -> (mpsc::Sender<Part>, Self) {
        let (sender, parts) = mpsc::channel(1);
        (sender, Self::Coming(parts))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = self.get_mut();
        loop {
            match this {
                Self::Coming(parts) => {
                    let Some(Part { bytes, end }) = ready!(parts.poll_recv(cx)) else {
                        *this = Self::Over;
                        return Poll::Ready(Some(Err(CutShort)));
                    };
                    match end {
                        Some(trailers) if trailers.is_empty() => *this = Self::Over,
                        Some(trailers) => *this = Self::Trailers(trailers),
                        None => {}
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Self::Trailers(trailers) => {
                    let trailers = std::mem::take(trailers);
                    *this = Self::Over;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Self::Over => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Coming(_) | Self::Trailers(_) => false,
            Self::Over => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// The frames of a body that is brought these parts: the bytes, `|` before trailers.
    async fn frames(parts: Vec<Part>) -> (String, Result<(), CutShort>) {
        let (sender, mut body) = Outgoing::coming();
        let bring = async move {
            for part in parts {
                sender.send(part).await.expect("wanted");
            }
        };
        let read = async move {
            let mut read = String::new();
            while let Some(frame) = body.frame().await {
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) => return (read, Err(error)),
                };
                match frame.into_data() {
                    Ok(bytes) => read.push_str(std::str::from_utf8(&bytes).expect("text")),
                    Err(other) => {
                        let trailers = other.into_trailers().expect("data or trailers");
                        read.push('|');
                        read.extend(trailers.keys().map(|name| name.as_str()));
                    }
                }
            }
            assert!(body.is_end_stream());
            (read, Ok(()))
        };
        tokio::join!(bring, read).1
    }

    fn part(bytes: &'static str, end: Option<&[&'static str]>) -> Part {
        let field = |name: &&'static str| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static("1"))
        };
        let end = end.map(|names| names.iter().map(field).collect());
        Part { bytes: Bytes::from_static(bytes.as_bytes()), end }
    }

    #[tokio::test]
    async fn a_body_is_whole_with_its_last_part_alone() {
        let check = async |parts, expected: &str, ended| {
            assert_eq!(frames(parts).await, (expected.to_owned(), ended));
        };
        check(vec![part("a", None), part("b", Some(&[]))], "ab", Ok(())).await;
        check(vec![part("a", None), part("", Some(&[]))], "a", Ok(())).await;
        check(vec![part("", None), part("a", Some(&["x-sum"]))], "a|x-sum", Ok(())).await;
        check(vec![part("", Some(&["x-sum"]))], "|x-sum", Ok(())).await;
        check(vec![part("a", None)], "a", Err(CutShort)).await;
        check(Vec::new(), "", Err(CutShort)).await;
    }
}
