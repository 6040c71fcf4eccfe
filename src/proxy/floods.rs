//! Floods of frames on connections of HTTP/2, over real sockets: whoever sends too many that carry
//! nothing is told to be calm, and nobody else is.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::streams::{PREFACE, raw_frame};
use super::testkit::{Act, Io, Origin, PATIENCE, World, ok, public, service, table};
use super::wirekit::{H2Client, h2c_listener, listener, shake};
use crate::core::model::{ClientLimits, ListenerSpec, WhenIdle};
use crate::telemetry::EdgeEvent;
use crate::tls::testkit::{Authority, listener_tls};

/// Limits that permit so many frames.
fn permitting(h2_control_frames: u32) -> ClientLimits {
    ClientLimits { h2_control_frames, ..ClientLimits::default() }
}

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn world(origin: &Origin, limits: ClientLimits) -> World {
    let table = table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
    World::listening(table, &[ListenerSpec { limits, ..h2c_listener() }])
}

/// A frame that came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Heard {
    pub(super) fn ends_stream(&self) -> bool {
        self.kind <= 1 && self.flags & 0x01 != 0
    }

    fn is_pong(&self) -> bool {
        self.kind == PING && self.flags & 0x01 != 0
    }

    /// The last stream that a GOAWAY names, and its code.
    pub(super) fn goaway(&self) -> Option<(u32, u32)> {
        let number = |at: usize| {
            let bytes = self.payload.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().expect("of this length")))
        };
        if self.kind == 7 { Some((number(0)?, number(4)?)) } else { None }
    }
}

/// A client that writes its frames by hand.
pub(super) struct Raw {
    reading: ReadHalf<Box<dyn Io>>,
    writing: WriteHalf<Box<dyn Io>>,
    buffer: Vec<u8>,
}

impl Raw {
    /// Connects, and lets the proxy send as much as it wants.
    pub(super) async fn of(world: &World) -> Self {
        Self::over(TcpStream::connect(world.address()).await.expect("connected")).await
    }

    async fn over(stream: impl Io + 'static) -> Self {
        let stream: Box<dyn Io> = Box::new(stream);
        let (reading, writing) = split(stream);
        let mut client = Self { reading, writing, buffer: Vec::new() };
        // SETTINGS_INITIAL_WINDOW_SIZE, and the same for the connection.
        let settings = raw_frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        let window = raw_frame(8, 0, 0, &[0x3f, 0xff, 0xff, 0xff]);
        client.send(&[PREFACE, &settings, &window].concat()).await;
        client
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.writing.write_all(bytes).await.expect("sent");
        self.writing.flush().await.expect("sent");
    }

    /// The next frame, whole; `None` at the end of the connection, which is a close and no reset.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        timeout(PATIENCE, read(&mut self.reading, &mut self.buffer)).await.expect("in time")
    }

    /// Sends this after each such time in which it hears nothing, until the other side closes, in
    /// whatever way; gives what it heard.
    pub(super) async fn drip_until_closed(mut self, bytes: &[u8], gap: Duration) -> Vec<Heard> {
        let drip = async {
            loop {
                match timeout(gap, self.reading.read_buf(&mut self.buffer)).await {
                    Ok(Ok(0) | Err(_)) => return,
                    Ok(Ok(_)) => {}
                    Err(_) if self.writing.write_all(bytes).await.is_err() => return,
                    Err(_) => self.writing.flush().await.unwrap_or(()),
                }
            }
        };
        timeout(PATIENCE, drip).await.expect("the connection is closed in time");
        std::iter::from_fn(|| take(&mut self.buffer)).collect()
    }

    /// Sends this again and again while it listens; gives all that it hears to the end.
    async fn flood(self, frames: &[u8]) -> Vec<Heard> {
        let Self { mut reading, mut writing, mut buffer } = self;
        let sending = async {
            for _ in 0..BATCHES {
                // A proxy that has closed takes no more.
                if writing.write_all(frames).await.is_err() || writing.flush().await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let listening = async {
            let mut heard = Vec::new();
            while let Some(frame) = read(&mut reading, &mut buffer).await {
                heard.push(frame);
            }
            heard
        };
        let both = async {
            tokio::select! {
                () = sending => panic!("it sends for ever"),
                heard = listening => heard,
            }
        };
        timeout(PATIENCE, both).await.expect("the connection ends in time")
    }
}

async fn read(reading: &mut ReadHalf<Box<dyn Io>>, buffer: &mut Vec<u8>) -> Option<Heard> {
    loop {
        if let Some(frame) = take(buffer) {
            return Some(frame);
        }
        if reading.read_buf(buffer).await.expect("no reset") == 0 {
            assert!(buffer.is_empty(), "it ends inside of a frame: {buffer:?}");
            return None;
        }
    }
}

/// Takes a whole frame from what was read.
fn take(buffer: &mut Vec<u8>) -> Option<Heard> {
    let head: [u8; 9] = buffer.get(..9)?.try_into().expect("of this length");
    let [a, b, c, kind, flags, stream @ ..] = head;
    let end = 9 + usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("24 bits");
    let payload = buffer.get(9..end)?.to_vec();
    buffer.drain(..end);
    Some(Heard { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

/// A GET of `/` on a stream.
pub(super) fn get(stream: u32) -> Vec<u8> {
    let header = [&[0x82, 0x86, 0x84, 0x01, 0x09][..], b"shop.test"].concat();
    // END_STREAM and END_HEADERS.
    raw_frame(1, 0x05, stream, &header)
}

/// A flood's frames, as they are sent at once.
fn batch(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    raw_frame(kind, 0, stream, payload).repeat(BATCH)
}

#[tokio::test]
async fn a_flood_of_frames_that_carry_nothing_ends_with_a_goaway_and_harms_nobody_else() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, permitting(100));
    let other = H2Client::of(&world).await;
    let floods = [
        ("ping", batch(PING, 0, b"12345678")),
        ("settings", batch(4, 0, &[])),
        ("priority", batch(2, 3, &[0, 0, 0, 0, 16])),
        ("unknown", batch(0xfa, 0, b"x")),
        ("window", batch(8, 0, &[0, 0, 0, 1])),
        ("reset", batch(3, 1, &[0, 0, 0, 8])),
    ];
    let mut count = 0;
    for (name, frames) in floods {
        let mut client = Raw::of(&world).await;
        client.send(&get(1)).await;
        while !client.next().await.expect(name).ends_stream() {}
        let heard = client.flood(&frames).await;
        let last = heard.last().expect(name);
        assert_eq!(last.goaway(), Some((1, CALM)), "{name}: {last:?}");
        let goaways = heard.iter().filter(|frame| frame.goaway().is_some()).count();
        assert_eq!(goaways, 1, "{name}");
        if name == "ping" {
            let pongs = heard.iter().filter(|frame| frame.is_pong()).count();
            assert!(pongs >= 90, "{pongs} were answered before");
        }
        count += 1;
        assert_eq!(world.recorder.edge_count(EdgeEvent::FrameFlood), count, "{name}");
        assert_eq!(other.get("/").await.body, "fine", "{name}");
    }
}

#[tokio::test]
async fn a_flood_over_tls_ends_in_the_same_way() {
    let (authority, origin) = (Authority::new(), Origin::saying("fine").await);
    let tls = Some(listener_tls(&[authority.signs("shop", &["shop.test"])]));
    let table = table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
    let spec = ListenerSpec { tls, limits: permitting(100), ..listener(public()) };
    let world = World::listening(table, &[spec]);
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = shake(world.address(), config, "shop.test").await.expect("a handshake");
    let heard = Raw::over(stream).await.flood(&batch(PING, 0, b"12345678")).await;
    let last = heard.last().expect("something");
    assert_eq!(last.goaway(), Some((0, CALM)), "{last:?}");
}

#[tokio::test]
async fn a_flood_during_an_answer_ends_it_between_two_frames() {
    let origin = Origin::new(|_, _| ok(&"x".repeat(LARGE))).await;
    let world = world(&origin, permitting(10));
    let mut client = Raw::of(&world).await;
    client.send(&get(1)).await;
    while client.next().await.expect("an answer").kind != 0 {}
    let heard = client.flood(&batch(PING, 0, b"12345678")).await;
    for frame in heard.iter().filter(|frame| frame.kind == 0) {
        assert_eq!(frame.stream, 1);
        assert!(frame.payload.iter().all(|byte| *byte == b'x'), "it is nothing else's");
    }
    let last = heard.last().expect("something");
    assert_eq!(last.goaway(), Some((1, CALM)), "{last:?}");
}

#[tokio::test]
async fn five_hundred_pings_at_once_beside_requests_are_answered_by_default() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, ClientLimits::default());
    let mut client = Raw::of(&world).await;
    let pings = raw_frame(PING, 0, 0, b"12345678").repeat(100);
    for n in 0..5 {
        client.send(&[&pings[..], &get(2 * n + 1)].concat()).await;
    }
    let (mut pongs, mut answers) = (0, 0);
    while pongs < 500 || answers < 5 {
        let frame = client.next().await.expect("it goes on");
        pongs += usize::from(frame.is_pong());
        answers += usize::from(frame.ends_stream());
        assert_eq!(frame.goaway(), None);
    }
    assert_eq!(world.recorder.edge_count(EdgeEvent::FrameFlood), 0);
}

#[tokio::test]
async fn a_client_may_ping_in_each_round_trip_of_an_answer() {
    let origin = Origin::new(|_, _| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut acts = vec![Act::Send(head.to_owned())];
        for _ in 0..200 {
            acts.push(Act::Send("1\r\nx\r\n".to_owned()));
            acts.push(Act::Wait(Duration::from_millis(5)));
        }
        acts.push(Act::Send("0\r\n\r\n".to_owned()));
        acts
    })
    .await;
    let world = world(&origin, permitting(10));
    let mut client = Raw::of(&world).await;
    client.send(&get(1)).await;
    let (mut pings, mut waits) = (0, false);
    loop {
        let frame = client.next().await.expect("the answer comes whole");
        if frame.ends_stream() {
            break;
        }
        if frame.is_pong() {
            waits = false;
        } else if frame.kind == 0 && !waits {
            client.send(&raw_frame(PING, 0, 0, b"12345678")).await;
            (pings, waits) = (pings + 1, true);
        }
    }
    // Without the answer there were ten, and ten more in its second.
    assert!(pings > 60, "{pings}");
}

const PING: u8 = 6;
/// The code ENHANCE_YOUR_CALM.
const CALM: u32 = 11;
/// Frames that are sent at once, and how often: until the flood is over.
const BATCH: usize = 200;
const BATCHES: usize = 1_000;
/// An answer that is long under way.
const LARGE: usize = 64 << 20;
