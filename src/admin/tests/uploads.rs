//! Components that are uploaded: how much of them is read, and how many at a time.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::harness::{Answer, Api};
use crate::admin::json::GateUpload;

/// An upload under way.
struct Upload(TcpStream);

impl Upload {
    /// Sends the head, which says with this header how long the body is, and nothing else.
    async fn begin(api: &Api, framing: &str) -> Self {
        let mut stream = TcpStream::connect(api.address).await.expect("connects");
        let head = format!(
            "PUT /v1/gates/budget HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             authorization: Bearer {}\r\ncontent-type: application/wasm\r\n{framing}\r\n\r\n",
            api.address, api.token
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        Self(stream)
    }

    /// Sends bytes as they are.
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("sent");
    }

    async fn answer(mut self) -> Answer {
        let mut answer = Vec::new();
        // What is not read to its end is broken off after the answer.
        let read = timeout(LONG, self.0.read_to_end(&mut answer)).await;
        drop(read.expect("an answer in time"));
        Answer::parse(&String::from_utf8(answer).expect("text"))
    }
}

#[tokio::test]
async fn a_component_that_says_that_it_is_too_long_is_refused_before_it_comes() {
    let api = Api::start().await;
    let length = |bytes: usize| format!("content-length: {bytes}");
    let upload = Upload::begin(&api, &length(GateUpload::LARGEST + 1)).await;
    assert_eq!(upload.answer().await.problem(413), "body_too_large");
    let mut upload = Upload::begin(&api, &length(4)).await;
    upload.send(b"\0asm").await;
    assert_ne!(upload.answer().await.status, 413);
}

#[tokio::test]
async fn a_component_that_does_not_say_how_long_it_is_is_refused_where_it_is_too_long() {
    let api = Api::start().await;
    let mut upload = Upload::begin(&api, "transfer-encoding: chunked").await;
    upload.send(format!("{:x}\r\n", GateUpload::LARGEST).as_bytes()).await;
    let part = vec![0; 1 << 20];
    for _ in 0..GateUpload::LARGEST / part.len() {
        upload.send(&part).await;
    }
    // One byte more, and no end of it.
    upload.send(b"\r\n1\r\n0").await;
    assert_eq!(upload.answer().await.problem(413), "body_too_large");
}

#[tokio::test]
async fn few_components_are_read_at_a_time() {
    let api = Api::start().await;
    let mut begun = Vec::new();
    let filling = async {
        while another(&api).await.status != 409 {
            begun.push(Upload::begin(&api, "content-length: 4").await);
        }
    };
    timeout(LONG, filling).await.expect("in time");
    assert!(begun.len() >= 2, "{}", begun.len());
    assert_eq!(another(&api).await.problem(409), "busy");
    // Those that break off give their places back.
    drop(begun);
    let freed = async { while another(&api).await.status == 409 {} };
    timeout(LONG, freed).await.expect("in time");
}

/// One more upload, which is whole.
async fn another(api: &Api) -> Answer {
    let mut upload = Upload::begin(api, "content-length: 4").await;
    // It may have been refused before.
    let _ = upload.0.write_all(b"\0asm").await;
    upload.answer().await
}

const LONG: Duration = Duration::from_secs(20);
