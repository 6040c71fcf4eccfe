//! Uploads that must be refused, under load: each with its reason, while no request fails or waits
//! for it, the writer comes round, and the memory is given back.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{Instant, timeout};

use crate::kit::{Tidegate, Turn, until};
use crate::malice::{compiler_bomb, of_another_version, of_another_world, with_forbidden_import};
use crate::rig::{
    Busy, Contest, LEEWAY_KIB, Memory, Plan, Row, Scene, Target, Traffic, ms, present_kib,
    require_given_back, sized,
};

/// An upload that must be refused.
struct Upload {
    name: &'static str,
    component: Vec<u8>,
    /// Makes another file of it in each round: what is known is not looked at again.
    vary: fn(Vec<u8>, u8) -> Vec<u8>,
    /// How many zeros are behind it.
    zeros: u64,
    /// The status of the answer, and a part of its text.
    expected: (u16, &'static str),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_are_refused_hurt_no_request_and_leave_nothing_behind() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "hostile uploads",
        "1000 requests/s (reduced: 400), 20 uploads of each kind (reduced: 2): each refused with its \
         reason; 0 failed; p99 within 1.2 times that beside a busy thread of the same nice level, as \
         the median over blocks of two rounds (reduced: twice, plus 50 ms); one tick in 1000 later \
         than 50 ms and none than 250 ms (reduced: one in 20, and a second); a compiler bomb takes \
         no more than 16 MiB of the proxy's memory; all of it back to within 10 MB",
    );
    let (blue, green) = (Target::sound("blue").await, Target::sound("green").await);
    let scene =
        Scene { blue: vec![blue.address()], green: vec![green.address()], ..Scene::default() };
    let tidegate = Tidegate::start(|ports| format!("{}{GATE}", scene.config(ports))).await;
    let (api, uploads) = (tidegate.api(), uploads());
    api.split("shop", "50%").await;
    let plan = Plan { per_second: sized(400, 1_000), connections: 32, post_every: 5 };
    let traffic = Traffic::start(tidegate.public(), plan);
    let warm = u64::from(plan.per_second) * 2;
    until("the load is under way", async || traffic.begun() >= warm).await;
    // The host of gates begins with the first one.
    let taken = push(&tidegate, &good(), 0).await;
    assert_eq!(taken.0, 200, "{}", taken.1);

    let before_kib = present_kib(tidegate.id());
    let (mut contest, mut seen) = (Contest::default(), Seen::default());
    let mut took = CONTROL;
    for round in 0..sized(2_u8, 20) {
        let is_first = round.is_multiple_of(2);
        if !is_first {
            control(&mut contest, took).await;
        }
        took = contest.attack(&api, seen.refuse(&tidegate, &uploads, round)).await;
        if is_first {
            control(&mut contest, took).await;
        }
    }
    require_given_back(&mut row, tidegate.id(), before_kib).await;
    let samples = traffic.stop().await;
    contest.judge(&mut row, &samples);
    seen.judge(&mut row);
    let taken = push(&tidegate, &marked(good(), u8::MAX), 0).await;
    row.require("the next one is taken", taken.0 == 200);
    row.end();
}

/// A slice of the control run; in the full form it is as long as that of the attack was.
async fn control(contest: &mut Contest, took: Duration) {
    let busy = Busy::start();
    contest.control(sized(CONTROL, took)).await;
    drop(busy);
}

/// What came of the uploads.
#[derive(Default)]
struct Seen {
    refused: usize,
    /// Those that were answered in another way.
    others: Vec<String>,
    slowest_bomb: Duration,
    /// By how much the proxy's memory grew at most during a compiler bomb, in KiB.
    grown_kib: u64,
}

impl Seen {
    /// Uploads one of each kind.
    async fn refuse(&mut self, tidegate: &Tidegate, uploads: &[Upload], round: u8) {
        for upload in uploads {
            let component = (upload.vary)(upload.component.clone(), round);
            let (began, memory) = (Instant::now(), Memory::watch(tidegate.id()));
            let (status, said) = push(tidegate, &component, upload.zeros).await;
            if upload.name == BOMB {
                self.slowest_bomb = self.slowest_bomb.max(began.elapsed());
                self.grown_kib = self.grown_kib.max(memory.grown_kib());
            }
            if status == upload.expected.0 && said.contains(upload.expected.1) {
                self.refused += 1;
            } else {
                self.others.push(format!("{}: {status}: {said}", upload.name));
            }
        }
    }

    fn judge(&self, row: &mut Row) {
        row.measure("refused", self.refused);
        row.measure("answered_otherwise", self.others.len());
        if let Some(first) = self.others.first() {
            row.measure("answer", first.as_str());
        }
        row.measure("slowest_compiler_bomb_ms", ms(self.slowest_bomb));
        row.measure("memory_beside_compiler_bomb_kib", self.grown_kib);
        row.require("each is refused with its reason", self.others.is_empty() && self.refused > 0);
        row.require("compiling takes no memory of the proxy", self.grown_kib <= LEEWAY_KIB);
    }
}

/// One of each kind.
fn uploads() -> Vec<Upload> {
    let whole = |name, component, reason| Upload {
        name,
        component,
        vary: marked,
        zeros: 0,
        expected: (422, reason),
    };
    let module = wat::parse_str("(module)").expect("valid text");
    vec![
        whole(BOMB, compiler_bomb(), "compiling the component takes more than"),
        whole(
            "forbidden import",
            with_forbidden_import(),
            "import `other:thing/clock@1.0.0` is not available",
        ),
        whole("wrong world", of_another_world(), "export `describe` is missing"),
        whole(
            "wrong version",
            of_another_version(),
            "built for version 2.0.0 of the contract, this host offers version 1.0.0",
        ),
        whole("not a component", module, "a core module, not a component"),
        Upload { vary: cut_off, ..whole("truncated file", good(), "cut off or damaged") },
        Upload {
            zeros: 200_000_000,
            expected: (413, "the body is longer than"),
            ..whole("component of 200 MB", good(), "")
        },
    ]
}

fn good() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("plugins/dist/error-budget.wasm")).expect("committed")
}

/// The same file with a section at its end that says nothing but this.
fn marked(component: Vec<u8>, mark: u8) -> Vec<u8> {
    [component, vec![0, 3, 1, b'x', mark]].concat()
}

/// The beginning of the file, which ends sooner each time.
fn cut_off(mut component: Vec<u8>, round: u8) -> Vec<u8> {
    component.truncate(30_000 - usize::from(round));
    component
}

/// Uploads this and so many zeros behind it; gives the status of the answer and what it says.
async fn push(tidegate: &Tidegate, component: &[u8], zeros: u64) -> (u16, String) {
    let length = component.len() as u64 + zeros;
    let token = std::fs::read_to_string(tidegate.home().path().join("admin.token"));
    let token = token.expect("made at the first start");
    let head = format!(
        "PUT /v1/gates/budget HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {}\r\ncontent-type: application/wasm\r\n\
         content-length: {length}\r\n\r\n",
        token.trim()
    );
    let stream = TcpStream::connect(tidegate.ports().admin).await.expect("connected");
    let (mut reading, mut writing) = stream.into_split();
    let mut answer = Vec::new();
    let exchange = async {
        // What is refused for its length is answered before it is written.
        let (_, _) = tokio::join!(
            write(&mut writing, head.as_bytes(), component, zeros),
            reading.read_to_end(&mut answer)
        );
    };
    timeout(LONGEST, exchange).await.expect("an answer in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let detail = serde_json::from_str(body)
        .ok()
        .and_then(|problem: Value| problem["detail"].as_str().map(str::to_owned));
    (status.unwrap_or_default(), detail.unwrap_or(answer))
}

async fn write(
    writing: &mut OwnedWriteHalf,
    head: &[u8],
    component: &[u8],
    mut zeros: u64,
) -> std::io::Result<()> {
    writing.write_all(head).await?;
    writing.write_all(component).await?;
    let part = vec![0; 64 * 1_024];
    while zeros > 0 {
        let now = usize::try_from(zeros).unwrap_or(usize::MAX).min(part.len());
        writing.write_all(&part[..now]).await?;
        zeros -= now as u64;
    }
    Ok(())
}

/// The gate, in the configuration.
const GATE: &str = "gates: { budget: { uploaded: true, limits: { deadline: 2s } } }\n";
const BOMB: &str = "compiler bomb";
/// How long a slice of the control run is in the reduced form; in the full one it is as long as that
/// of the attack before it.
const CONTROL: Duration = Duration::from_millis(2_500);
/// The longest that an upload may take.
const LONGEST: Duration = Duration::from_secs(90);
