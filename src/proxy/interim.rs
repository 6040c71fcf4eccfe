//! Interim answers (1xx) of targets over real sockets: they pass to whoever knows them, and
//! whatever comes in front of it, the final answer is whole.

use super::testkit::{Act, Client, Origin, World, body, field, service, status};

const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
                     x-tidegate-error: no\r\n\r\n";
const AT_ONCE: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
                       x-tidegate-error: no\r\n\r\n\
                       HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
/// What targets send, and how many hints are in it.
const SCRIPTS: [(&[&str], usize); 6] = [
    (&[HINTS, FINAL], 1),
    (&[HINTS, HINTS, HINTS, FINAL], 3),
    (&[AT_ONCE], 1),
    (&["HTTP/1.1 102 Processing\r\n\r\n", HINTS, FINAL], 1),
    (&[CONTINUE, FINAL], 0),
    (&[CONTINUE, HINTS, FINAL], 1),
];

/// An origin that sends these, each in a write of its own, and closes where nothing final came.
async fn origin(parts: &'static [&'static str]) -> Origin {
    Origin::new(move |_, _| {
        let mut acts: Vec<Act> = parts.iter().map(|part| Act::Send((*part).to_owned())).collect();
        if !parts.iter().any(|part| part.contains(FINAL)) {
            acts.push(Act::Close);
        }
        acts
    })
    .await
}

/// The interim answers, and the final one.
async fn answers(client: &mut Client) -> (Vec<String>, String) {
    let mut interim = Vec::new();
    loop {
        let answer = client.answer().await;
        if status(&answer) >= 200 {
            return (interim, answer);
        }
        interim.push(answer);
    }
}

#[tokio::test]
async fn interim_answers_pass_and_the_final_one_is_whole() {
    for (parts, hints) in SCRIPTS {
        let origin = origin(parts).await;
        let world = World::new(service(0, &[origin.address], &[]));
        let mut client = world.client().await;
        // The second one shows that nothing of the first was left over.
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
            let (interim, answer) = answers(&mut client).await;
            assert_eq!((status(&answer), body(&answer)), (200, "fine"), "{parts:?}");
            assert_eq!(field(&answer, "x-tidegate-side"), Some("blue"));
            let hinted: Vec<_> = interim.iter().filter(|answer| status(answer) == 103).collect();
            assert_eq!(hinted.len(), hints, "{parts:?}: {interim:?}");
            for hint in hinted {
                assert_eq!(field(hint, "link"), Some("</a.css>; rel=preload"));
                assert_eq!(field(hint, "x-tidegate-error"), None, "only the proxy says that");
            }
        }
        assert_eq!((origin.seen().len(), origin.connections()), (2, 1), "{parts:?}");
    }
}

#[tokio::test]
async fn a_body_that_waits_to_be_wanted_is_wanted_once() {
    let origin = origin(&[CONTINUE, HINTS, FINAL]).await;
    let world = World::new(service(0, &[origin.address], &[]));
    let mut client = world.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: shop.test\r\nexpect: 100-continue\r\n\
             content-length: 5\r\n\r\nhello",
        )
        .await;
    let (interim, answer) = answers(&mut client).await;
    let wanted = interim.iter().filter(|answer| status(answer) == 100).count();
    assert!(wanted <= 1, "{interim:?}");
    assert_eq!((status(&answer), body(&answer)), (200, "fine"));
    assert!(origin.seen()[0].ends_with("\r\n\r\nhello"), "{:?}", origin.seen());
}

#[tokio::test]
async fn a_target_that_breaks_off_behind_a_hint_is_a_502_of_the_proxy() {
    let origin = origin(&[HINTS]).await;
    let world = World::new(service(0, &[origin.address], &[]));
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    let (_, answer) = answers(&mut client).await;
    assert_eq!(status(&answer), 502, "{answer}");
    assert_eq!(field(&answer, "x-tidegate-error"), Some("target_broken"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn clients_of_http_1_0_get_the_final_answer_alone() {
    let origin = origin(&[HINTS, HINTS, FINAL]).await;
    let world = World::new(service(0, &[origin.address], &[]));
    let mut old = world.client().await;
    old.send("GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n").await;
    let heard = old.rest().await;
    assert!(heard.starts_with("HTTP/1.1 200 ") || heard.starts_with("HTTP/1.0 200 "), "{heard}");
    assert!(heard.ends_with("\r\n\r\nfine"), "{heard}");
}
