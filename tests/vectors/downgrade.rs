//! Runs a group of vectors of HTTP/2 against a target of HTTP/1.1, and judges each by what client
//! and target have seen: what one protocol carries must not become something else in the other.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::case::Must;
use crate::http2::{Frames, Http2, frame, literal};
use crate::kit::{PATIENCE, Ports, Tidegate, until};
use crate::message::Request;
use crate::run::{MARK, PROBE, same};
use crate::stream::{END_HEADERS, END_STREAM, Stream, Way, groups};
use crate::target::{Seen, Target};

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// A whole answer.
    Answered {
        /// Its status; 0 if that could not be read.
        status: u16,
        /// Its content.
        body: String,
    },
    /// A RST_STREAM with this code.
    Reset(u32),
    /// The end of the connection.
    Ended,
    /// Nothing, for too long.
    Silence,
}

/// Runs every vector of a group; fails with all that went wrong.
pub(crate) async fn check(group: &str) {
    let cases = groups().remove(group).expect("the group is there");
    let target = Target::start().await;
    let address = target.address();
    let tidegate = Tidegate::start(|ports| config(ports, address)).await;
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if let Err(fault) = run(&tidegate, &target, case, number).await {
            wrong.push(format!("{}: {fault}\n    {}", case.name, case.rule));
        }
    }
    let all = cases.len();
    assert!(wrong.is_empty(), "\n{} of {all} went wrong:\n{}\n", wrong.len(), wrong.join("\n"));
}

async fn run(
    tidegate: &Tidegate,
    target: &Target,
    case: &Stream,
    number: usize,
) -> Result<(), String> {
    let (again, fresh) = (format!("{PROBE}again/{number}"), format!("{PROBE}fresh/{number}"));
    let address = tidegate.public();
    let (outcome, after) = talk(address, case, &again).await;
    if case.must == Must::Either && outcome != answered(case) {
        // What was taken before it was found out is let come to its target, and to its end there.
        until("nothing is under way", async || is_idle(tidegate).await).await;
    }
    let next = ask(address, &fresh).await;
    let mut seen = target.take_seen();
    seen.requests.retain(|request| !request.target.starts_with(PROBE));
    if next != answer_for(&fresh) {
        return Err(format!("the next client got {next:?}"));
    }
    clean(&seen)?;
    match &outcome {
        Outcome::Answered { status: 200, .. } => served(case, &outcome, &seen.requests)?,
        Outcome::Answered { status, .. } => {
            refused(case, Way::Status, Some(*status), &seen.requests)?;
        }
        Outcome::Reset(_) => refused(case, Way::Reset, None, &seen.requests)?,
        Outcome::Ended => refused(case, Way::Connection, None, &seen.requests)?,
        Outcome::Silence => return Err("neither answered nor refused".to_owned()),
    }
    match after {
        None => Ok(()),
        Some(Outcome::Ended) if case.may_end => Ok(()),
        Some(after) if after == answer_for(&again) => Ok(()),
        Some(after) => Err(format!("after {outcome:?}, another stream got {after:?}")),
    }
}

/// Whether the proxy has nothing in flight to the target. A change, though it changes nothing, is
/// answered with what is so now; what can be read is as old as the last look.
async fn is_idle(tidegate: &Tidegate) -> bool {
    let service = tidegate.api().split("shop", "0%").await;
    service.blue.targets.iter().all(|target| target.in_flight == 0)
}

/// What holds of every vector.
fn clean(seen: &Seen) -> Result<(), String> {
    if let Some(unclean) = seen.unclean.first() {
        return Err(format!("the target got {unclean}"));
    }
    match seen.requests.iter().find(|request| request.values(MARK).len() != 1) {
        Some(request) => Err(format!("smuggled past the proxy: {request:?}")),
        None => Ok(()),
    }
}

fn served(case: &Stream, outcome: &Outcome, seen: &[Request]) -> Result<(), String> {
    if case.must == Must::Refuse {
        return Err(format!("served: {seen:?}"));
    }
    if *outcome != answered(case) {
        return Err(format!("wanted {:?}, got {outcome:?}", answered(case)));
    }
    all_seen(case, seen)
}

fn refused(case: &Stream, way: Way, status: Option<u16>, seen: &[Request]) -> Result<(), String> {
    if case.must == Must::Accept {
        return Err(format!("refused by {way:?} {status:?}"));
    }
    if !case.refused.is_empty() && !case.refused.contains(&way) {
        return Err(format!("refused by {way:?}, not by {:?}", case.refused));
    }
    if let Some(status) = status {
        let refuses = (400..500).contains(&status) || status == 501;
        if !refuses || (!case.status.is_empty() && !case.status.contains(&status)) {
            return Err(format!("refused with {status}, not {:?}", case.status));
        }
    }
    match (case.must, seen) {
        (_, []) => Ok(()),
        (Must::Either, seen) => all_seen(case, seen),
        (Must::Refuse | Must::Accept, seen) => Err(format!("the target got {seen:?}")),
    }
}

fn all_seen(case: &Stream, seen: &[Request]) -> Result<(), String> {
    if seen.len() != case.target.len() {
        return Err(format!("the target got {seen:?}"));
    }
    seen.iter().zip(&case.target).try_for_each(|(request, expected)| same(request, expected))
}

/// The answer if it is served: the target says the path that it was asked for.
fn answered(case: &Stream) -> Outcome {
    let asked = case.target.first().map(|expected| expected.request.as_str()).unwrap_or_default();
    answer_for(asked.split_once(' ').map_or("", |(_, path)| path))
}

fn answer_for(path: &str) -> Outcome {
    Outcome::Answered { status: 200, body: path.to_owned() }
}

/// Sends a vector, and asks for a path on another stream behind it; `None` if the connection has
/// ended before that.
async fn talk(address: SocketAddr, case: &Stream, again: &str) -> (Outcome, Option<Outcome>) {
    let (mut frames, mut writing) = Http2::open(address).await.expect("it listens").split();
    // What cannot be written says that the connection has ended, and reading says so too.
    let _ = writing.write_all(&case.bytes()).await;
    let outcome = outcome_of(&mut frames, 1).await;
    if matches!(outcome, Outcome::Ended | Outcome::Silence) {
        return (outcome, None);
    }
    let _ = writing.write_all(&get(again, AGAIN)).await;
    let after = outcome_of(&mut frames, AGAIN).await;
    (outcome, Some(after))
}

/// Asks for a path on a new connection.
async fn ask(address: SocketAddr, path: &str) -> Outcome {
    let (mut frames, mut writing) = Http2::open(address).await.expect("it listens").split();
    writing.write_all(&get(path, 1)).await.expect("it takes a request");
    outcome_of(&mut frames, 1).await
}

fn get(path: &str, stream: u32) -> Vec<u8> {
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", path)];
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
        .collect();
    frame(1, END_HEADERS | END_STREAM, stream, &block)
}

/// Reads until a stream has ended, or the connection.
async fn outcome_of(frames: &mut Frames, stream: u32) -> Outcome {
    let (mut status, mut body) = (None, Vec::new());
    loop {
        let frame = match timeout(PATIENCE, frames.next()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None) | Err(_)) => return Outcome::Ended,
            Err(_) => return Outcome::Silence,
        };
        if frame.goaway().is_some_and(|code| code != 0) {
            return Outcome::Ended;
        }
        if frame.stream != stream {
            continue;
        }
        match frame.kind {
            0 => body.extend_from_slice(&frame.payload),
            1 if status.is_none() => status = Some(status_of(&frame.payload).unwrap_or(0)),
            3 => {
                let code = frame.payload.get(..4).and_then(|code| code.try_into().ok());
                return Outcome::Reset(code.map_or(u32::MAX, u32::from_be_bytes));
            }
            _ => {}
        }
        if frame.ends_stream() {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Outcome::Answered { status: status.unwrap_or(0), body };
        }
    }
}

/// The status at the beginning of the first header of a connection: one with a number of its own in
/// the static table (RFC 7541, appendix A), or a literal behind the name's number.
fn status_of(block: &[u8]) -> Option<u16> {
    let named = [200, 204, 206, 304, 400, 404, 500];
    match *block.first()? {
        index @ 0x88..=0x8e => named.get(usize::from(index - 0x88)).copied(),
        0x08 | 0x18 | 0x48 => {
            let length = *block.get(1)?;
            let text = block.get(2..2 + usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                std::str::from_utf8(text).ok()?.parse().ok()
            } else {
                digits(text)
            }
        }
        _ => None,
    }
}

/// Three digits in the code of RFC 7541, appendix B: five bits for 0, 1 and 2, six for the others.
fn digits(coded: &[u8]) -> Option<u16> {
    let bits: String = coded.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = u16::from_str_radix(bits.get(at..at + 5)?, 2).ok()?;
        let (digit, length) = if short < 3 {
            (short, 5)
        } else {
            let long = u16::from_str_radix(bits.get(at..at + 6)?, 2).ok()?;
            (long.checked_sub(22).filter(|digit| *digit < 10)?, 6)
        };
        number = number * 10 + digit;
        at += length;
    }
    Some(number)
}

fn config(ports: &Ports, target: SocketAddr) -> String {
    let Ports { public, admin } = ports;
    format!(
        "\
listeners:
  - {{ name: public, address: '{public}', protocol: h2c, rules: [{{ service: shop }}] }}
target_groups:
  shop-a: {{ targets: ['{target}'] }}
  shop-b: {{ targets: [] }}
services:
  shop: {{ target_groups: [shop-a, shop-b] }}
admin: {{ address: '{admin}' }}
store: {{ path: tidegate.db }}
"
    )
}

/// The stream of the request behind a vector.
const AGAIN: u32 = 101;

#[test]
fn a_status_is_read_in_every_form() {
    for (block, status) in [
        (&[0x88][..], Some(200)),
        (&[0x8c][..], Some(400)),
        (&b"\x48\x03405"[..], Some(405)),
        // 4 is 011010, 3 is 011001, 1 is 00001.
        (&[0x48, 0x83, 0b0110_1001, 0b1001_0000, 0b1111_1111][..], Some(431)),
        (&[0x48, 0x83][..], None),
        (&[][..], None),
    ] {
        assert_eq!(status_of(block), status, "{block:?}");
    }
}
