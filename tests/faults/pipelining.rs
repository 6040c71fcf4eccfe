//! Bytes that arrive while a request is in flight: a second request, or the stray CRLF that old
//! clients send after a body. Each request runs exactly once at the target, and is answered.

use std::time::Duration;

use tokio::time::sleep;

use crate::kit::{Turn, until};
use crate::rig::{Client, Row, Scene, Target, answer_with, read_request, sized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_while_a_request_is_in_flight_breaks_nothing() {
    let _turn = Turn::wait().await;
    let mut row = Row::begin(
        "pipelining races",
        "each request runs exactly once at the target and is answered with 200",
    );
    let blue = slow().await;
    let scene = Scene { blue: vec![blue.address()], ..Scene::default() };
    let tidegate = scene.start().await;
    let mut number = 0;
    for (first, second) in
        [("GET", Some("GET")), ("POST", Some("GET")), ("GET", Some("POST")), ("POST", Some("POST"))]
            .into_iter()
            .chain([("GET", None), ("POST", None)])
    {
        let about = format!("{first} then {}", second.unwrap_or("CRLF"));
        let (mut answered, mut wanted) = (0, 0);
        let (mut executed, mut other) = (Vec::new(), None);
        for _ in 0..sized(3, 20) {
            number += 1;
            let paths = [format!("/{number}/a"), format!("/{number}/b")];
            let mut client = Client::open(tidegate.public()).await.expect("connected");
            client.send(request(first, &paths[0])).await.expect("sent");
            until("the target has the first one", async || {
                blue.seen().requests().iter().any(|line| line.ends_with(&paths[0]))
            })
            .await;
            let late = second.map_or("\r\n".to_owned(), |method| request(method, &paths[1]));
            client.send(late).await.expect("sent");
            let answers = 1 + usize::from(second.is_some());
            wanted += answers;
            for _ in 0..answers {
                match client.answer().await {
                    Ok(answer) if answer.status == 200 => answered += 1,
                    Ok(answer) => other = Some(answer.head),
                    Err(why) => other = Some(why),
                }
            }
            if second.is_none() {
                // The connection is as good as before.
                wanted += 1;
                let after = client.ask(request("GET", &paths[1]).as_bytes()).await;
                answered += usize::from(after.is_ok_and(|answer| answer.status == 200));
            }
            let requests = blue.seen().requests();
            executed.extend(
                paths.map(|path| requests.iter().filter(|line| line.ends_with(&path)).count()),
            );
        }
        row.measure(&format!("{about}: asked"), wanted);
        row.measure(&format!("{about}: answered"), answered);
        row.measure(&format!("{about}: executed"), executed.iter().sum::<usize>());
        if let Some(other) = other {
            row.measure(&format!("{about}: another_answer"), other);
        }
        row.require(&format!("{about}: all answered"), answered == wanted);
        row.require(&format!("{about}: once each"), executed.iter().all(|times| *times == 1));
    }
    row.end();
}

fn request(method: &str, path: &str) -> String {
    let body = if method == "POST" { "content-length: 2\r\n\r\nhi" } else { "\r\n" };
    format!("{method} {path} HTTP/1.1\r\nhost: shop.test\r\n{body}")
}

/// A target that takes so long that what is sent on its request's arrival comes before its answer.
async fn slow() -> Target {
    Target::start(|mut stream, seen| async move {
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await {
            seen.note(&request);
            sleep(WORK).await;
            if !answer_with(&mut stream, "blue", "ok").await {
                return;
            }
        }
    })
    .await
}

const WORK: Duration = Duration::from_millis(300);
