//! How a log of evidence is given.

use std::fs::File;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::harness::{Api, rollout_id};
use crate::core::analysis::replay::Limit;

#[tokio::test]
async fn a_rollout_without_evidence_says_so() {
    let api = Api::start().await;
    let path = format!("/v1/rollouts/{}/evidence", rollout_id());
    assert_eq!(api.send("GET", &path, "").await.problem(404), "no_evidence");
    let unknown = api.send("GET", "/v1/rollouts/d-ZZZZZZZZZ/evidence", "").await;
    assert_eq!(unknown.problem(404), "no_such_rollout");
}

#[tokio::test]
async fn a_record_of_calls_of_gates_is_given_in_pieces_too() {
    let api = Api::start().await;
    let lines = "{\"call\":{}}\n".repeat(10_000);
    std::fs::write(api.log(&rollout_id()).with_extension("gates"), &lines).expect("written");
    let path = format!("/v1/rollouts/{}/gate-calls", rollout_id());
    let answer = api.send("GET", &path, "").await;
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")));
    assert!(answer.body.len() > lines.len() && answer.body.ends_with("\r\n0\r\n\r\n"));
}

/// Asks for the log, and reads no more of the answer than its first line.
async fn asked(api: &Api) -> TcpStream {
    let mut stream = TcpStream::connect(api.address).await.expect("connects");
    let request = format!(
        "GET /v1/rollouts/{}/evidence HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         connection: close\r\n\r\n",
        rollout_id(),
        api.address,
        api.token
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut first = [0; LINE.len()];
    timeout(LONG, stream.read_exact(&mut first)).await.expect("in time").expect("an answer");
    assert_eq!(first, *LINE);
    stream
}

/// Reads to the end of an answer.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    timeout(LONG, stream.read_to_end(&mut rest)).await.expect("in time").expect("readable");
    rest
}

#[tokio::test]
async fn the_longest_log_is_given_whole() {
    let api = Api::start().await;
    let log = File::create(api.log(&rollout_id())).expect("made");
    log.set_len(Limit::MOST + 1).expect("grown");
    let given = rest(asked(&api).await).await;
    assert!(given.ends_with(END));
    // What HTTP puts around each piece besides.
    let (bytes, around) = (given.len() as u64, 64 << 10);
    assert!((Limit::MOST..Limit::MOST + around).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn for_readers_that_stall_next_to_nothing_of_a_log_is_read() {
    let api = Api::start().await;
    let log = File::create(api.log(&rollout_id())).expect("made");
    log.set_len(Limit::MOST).expect("grown");
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(asked(&api).await);
    }
    // What was read of it by now is all that they can get: with what lies in the sockets.
    log.set_len(0).expect("cut");
    for stream in stalled {
        let given = rest(stream).await;
        assert!(given.ends_with(END), "what is left of the log is given");
        assert!((given.len() as u64) < Limit::MOST / 2, "{} bytes were held", given.len());
    }
    assert_eq!(api.send("GET", "/v1/services", "").await.status, 200);
}

const LINE: &[u8; 15] = b"HTTP/1.1 200 OK";
/// The last chunk.
const END: &[u8] = b"0\r\n\r\n";
const LONG: Duration = Duration::from_secs(20);
