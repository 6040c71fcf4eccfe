//! Interim answers (1xx) of an exchange: hyper tells of them where it reads them, and they are passed
//! on where the answer is waited for.

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::ext::on_informational;
use pingora_http::ResponseHeader;
use tokio::sync::mpsc;

/// The interim answers to a request, as they come.
pub(super) fn answers_to<B>(request: &mut Request<B>) -> mpsc::Receiver<ResponseHeader> {
    let (sender, answers) = mpsc::channel(WAITING);
    on_informational(request, move |answer| {
        // Those that wait are too many already, and end the exchange.
        let _ = sender.try_send(header(answer.status(), answer.headers()));
    });
    answers
}

fn header(status: StatusCode, fields: &HeaderMap) -> ResponseHeader {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.headers = fields.clone();
    ResponseHeader::from(head)
}

/// How many wait at most: more than a request may have (`answer_bounds`).
const WAITING: usize = 64;
