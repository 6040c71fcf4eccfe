//! Targets that misbehave: each gives the answer that is documented for it, is counted by its
//! kind, never makes two answers into one, and harms nothing on the other side.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::kit::{Turn, until};
use crate::rig::{Answer, Row, Scene, Seen, Target, get, metric, ms, read_request, sized};

/// What a target does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// There is nobody to connect to.
    Refuse,
    /// Takes it and says nothing.
    Hang,
    /// Resets the connection inside its answer's header.
    Reset,
    /// Answers with what is not HTTP.
    Garbage,
    /// Breaks off inside its answer's body.
    Truncate,
    /// Stops inside its answer's body.
    HangInBody,
    /// Takes its time, and answers well.
    Slow,
}

/// What a client and the figures have to show.
struct Expected {
    /// Status and word of the proxy's own answer; `None` where the target's goes out.
    answer: Option<(u16, &'static str)>,
    /// The kind that is counted.
    kind: Option<&'static str>,
    /// How long an answer may take.
    within: Duration,
}

impl Mode {
    const ALL: [Self; 7] = [
        Self::Refuse,
        Self::Hang,
        Self::Reset,
        Self::Garbage,
        Self::Truncate,
        Self::HangInBody,
        Self::Slow,
    ];

    fn expected(self) -> Expected {
        let at_once = Duration::from_millis(500);
        let expect = |answer, kind, within| Expected { answer, kind, within };
        match self {
            Self::Refuse => expect(Some((502, "connect_failed")), Some("connect"), at_once),
            Self::Hang => expect(Some((504, "target_timeout")), Some("timeout"), READ + at_once),
            Self::Reset | Self::Garbage => {
                expect(Some((502, "target_broken")), Some("broken"), at_once)
            }
            Self::Truncate => expect(None, Some("broken"), at_once),
            Self::HangInBody => expect(None, Some("timeout"), READ + at_once),
            Self::Slow => expect(None, None, SLOWNESS + at_once),
        }
    }

    async fn serve(self, mut stream: TcpStream, seen: Arc<Seen>) {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
            let said: &[u8] = match self {
                Self::Refuse | Self::Hang => b"",
                Self::Reset => b"HTTP/1.1 200 OK\r\ncontent-le",
                Self::Garbage => b"\x16\x03\x01 no such protocol \xff\xfe\r\n\r\n",
                Self::Truncate | Self::HangInBody => {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nAAAA"
                }
                Self::Slow => {
                    sleep(SLOWNESS).await;
                    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow"
                }
            };
            if stream.write_all(said).await.is_err() {
                return;
            }
            match self {
                Self::Reset => {
                    let _ = stream.set_zero_linger();
                    return;
                }
                Self::Truncate | Self::Garbage => return,
                Self::Refuse | Self::Hang | Self::HangInBody | Self::Slow => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_misbehave_get_the_answer_that_is_documented_and_harm_no_other() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "targets that misbehave",
        "the documented status and x-tidegate-error, within the timeout + 0.5 s; counted by kind; \
         a truncated body is seen by the client; blue untouched",
    );
    for mode in Mode::ALL {
        judge(&mut row, mode).await;
    }
    row.end();
}

async fn judge(row: &mut Row, mode: Mode) {
    let blue = Target::sound("blue").await;
    let green = Target::start(move |stream, seen| mode.serve(stream, seen)).await;
    let scene = Scene {
        service: format!(
            ", rescue: false, outlier_ejection: off, timeouts: {{ read: {}ms }}",
            READ.as_millis()
        ),
        blue: vec![blue.address()],
        green: vec![if mode == Mode::Refuse { nobody() } else { green.address() }],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    api.split("shop", "50%").await;
    let expected = mode.expected();
    let (mut of_blue, mut of_green, mut as_documented) = (0_u64, 0_u64, 0_u64);
    let (mut slowest_of_blue, mut slowest) = (Duration::ZERO, Duration::ZERO);
    let mut other = None;
    for _ in 0..sized(24, 200) {
        let began = Instant::now();
        let answer = get(tidegate.public(), "/").await;
        let took = began.elapsed();
        if is_of_blue(&answer) {
            of_blue += 1;
            slowest_of_blue = slowest_of_blue.max(took);
            continue;
        }
        of_green += 1;
        slowest = slowest.max(took);
        if is_expected(mode, &expected, &answer) {
            as_documented += 1;
        } else {
            other = Some(format!("{answer:?}"));
        }
    }
    let name = format!("{mode:?}");
    row.measure(&format!("{name}: green"), of_green);
    row.measure(&format!("{name}: as_documented"), as_documented);
    row.measure(&format!("{name}: slowest_ms"), ms(slowest));
    row.measure(&format!("{name}: blue"), of_blue);
    row.measure(&format!("{name}: slowest_of_blue_ms"), ms(slowest_of_blue));
    if let Some(other) = other {
        row.measure(&format!("{name}: another_answer"), other);
    }
    row.require(&format!("{name}: both sides had some"), of_green > 0 && of_blue > 0);
    row.require(&format!("{name}: as documented"), as_documented == of_green);
    row.require(&format!("{name}: in time"), slowest <= expected.within);
    row.require(&format!("{name}: blue is as ever"), slowest_of_blue < READ);
    if let Some(kind) = expected.kind {
        let kind = format!("kind=\"{kind}\"");
        let labels = ["side=\"green\"", kind.as_str()];
        let counted = async || metric(&api, "tidegate_upstream_errors_total", &labels).await;
        until("all failures are counted by their kind", async || counted().await >= of_green).await;
        let counted = counted().await;
        row.measure(&format!("{name}: counted"), counted);
        row.require(&format!("{name}: counted once each"), counted == of_green);
    }
}

fn is_of_blue(answer: &Result<Answer, String>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.body == b"ok")
}

fn is_expected(mode: Mode, expected: &Expected, answer: &Result<Answer, String>) -> bool {
    match (answer, expected.answer) {
        // Once it is known that there is no other.
        (Ok(answer), Some(_))
            if mode == Mode::Refuse && answer.field("x-tidegate-error") == Some("targets_down") =>
        {
            answer.status == 503 && answer.field("retry-after").is_some()
        }
        (Ok(answer), Some((status, word))) => {
            answer.status == status && answer.field("x-tidegate-error") == Some(word)
        }
        (Ok(answer), None) => mode == Mode::Slow && answer.body == b"slow",
        // The client was left with a part, and can tell.
        (Err(why), None) => {
            let is_cut = why.contains("in the body") || why.contains("the body was cut");
            mode != Mode::Slow && is_cut
        }
        (Err(_), Some(_)) => false,
    }
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// The timeout of a target.
const READ: Duration = Duration::from_millis(700);
/// How long a slow target takes, which is allowed.
const SLOWNESS: Duration = Duration::from_millis(300);
