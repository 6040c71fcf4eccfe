//! A client that sends bytes as they are, and keeps every answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{sleep, timeout};

use crate::case::{Case, Must, Then};

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// In one write.
    Whole,
    /// Each in a write of its own.
    Bytewise,
}

/// What a client has heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The final answers to what it sent.
    pub(crate) answers: Vec<Answer>,
    /// The answers to the request that it sent afterwards.
    pub(crate) after: Vec<Answer>,
    /// Whether it sent one.
    pub(crate) asked_again: bool,
    /// Whether the connection was ended by the other side.
    pub(crate) closed: bool,
    /// Whether it has waited in vain.
    pub(crate) in_vain: bool,
    /// What is no answer.
    pub(crate) rest: Vec<u8>,
}

/// A final answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Whether the target has given it.
    pub(crate) by_target: bool,
    /// The content.
    pub(crate) body: String,
}

/// Sends a vector, and `again` on the same connection where that tells something.
pub(crate) async fn talk(address: SocketAddr, case: &Case, pace: Pace, again: &str) -> Heard {
    let mut heard = Heard::default();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let head = case.head;
    let exchange = async {
        let (mut from, mut to) = stream.split();
        let sending = send(&mut to, case, pace);
        let listening = heard.listen(&mut from, head, |answers| is_enough(case, answers));
        tokio::join!(sending, listening);
    };
    let waited = timeout(PATIENCE, exchange).await;
    heard.in_vain = waited.is_err();
    if heard.in_vain || heard.closed {
        return heard;
    }
    heard.asked_again = true;
    let answers = std::mem::take(&mut heard.answers);
    let exchange = async {
        let (mut from, mut to) = stream.split();
        // What cannot be written says that the connection has ended, and reading says so too.
        let _ = to.write_all(get(again).as_bytes()).await;
        heard.listen(&mut from, false, |_| false).await;
    };
    let waited = timeout(PATIENCE, exchange).await;
    heard.in_vain = waited.is_err();
    heard.after = std::mem::replace(&mut heard.answers, answers);
    heard
}

/// Asks for a path on a new connection.
pub(crate) async fn ask(address: SocketAddr, path: &str) -> Heard {
    let mut heard = Heard::default();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let exchange = async {
        stream.write_all(get(path).as_bytes()).await.expect("it takes a request");
        let (mut from, _to) = stream.split();
        heard.listen(&mut from, false, |_| false).await;
    };
    let waited = timeout(PATIENCE, exchange).await;
    heard.in_vain = waited.is_err();
    heard
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
}

/// Whether nothing more can come, but for the end of the connection.
fn is_enough(case: &Case, answers: &[Answer]) -> bool {
    let served = answers.iter().all(|answer| answer.by_target);
    let ends = case.half_close || case.then == Then::Close || case.then == Then::Refuse;
    let expected = if case.must == Must::Refuse { 1 } else { case.target.len() };
    served && !ends && answers.len() >= expected
}

async fn send(to: &mut WriteHalf<'_>, case: &Case, pace: Pace) {
    let bytes = case.bytes();
    let size = match pace {
        Pace::Whole => bytes.len(),
        Pace::Bytewise => 1,
    };
    for part in bytes.chunks(size) {
        if to.write_all(part).await.is_err() {
            return;
        }
        if pace == Pace::Bytewise {
            // So that the other side has a chance to see each byte alone.
            sleep(GAP).await;
        }
    }
    if case.half_close {
        // It may have been ended by the other side already.
        let _ = to.shutdown().await;
    }
}

impl Heard {
    async fn listen(
        &mut self,
        from: &mut ReadHalf<'_>,
        head: bool,
        enough: impl Fn(&[Answer]) -> bool,
    ) {
        while !self.closed && !enough(&self.answers) {
            // An answer that was given before the connection broke was given.
            match from.read_buf(&mut self.rest).await {
                Ok(0) | Err(_) => self.closed = true,
                Ok(_) => {}
            }
            while self.take_answer(head) {}
        }
    }

    /// Takes the next whole answer; interim ones are dropped.
    fn take_answer(&mut self, head: bool) -> bool {
        let Some(end) = find(&self.rest, b"\r\n\r\n") else { return false };
        let text = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
        let Some(status) = status(&text) else { return false };
        if (102..200).contains(&status) || status == 100 {
            self.rest.drain(..end + 4);
            return true;
        }
        let content = &self.rest[end + 4..];
        let length = if head && self.answers.is_empty() {
            Some(0)
        } else if let Some(length) = field(&text, "content-length") {
            length.parse::<usize>().ok().filter(|length| *length <= content.len())
        } else if field(&text, "transfer-encoding") == Some("chunked") {
            find(content, b"0\r\n\r\n").map(|at| at + 5)
        } else {
            self.closed.then_some(content.len())
        };
        let Some(length) = length else { return false };
        let body = String::from_utf8_lossy(&content[..length]).into_owned();
        let by_target = field(&text, "x-target") == Some("1");
        self.answers.push(Answer { status, by_target, body });
        self.rest.drain(..end + 4 + length);
        true
    }
}

fn status(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("http/1.1 ").or_else(|| head.strip_prefix("http/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| *found == name).map(|(_, value)| value.trim())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Longer than the proxy reads on after a refusal, and than it waits for a header.
const PATIENCE: Duration = Duration::from_secs(15);
const GAP: Duration = Duration::from_micros(200);
