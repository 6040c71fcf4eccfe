//! Abuse of HTTP/2: what a client can send that costs it little and a server much. Each attack is
//! ended or bounded, takes no memory that stays, and harms nobody on another connection.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::kit::{Tidegate, Turn};
use crate::rig::{
    Bystander, Ending, Frames, Http2, LEEWAY_KIB, Memory, Row, Scene, Speaks, Target, frame,
    get_header, post_header, sized,
};

/// An attack: what is sent at first, and what is sent again and again.
struct Attack {
    name: &'static str,
    first: Vec<u8>,
    /// The bytes of a round.
    round: Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>,
    rounds: u32,
    /// What the server may do about it.
    bar: Bar,
}

/// What has to become of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bar {
    /// The connection is ended with a GOAWAY of this code; a bare close does not do.
    GoAway(u32),
    /// So many streams are reset, or the connection is ended.
    Reset(u32),
    /// It costs the server so little that it answers a ping behind it, or the connection is ended.
    Borne,
}

/// What came back from the server.
#[derive(Clone, Copy, Debug, Default)]
struct Reaction {
    ending: Option<Ending>,
    resets: u32,
    answers: u32,
    /// Whether the ping behind all of it was answered.
    is_over: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_of_http2_is_bounded_and_harms_nobody_else() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "abuse of HTTP/2",
        "ended by GOAWAY, with ENHANCE_YOUR_CALM unless a frame is wrong in itself, or bounded; \
         another client served within 1 s throughout; memory within 16 MiB of a warm baseline; at \
         most 200 requests of an attack reach a target",
    );
    let blue = Target::sound("blue").await;
    let scene = Scene {
        listener: ", protocol: h2c, limits: { response_write: 1s, body_read: 2s, header: 2s }"
            .to_owned(),
        blue: vec![blue.address()],
        ..Scene::default()
    };
    let tidegate = scene.start().await;
    // Warm: every attack was there once, so that what it makes the process keep is kept already.
    let frames = sized(2_000, 20_000);
    for attack in attacks(frames) {
        run(&tidegate, &attack).await;
    }
    for _ in 0..200 {
        Http2::get(tidegate.public()).await.expect("served after the attacks");
    }
    let memory = Memory::watch(tidegate.id());
    row.measure("memory_before_kib", memory.before_kib());
    for attack in attacks(frames) {
        let name = attack.name;
        let bystander = Bystander::start(tidegate.public(), Speaks::Http2);
        let before = blue.seen().count();
        let began = Instant::now();
        let reaction = run(&tidegate, &attack).await;
        let took = u64::try_from(began.elapsed().as_millis()).expect("a short time");
        bystander.stop(&mut row, &format!("{name}: ")).await;
        // The bystander asks ten times a second, so its own requests are no more than that.
        let asked = blue.seen().count() - before;
        let of_attack = asked.saturating_sub(usize::try_from(took / 100).expect("small") + 10);
        row.measure(&format!("{name}: ended_by"), format!("{:?}", reaction.ending));
        row.measure(&format!("{name}: resets"), reaction.resets);
        row.measure(&format!("{name}: answers"), reaction.answers);
        row.measure(&format!("{name}: requests_at_target"), of_attack);
        row.measure(&format!("{name}: took_ms"), took);
        row.measure(&format!("{name}: memory_grown_kib"), memory.grown_kib());
        row.require(&format!("{name}: {:?}", attack.bar), attack.bar.holds(&reaction));
        row.require(&format!("{name}: few requests reach a target"), of_attack <= 200);
        row.require(&format!("{name}: memory"), memory.grown_kib() <= LEEWAY_KIB);
    }
    row.end();
}

/// Sends an attack, until it is over or the server has had enough.
async fn run(tidegate: &Tidegate, attack: &Attack) -> Reaction {
    let (frames, mut writing) = Http2::open(tidegate.public()).await.expect("connected").split();
    let (told, mut reaction) = watch::channel(Reaction::default());
    let reading = listen(frames, told);
    let deadline = Instant::now() + LONGEST;
    let mut sending = writing.write_all(&attack.first).await.is_ok();
    for number in 0..attack.rounds {
        if !sending || reaction.borrow().ending.is_some() || Instant::now() > deadline {
            break;
        }
        let round = (attack.round)(number);
        let sent = timeout(WRITE, writing.write_all(&round)).await;
        sending = sent.is_ok_and(|sent| sent.is_ok());
    }
    if attack.bar == Bar::Borne {
        // A server that has ended the connection takes no more, which its end says as well.
        let _ = timeout(WRITE, writing.write_all(&frame(PING, 0, 0, &LAST))).await;
    }
    let bar = attack.bar;
    let over = reaction.wait_for(|reaction| bar.holds(reaction));
    // Whether it came in time is for the caller to judge, by what has come.
    let _ = timeout(LONGEST, over).await;
    // What is still under way at the targets is let come to its end.
    sleep_until(Instant::now() + SETTLE).await;
    let reacted = *reaction.borrow();
    reading.abort();
    reacted
}

/// Reads all that the server has to say.
fn listen(mut frames: Frames, told: watch::Sender<Reaction>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Ok(Some(frame)) = frames.next().await else {
                told.send_modify(|reaction| {
                    reaction.ending.get_or_insert(Ending::Closed);
                });
                return;
            };
            told.send_modify(|reaction| match (frame.kind, frame.goaway()) {
                (_, Some(code)) => {
                    reaction.ending.get_or_insert(Ending::GoAway(code));
                }
                (1, None) => reaction.answers += 1,
                (3, None) => reaction.resets += 1,
                (PING, None) if frame.is_acknowledgement() => {
                    reaction.is_over |= frame.payload == LAST;
                }
                (_, None) => {}
            });
        }
    })
}

impl Bar {
    fn holds(self, reaction: &Reaction) -> bool {
        match self {
            Self::GoAway(code) => reaction.ending == Some(Ending::GoAway(code)),
            Self::Reset(streams) => reaction.ending.is_some() || reaction.resets >= streams,
            Self::Borne => reaction.ending.is_some() || reaction.is_over,
        }
    }
}

/// All attacks, of so many frames each.
fn attacks(frames: u32) -> Vec<Attack> {
    let batches = frames / BATCH;
    let again = |bytes: Vec<u8>| move |_: u32| bytes.clone();
    let field = [b"\x00\x05x-aaa\x7f\x00".to_vec(), vec![b'b'; 127]].concat();
    let get = |id: u32| frame(1, END_HEADERS | END_STREAM, id, &get_header());
    let open_post = frame(1, END_HEADERS, 1, &post_header());
    let open_get = frame(1, 0, 1, &get_header());
    let reset = move |n: u32| [get(stream(n)), frame(3, 0, stream(n), &CANCEL)].concat();
    let made_to_reset = |n: u32| {
        let post = frame(1, END_HEADERS, stream(n), &post_header());
        [post, frame(8, 0, stream(n), &[0; 4])].concat()
    };
    let no_window = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    vec![
        Attack::new("rapid_reset", CALMED, vec![], frames, reset),
        Attack::new("made_you_reset", MISTAKEN, vec![], frames, made_to_reset),
        Attack::new(
            "continuation",
            CALMED,
            open_get.clone(),
            batches,
            again(batch(9, 0, 1, &field)),
        ),
        Attack::new("empty_continuation", CALMED, open_get, batches, again(batch(9, 0, 1, &[]))),
        Attack::new("hpack_bomb", Bar::Borne, vec![], 200, bomb),
        flood("ping_flood", batches, batch(6, 0, 0, &[7; 8])),
        flood("settings_flood", batches, batch(4, 0, 0, &[])),
        Attack::new("empty_data", CALMED, open_post, batches * 10, again(batch(0, 0, 1, &[]))),
        flood("priority_flood", batches, batch(2, 0, 3, &PRIORITY)),
        flood("unknown_flood", batches, batch(0xfa, 0, 0, &[])),
        Attack::new("no_window", Bar::Reset(STALLED), no_window, STALLED, move |n| get(stream(n))),
        Attack::new("zero_increment", MISTAKEN, frame(8, 0, 0, &[0; 4]), 0, |_| vec![]),
        Attack::new("oversized_header", Bar::Borne, vec![], 20, oversized),
    ]
}

impl Attack {
    fn new(
        name: &'static str,
        bar: Bar,
        first: Vec<u8>,
        rounds: u32,
        round: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self { name, first, round: Box::new(round), rounds, bar }
    }
}

/// Frames that carry nothing for a request, twice as many of them as of other attacks: a listener
/// permits 1 000 a second, and as many at once.
fn flood(name: &'static str, batches: u32, frames: Vec<u8>) -> Attack {
    Attack::new(name, CALMED, vec![], 2 * batches, move |_| frames.clone())
}

/// The same frame many times over.
fn batch(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(kind, flags, stream, payload).repeat(BATCH as usize)
}

/// A request whose header is twelve thousand references to the same four thousand bytes.
fn bomb(number: u32) -> Vec<u8> {
    let mut header = get_header();
    if number == 0 {
        // A field `a` of 4 000 bytes, which goes into the table as its newest entry.
        header.extend(b"\x40\x01a\x7f\xa1\x1e");
        header.extend([b'z'; 4_000]);
    }
    header.extend([0xbe; 12_000]);
    frame(1, END_HEADERS | END_STREAM, stream(number), &header)
}

/// A request whose header has more bytes than the listener takes, none of them compressed.
fn oversized(number: u32) -> Vec<u8> {
    let field = [b"\x00\x05x-aaa\x7f\x00".to_vec(), vec![b'b'; 127]].concat().repeat(100);
    let id = stream(number);
    let mut frames = frame(1, END_STREAM, id, &get_header());
    for _ in 0..2 {
        frames.extend(frame(9, 0, id, &field));
    }
    frames.extend(frame(9, END_HEADERS, id, &field));
    frames
}

/// The streams of a client have odd numbers.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

const PING: u8 = 6;
/// What is in the ping behind an attack.
const LAST: [u8; 8] = *b"the last";
const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// ENHANCE_YOUR_CALM.
const CALMED: Bar = Bar::GoAway(11);
/// PROTOCOL_ERROR: an increment of nothing is a mistake, of which one is enough (RFC 9113,
/// section 6.9; h2 ends the connection for that of a stream too).
const MISTAKEN: Bar = Bar::GoAway(1);
const PRIORITY: [u8; 5] = [0, 0, 0, 0, 16];
/// Frames that are written at once.
const BATCH: u32 = 50;
/// Streams that are stalled at once.
const STALLED: u32 = 90;
/// How long an attack goes on, and how long its end is waited for.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a server that has stopped reading is written to.
const WRITE: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_millis(300);
