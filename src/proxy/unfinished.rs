//! Headers of HTTP/2 that do not end, and connections that nobody has a use for, over real sockets: a
//! client of either kind is not kept for ever, whatever it says, and nothing that runs is cut.

use std::time::Duration;

use tokio::time::Instant;

use super::floods::{Heard, Raw, get};
use super::streams::raw_frame;
use super::testkit::{Act, Origin, World, service, table, until};
use super::wirekit::h2c_listener;
use crate::core::model::{ClientLimits, ListenerSpec, Span, WhenIdle};
use crate::telemetry::EdgeEvent;

/// A proxy whose public listener speaks HTTP/2 in the clear.
fn world(origin: &Origin, limits: ClientLimits) -> World {
    let table = table(service(0, &[origin.address], &[]), WhenIdle::Refuse);
    World::listening(table, &[ListenerSpec { limits, ..h2c_listener() }])
}

/// A header may not take long; h2 itself puts up with twenty frames of it.
fn hurried() -> ClientLimits {
    let header = Span::from_ms(200);
    ClientLimits { header, header_bytes: 256 * 1_024, ..ClientLimits::default() }
}

/// Asks on a stream and takes the answer, whole.
async fn ask(client: &mut Raw, stream: u32) {
    client.send(&get(stream)).await;
    while !client.next().await.expect("an answer").ends_stream() {}
}

/// A frame HEADERS, of which only the head comes: it has no flags.
fn head_alone(stream: u32) -> Vec<u8> {
    let mut head = raw_frame(1, 0, stream, &[0x82]);
    head.truncate(9);
    head
}

#[tokio::test]
async fn a_header_that_does_not_end_in_time_ends_its_connection_dripped_or_not() {
    let origin = Origin::saying("fine").await;
    let world = world(&origin, hurried());
    let method = |stream| raw_frame(1, 0, stream, &[0x82]);
    // A CONTINUATION that goes on with nothing.
    let goes_on = |stream| raw_frame(9, 0, stream, &[]);
    let mut count = 0;
    for is_first in [true, false] {
        let stream = if is_first { 1 } else { 3 };
        let cases = [
            ("a head", head_alone(stream), Vec::new()),
            ("no end", method(stream), Vec::new()),
            ("drips", method(stream), goes_on(stream)),
        ];
        for (name, begins, drips) in cases {
            let name = format!("{name}, the first: {is_first}");
            let mut client = Raw::of(&world).await;
            if !is_first {
                ask(&mut client, 1).await;
            }
            let began = Instant::now();
            client.send(&begins).await;
            let heard = client.drip_until_closed(&drips, Duration::from_millis(90)).await;
            let took = began.elapsed();
            assert!(took < Duration::from_secs(5), "{name}: {took:?}");
            let has_goaway = heard.iter().any(|frame| frame.goaway().is_some());
            assert!(!has_goaway, "{name}: it is not h2 that has had enough: {heard:?}");
            count += 1;
            let counted = || world.recorder.edge_count(EdgeEvent::HeaderTimeout) == count;
            until(&name, counted).await;
        }
    }
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn a_header_that_does_not_end_cuts_no_answer_under_way() {
    const PARTS: usize = 20;
    let origin = Origin::new(|_, _| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut acts = vec![Act::Send(head.to_owned())];
        for _ in 0..PARTS {
            acts.push(Act::Send("1\r\nx\r\n".to_owned()));
            acts.push(Act::Wait(Duration::from_millis(60)));
        }
        acts.push(Act::Send("0\r\n\r\n".to_owned()));
        acts
    })
    .await;
    let world = world(&origin, hurried());
    let mut client = Raw::of(&world).await;
    client.send(&get(1)).await;
    let mut taken = 0;
    loop {
        let frame = client.next().await.expect("the answer comes whole");
        if frame.kind == 0 {
            if taken == 0 {
                client.send(&head_alone(3)).await;
            }
            taken += frame.payload.len();
        }
        if frame.ends_stream() {
            break;
        }
    }
    assert_eq!(taken, PARTS);
    assert_eq!(world.recorder.edge_count(EdgeEvent::HeaderTimeout), 0);
    client.drip_until_closed(&[], Duration::from_millis(90)).await;
    let counted = || world.recorder.edge_count(EdgeEvent::HeaderTimeout) == 1;
    until("nothing else is under way", counted).await;
}

#[tokio::test]
async fn pings_keep_no_idle_connection() {
    let origin = Origin::saying("fine").await;
    let limits = ClientLimits { keepalive: Span::from_ms(400), ..ClientLimits::default() };
    let world = world(&origin, limits);
    let mut client = Raw::of(&world).await;
    ask(&mut client, 1).await;
    let ping = raw_frame(6, 0, 0, b"12345678");
    let heard = client.drip_until_closed(&ping, Duration::from_millis(50)).await;
    let is_pong = |frame: &&Heard| frame.kind == 6 && frame.flags & 0x01 != 0;
    assert!(heard.iter().filter(is_pong).count() > 1, "{heard:?}");
    assert!(heard.iter().any(|frame| frame.goaway().is_some()), "it is asked first: {heard:?}");
    assert_eq!(world.recorder.edge_count(EdgeEvent::FrameFlood), 0);
}
