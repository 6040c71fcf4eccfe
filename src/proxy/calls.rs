//! Calls of gRPC whose group departs, over real sockets: what their clients are told, and whom it
//! counts against.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::testkit::{PATIENCE, World, service, table, until, with_green};
use super::wirekit::{H2Client, h2c_listener, post};
use crate::core::model::{Span, TargetProtocol, Transport, WhenIdle};
use crate::core::routing::{Link, ServiceRoute};
use crate::telemetry::EdgeEvent;

const FIELDS: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// A target that begins every answer and ends none; to `/silent` it says nothing.
struct Target {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Target {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = socket.local_addr().expect("bound");
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        counted.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(begin(request, respond));
                    }
                });
            }
        });
        Self { address, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn begin(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if request.uri().path() == "/silent" {
        pending::<()>().await;
    }
    let head = Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).expect("valid");
    let Ok(mut answer) = respond.send_response(head, false) else { return };
    // A proxy that is gone is a matter of the test.
    let _ = answer.send_data(Bytes::from_static(b"begun"), false);
    pending::<()>().await;
}

/// A call whose answer has begun.
async fn begun(world: &World) -> RecvStream {
    let stream = TcpStream::connect(world.address()).await.expect("connected");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move {
        // How it ends is seen by the call on it.
        let _ = connection.await;
    });
    let mut sender = sender.ready().await.expect("it takes a call");
    let (answer, _) = sender.send_request(post("/begun", &FIELDS), true).expect("sent");
    let answer = timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut content = answer.into_body();
    let part = timeout(PATIENCE, content.data()).await.expect("in time").expect("a part");
    assert_eq!(part.expect("a part"), "begun");
    content
}

/// The trailers of an answer of which nothing else is left.
async fn trailers(mut content: RecvStream) -> HeaderMap {
    let end = async {
        assert!(content.data().await.is_none(), "the end is no reset");
        content.trailers().await.expect("no reset").expect("trailers")
    };
    timeout(PATIENCE, end).await.expect("it ends in time")
}

fn with_weight(world: &World, route: &mut ServiceRoute, green: u16) {
    route.exposure = with_green(green);
    route.generation += 1;
    let mut table = table(route.clone(), WhenIdle::Refuse);
    table.generation = route.generation;
    table.mark_carriers();
    world.table.store(table.into());
}

#[tokio::test]
async fn a_departure_tells_calls_that_their_target_is_unavailable_and_blames_nobody() {
    let target = Target::start().await;
    let mut route = service(10_000, &[], &[target.address]);
    let transport = Transport { protocol: TargetProtocol::H2c, ..Transport::default() };
    route.green.link = Arc::new(Link::new(1, transport));
    route.drain.timeout = Span::from_ms(50);
    let live = Arc::clone(&route.green.targets[0]);
    let world = World::listening(table(route.clone(), WhenIdle::Refuse), &[h2c_listener()]);
    let answer = begun(&world).await;
    let client = H2Client::of(&world).await;
    let silent = tokio::spawn(async move { client.send(post("/silent", &FIELDS), &[]).await });
    until("both calls are at the target", || target.calls() == 2).await;

    with_weight(&world, &mut route, 0);
    let said = trailers(answer).await;
    assert_eq!(said.get("grpc-status").map(|code| code.as_bytes()), Some(&b"14"[..]));
    let silent = silent.await.expect("no panic").expect("an answer, and no reset");
    assert_eq!((silent.status, silent.trailer("grpc-status")), (200, Some("14")));
    assert_eq!(silent.field("x-tidegate-error"), Some("group_left"));
    until("both are over", || live.in_flight() == 0).await;
    assert_eq!(world.recorder.edge_count(EdgeEvent::StreamCut), 2);
    assert_eq!(live.failures(), 0, "the target did nothing wrong");

    // What comes when the group is back has a connection that was not ended.
    with_weight(&world, &mut route, 10_000);
    let _again = begun(&world).await;
}
