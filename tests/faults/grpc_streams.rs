//! Open streams of gRPC through a promotion and a rollback, several in each connection: those of
//! the group that loses its weight go on for the drain timeout and are then told that their target
//! is unavailable, and their connection is told by a GOAWAY to be followed by another; the others
//! never notice.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tidegate::core::rollout::StateName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::kit::{PATIENCE, Tidegate, Turn, until};
use crate::rig::{Row, Scene, Target, baking_at, ends_as, metric, sized, tell};

/// An open call that streams both ways.
struct Call {
    questions: SendStream<Bytes>,
    answers: RecvStream,
    /// The connection that it is in.
    connection: SendRequest<Bytes>,
    /// The name of the target at its other end.
    target: String,
}

/// How the calls of a group that had to go have ended.
#[derive(Default)]
struct Farewells {
    /// With the status UNAVAILABLE in its trailers.
    unavailable: usize,
    /// In any other way.
    otherwise: usize,
    /// Before the drain timeout was over.
    early: usize,
    /// In a connection that was not told to be followed by another.
    untold: usize,
    last_ms: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_grpc_outlive_a_promotion_and_a_rollback_and_are_then_told_to_go_elsewhere() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "open streams of gRPC through promotion and rollback",
        "0 forced ends within drain_timeout, and messages flow in it; after it each gets the \
         status UNAVAILABLE, counted as cut, and its connection told by GOAWAY; the others untouched",
    );
    let (a, b) = (chatting("shop-a").await, chatting("shop-b").await);
    let scene = Scene {
        listener: ", protocol: h2c".to_owned(),
        service: ", drain_timeout: 3s, min_green: 0".to_owned(),
        blue: vec![a.address()],
        green: vec![b.address()],
        groups: ", protocol: h2c".to_owned(),
    };
    let tidegate = scene.start().await;
    let api = tidegate.api();
    let mut left = 0;
    for (about, verb, revision, end) in [
        ("promotion", "promote", "v1", StateName::Succeeded),
        ("rollback", "abort", "v2", StateName::RolledBack),
    ] {
        // What was promoted is blue, so that both times it is the group `shop-a` that leaves.
        let rollout = baking_at(&api, revision, "50%").await;
        let (mut leaving, mut staying) = open_both(&tidegate, "shop-a").await;
        left += leaving.len();
        row.measure(&format!("through_{about}"), leaving.len() + staying.len());
        let changed = Instant::now();
        tell(&api, &rollout, verb).await;
        until("the group has lost its weight", async || {
            [0, 10_000].contains(&api.service("shop").await.weights.in_force.green_bp)
        })
        .await;
        let silent = count_silent(&mut leaving).await;
        row.measure(&format!("{about}_silent_while_draining"), silent);
        row.require(&format!("{about}: messages flow while draining"), silent == 0);
        farewells(leaving, changed).await.judge(&mut row, about);
        let lost = count_silent(&mut staying).await;
        row.measure(&format!("{about}_lost_on_the_other_side"), lost);
        row.require(&format!("{about}: the other side keeps all of its own"), lost == 0);
        ends_as(&api, &rollout, end).await;
    }
    let cut = metric(&api, "tidegate_edge_events_total", &["\"stream_cut\""]).await;
    row.measure("counted_as_cut", cut);
    row.require("each is counted as cut", usize::try_from(cut).is_ok_and(|cut| cut == left));
    row.end();
}

/// Opens all of them; gives those at the target that is going to leave, and the others.
async fn open_both(tidegate: &Tidegate, leaving: &str) -> (Vec<Call>, Vec<Call>) {
    let mut opened = Vec::new();
    for _ in 0..sized(10, 100) {
        let stream = TcpStream::connect(tidegate.public()).await.expect("connected");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(async move {
            // How it ends is seen by the calls in it.
            let _ = connection.await;
        });
        for _ in 0..CALLS {
            opened.push(timeout(PATIENCE, open(&sender)).await.expect("a call in time"));
        }
    }
    assert_eq!(count_silent(&mut opened).await, 0, "calls do not work before anything happened");
    let parted: (Vec<Call>, Vec<Call>) =
        opened.into_iter().partition(|call| call.target == leaving);
    assert!(!parted.0.is_empty() && !parted.1.is_empty(), "at half the weight both have some");
    parted
}

async fn open(sender: &SendRequest<Bytes>) -> Call {
    let request = Request::post("http://shop.test/shop.Chat/Talk")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("valid");
    let mut ready = sender.clone().ready().await.expect("the connection stands");
    let (answer, questions) = ready.send_request(request, false).expect("sent");
    let (head, answers) = answer.await.expect("an answer").into_parts();
    assert_eq!(head.status, 200, "{head:?}");
    let named = head.headers.get("x-origin").expect("the target says its name");
    let target = named.to_str().expect("text").to_owned();
    Call { questions, answers, connection: ready, target }
}

/// How many calls do not answer a message.
async fn count_silent(calls: &mut [Call]) -> usize {
    let mut silent = 0;
    for call in calls {
        let echoed = timeout(PATIENCE, echo(call)).await;
        silent += usize::from(!echoed.is_ok_and(|echoed| echoed.unwrap_or(false)));
    }
    silent
}

/// Whether a message comes back.
async fn echo(call: &mut Call) -> Result<bool, h2::Error> {
    call.questions.send_data(Bytes::from_static(MESSAGE), false)?;
    let mut got = Vec::new();
    while got.len() < MESSAGE.len() {
        let Some(part) = call.answers.data().await else { return Ok(false) };
        let part = part?;
        call.answers.flow_control().release_capacity(part.len())?;
        got.extend_from_slice(&part);
    }
    Ok(got == MESSAGE)
}

/// Waits for the end of each.
async fn farewells(calls: Vec<Call>, changed: Instant) -> Farewells {
    let mut ends = JoinSet::new();
    for call in calls {
        ends.spawn(async move {
            let Call { questions, mut answers, connection, target: _ } = call;
            let status = timeout(PATIENCE, status_of(&mut answers)).await;
            let after = changed.elapsed();
            let is_unavailable = status.is_ok_and(|status| status.as_deref() == Some("14"));
            // A connection that was told to go takes no more calls, and is whole otherwise.
            let next = timeout(PATIENCE, refused(connection)).await;
            let is_told = next.is_ok_and(|reason| reason == Some(Reason::NO_ERROR));
            drop(questions);
            (is_unavailable, is_told, after)
        });
    }
    let mut farewells = Farewells::default();
    while let Some(end) = ends.join_next().await {
        let (is_unavailable, is_told, after) = end.expect("no panic");
        farewells.unavailable += usize::from(is_unavailable);
        farewells.otherwise += usize::from(!is_unavailable);
        farewells.untold += usize::from(!is_told);
        farewells.early += usize::from(after < DRAIN_TIMEOUT);
        let ms = u64::try_from(after.as_millis()).expect("a short time");
        farewells.last_ms = farewells.last_ms.max(ms);
    }
    farewells
}

/// Waits for the end of a call; gives the status in its trailers, `None` if it ends in any other way
/// or says something more.
async fn status_of(answers: &mut RecvStream) -> Option<String> {
    if answers.data().await.is_some() {
        return None;
    }
    let trailers = answers.trailers().await.ok()??;
    Some(trailers.get("grpc-status")?.to_str().ok()?.to_owned())
}

/// Waits until a connection takes no more calls; gives the reason of the GOAWAY, `None` if it ended
/// without one.
async fn refused(mut connection: SendRequest<Bytes>) -> Option<Reason> {
    loop {
        match connection.ready().await {
            Ok(ready) => connection = ready,
            Err(error) => return error.reason().filter(|_| error.is_go_away()),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl Farewells {
    fn judge(&self, row: &mut Row, about: &str) {
        let Self { unavailable, otherwise, early, untold, last_ms } = self;
        row.measure(&format!("{about}_told_unavailable"), *unavailable);
        row.measure(&format!("{about}_ended_otherwise"), *otherwise);
        row.measure(&format!("{about}_ended_early"), *early);
        row.measure(&format!("{about}_without_goaway"), *untold);
        row.measure(&format!("{about}_last_after_ms"), *last_ms);
        row.require(&format!("{about}: none before the drain timeout"), *early == 0);
        row.require(&format!("{about}: all by UNAVAILABLE"), *otherwise == 0);
        row.require(&format!("{about}: all connections are told"), *untold == 0);
        row.require(&format!("{about}: all soon after the drain timeout"), *last_ms < 10_000);
    }
}

/// A target of gRPC that sends every message back.
async fn chatting(name: &'static str) -> Target {
    Target::start(move |stream, _| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            // It ends with its connection.
            tokio::spawn(chat(request.into_body(), respond, name));
        }
    })
    .await
}

async fn chat(mut questions: RecvStream, mut respond: SendResponse<Bytes>, name: &'static str) {
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-origin", name)
        .body(())
        .expect("valid");
    let Ok(mut answers) = respond.send_response(head, false) else { return };
    while let Some(question) = questions.data().await {
        let Ok(question) = question else { return };
        let released = questions.flow_control().release_capacity(question.len());
        if released.is_err() || answers.send_data(question, false).is_err() {
            return;
        }
    }
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    // Whoever is gone needs no status.
    let _ = answers.send_trailers(HeaderMap::from_iter([status]));
}

/// A message of gRPC: not compressed, of four bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x04ping";
/// How many calls are in a connection.
const CALLS: usize = 4;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
