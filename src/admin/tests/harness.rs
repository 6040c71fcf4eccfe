//! An API on a port of its own, a writer that answers from a script, and a bare HTTP client.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::admin::json::Timestamp;
use crate::admin::{AdminServer, AdminState, Role, StoredToken, TokenFile, TokenPaths};
use crate::clock::Clock;
use crate::control::{
    AlarmView, Handle, HealthView, Message, Refusal, Reply, Request, RollbackOf, RolloutView,
    ServiceView, SideView, StoreState, Tally, TargetView, View,
};
use crate::core::analysis::Observed;
use crate::core::model::{
    AlarmState, GroupHealth, RolloutId, Salt, Sha256, Span, TargetHealth, WallTime, Weight,
};
use crate::core::rollout::{Hold, Stage, StateName};
use crate::store::{EvidenceFolder, Faulty, MemoryStore, Store};

/// What the writer answers next.
type Script = Arc<Mutex<Option<Result<Reply, Refusal>>>>;

/// A running API.
pub(super) struct Api {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    pub(super) store: Arc<Faulty<MemoryStore>>,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Script,
    view: Arc<ArcSwap<View>>,
    pub(super) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::start_as(Role::Admin).await
    }

    /// An API whose one token has a role.
    pub(super) async fn start_as(role: Role) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::start();
        let token = format!("tg_{:032x}", rand::random::<u128>());
        let stored = StoredToken {
            name: role.to_string(),
            role,
            sha256: Sha256::of(token.as_bytes()),
            created: Timestamp(clock.wall()),
        };
        let paths = TokenPaths::in_folder(folder.path());
        let list = serde_json::to_string(&[stored]).expect("serialises");
        fs::write(&paths.hashed, list).expect("written");
        fs::set_permissions(&paths.hashed, fs::Permissions::from_mode(0o600)).expect("set");
        let tokens = TokenFile::open_or_create(&paths, clock.wall()).expect("tokens");

        let view = Arc::new(ArcSwap::from_pointee(view()));
        let store = Arc::new(Faulty::new(MemoryStore::new()));
        let (inbox, messages) = mpsc::channel(8);
        let handle =
            Handle::detached(inbox, Arc::clone(&view), Some(Arc::clone(&store) as Arc<dyn Store>));
        let handle = handle.with_evidence(EvidenceFolder::new(folder.path()));
        let (requests, script) = (Arc::default(), Script::default());
        tokio::spawn(play(messages, Arc::clone(&requests), Arc::clone(&script)));

        let any = "127.0.0.1:0".parse().expect("an address");
        let server = AdminServer::bind(any, "admin.address").await.expect("free");
        let address = server.address();
        let state = Arc::new(AdminState::new(handle.clone(), tokens, clock, address));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.serve(state, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            token,
            store,
            requests,
            script,
            view,
            handle,
            stop: Some(stop),
            server,
            folder,
        }
    }

    /// What the writer answers to the next request.
    pub(super) fn writer_answers(&self, answer: Result<Reply, Refusal>) {
        *self.script.lock().expect("not poisoned") = Some(answer);
    }

    /// The last request that the writer got.
    pub(super) fn last_request(&self) -> Request {
        self.requests.lock().expect("not poisoned").last().cloned().expect("one was sent")
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.lock().expect("not poisoned").len()
    }

    /// Where the log of a rollout's evidence is, if there is one.
    pub(super) fn log(&self, id: &RolloutId) -> PathBuf {
        self.folder.path().join(format!("{id}.log"))
    }

    pub(super) fn change_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = View::clone(&self.view.load());
        change(&mut view);
        self.view.store(Arc::new(view));
    }

    /// Sends a request with the token; a body is JSON.
    pub(super) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    /// The same with more headers.
    pub(super) async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all =
            vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.raw(method, path, &all, body).await
    }

    /// Sends a request with just these headers, and those that HTTP asks for.
    pub(super) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            write!(text, "host: {}\r\n", self.address).expect("a string takes all");
        }
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").expect("a string takes all");
        }
        write!(text, "content-length: {}\r\n\r\n{body}", body.len()).expect("a string takes all");
        timeout(LONG, exchange(self.address, text)).await.expect("an answer in time")
    }

    pub(super) async fn stop(mut self) {
        self.stop.take().expect("stopped once").send(()).expect("it runs");
        timeout(LONG, self.server).await.expect("it ends in time").expect("it does not panic");
    }
}

impl Answer {
    pub(super) fn parse(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status in {answer:?}")),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The problem's code; checks that it is a whole problem with this status.
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(!problem["detail"].as_str().unwrap_or_default().is_empty(), "{self:?}");
        let code = problem["code"].as_str().expect("a code");
        assert_eq!(problem["type"], format!("urn:tidegate:problem:{code}"));
        code.to_owned()
    }
}

async fn play(
    mut messages: mpsc::Receiver<Message>,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Script,
) {
    while let Some(Message::Request { request, reply }) = messages.recv().await {
        requests.lock().expect("not poisoned").push(*request);
        let answer = script.lock().expect("not poisoned").take();
        let _ = reply.send(answer.unwrap_or(Err(Refusal::StoreSlow)));
    }
}

async fn exchange(address: SocketAddr, text: String) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    // A server that refuses a long body early may close before all of it is sent.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Answer::parse(&String::from_utf8(answer).expect("text"))
}

pub(super) fn rollout_id() -> RolloutId {
    "d-ABCDEFGHI".parse().expect("valid")
}

pub(super) fn service() -> ServiceView {
    let side = |group: &str, port: u16| SideView {
        group: group.parse().expect("valid"),
        revision: Some("v1".parse().expect("valid")),
        registered: false,
        targets: vec![TargetView {
            address: format!("127.0.0.1:{port}").parse().expect("valid"),
            health: TargetHealth::Healthy,
            in_flight: 3,
            last_failure: None,
            name: format!("127.0.0.1:{port}").parse().expect("valid"),
            ejected: false,
        }],
        health: GroupHealth { targets: 1, healthy: 1, unknown: 0 },
        requests: 1_000,
        failed: 1,
        unresolved: Vec::new(),
    };
    ServiceView {
        name: "shop".parse().expect("valid"),
        version: 7,
        blue: side("shop-a", 9_001),
        green: side("shop-b", 9_002),
        configured: Weight::from_bp(1_025).expect("in range"),
        in_force: Weight::from_bp(1_000).expect("in range"),
        observed: Observed { green: 1, total: 8 },
        active: Some(rollout_id()),
        strategy: "careful".parse().expect("valid"),
        salt: Salt { k0: 1, k1: 2 },
        stickiness: None,
    }
}

pub(super) fn rollout(id: RolloutId, created: u64) -> RolloutView {
    RolloutView {
        id,
        service: "shop".parse().expect("valid"),
        spec: None,
        revision: Some("v2".parse().expect("valid")),
        state: StateName::Shifting,
        stage: Stage::AllowTraffic,
        step: 1,
        weight: Weight::from_bp(1_000).expect("in range"),
        holds: vec![Hold::Samples { missing: 312 }],
        cause: None,
        bake: Some((Span::from_mins(2), Span::from_secs(30), 188)),
        tally: Tally { green_requests: 188, green_failed: 2, rescued: 1, ..Tally::default() },
        created: WallTime::from_ms(created),
        ended: None,
        link: RollbackOf::None,
        analysis: None,
    }
}

fn view() -> View {
    let shop = service();
    let active = rollout(rollout_id(), 1_769_860_800_000);
    View {
        generation: 4,
        services: [(shop.name.clone(), shop)].into(),
        rollouts: [(active.id.clone(), Arc::new(active))].into(),
        alarms: vec![AlarmView {
            alarm: "errors".parse().expect("valid"),
            service: Some("shop".parse().expect("valid")),
            state: AlarmState::InsufficientData,
            reason: None,
            since: None,
            pushed: true,
            source: "pushed",
        }],
        gates: vec![("budget".parse().expect("valid"), Sha256::of(b"gate"))],
        store: StoreState::Good,
        health: HealthView::Settled,
        config: None,
    }
}

const LONG: Duration = Duration::from_secs(10);
