//! The access log: a line for every request that has ended; off unless it is configured.
//!
//! A request never waits for it. What it was is put into a queue of bounded length, which a thread
//! of its own writes to the file; where the queue is full the line is dropped and counted. A
//! request whose connection was cut, or whose task was dropped, has no end that could be logged,
//! and neither has what Pingora refuses before any hook runs.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;
use crate::core::model::{AccessLogSpec, Weight};
use crate::telemetry::Recorder;

use super::access_record::{End, Note, Record};
use super::access_writer::{AccessWriter, Message, Orders};

/// A way to the access log; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    orders: Arc<Orders>,
    recorder: Arc<Recorder>,
    clock: Clock,
    sample: Weight,
    query: bool,
    /// `None` once it was told to close.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the file and starts its thread, which ends with [`Self::close`] or with the last clone
    /// of this.
    ///
    /// # Errors
    /// The file cannot be opened, or there can be no thread.
    pub fn start(spec: &AccessLogSpec, recorder: Arc<Recorder>, clock: Clock) -> io::Result<Self> {
        let (log, writer) = Self::idle(spec, recorder, clock)?;
        let thread = thread::Builder::new().name("access-log".to_owned());
        let thread = thread.spawn(move || writer.run())?;
        log.put_thread(Some(thread));
        Ok(log)
    }

    /// A log whose writer does not run yet.
    fn idle(
        spec: &AccessLogSpec,
        recorder: Arc<Recorder>,
        clock: Clock,
    ) -> io::Result<(Self, AccessWriter)> {
        let (queue, messages) = sync_channel(spec.buffer);
        let orders = Arc::new(Orders::default());
        let writer = AccessWriter::open(
            &spec.path,
            messages,
            Arc::clone(&orders),
            Arc::clone(&recorder),
            clock,
        )?;
        let (sample, query, thread) = (spec.sample, spec.query, Mutex::new(None));
        let shared = Shared { queue, orders, recorder, clock, sample, query, thread };
        Ok((Self { shared: Arc::new(shared) }, writer))
    }

    /// Has the file opened anew by its path: after a rotation the old one is some other file.
    pub fn reopen(&self) {
        self.shared.orders.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Writes what waits, and ends the thread. Blocks, for two seconds at most.
    pub fn close(&self) {
        self.shared.orders.close.store(true, Ordering::Release);
        self.wake();
        let Some(thread) = self.put_thread(None) else { return };
        for _ in 0..CLOSE_LIMIT.as_millis() {
            if thread.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            tracing::warn!("the access log does not end: its file takes no writes");
        } else if thread.join().is_err() {
            tracing::error!("the access log ended badly");
        }
    }

    /// A note for a request that begins; `None` for one that the sample leaves out.
    pub(super) fn note(&self) -> Option<Note> {
        let sample = self.shared.sample;
        let taken =
            sample == Weight::FULL || rand::random_range(0..Weight::FULL.bp()) < sample.bp();
        taken.then(|| Note::new(self.shared.clock.wall()))
    }

    /// Logs a request that has ended; allocates, and never waits.
    pub(super) fn log(&self, note: Note, end: &End<'_>) {
        let record = Box::new(Record::new(note, end, self.shared.query));
        if self.shared.queue.try_send(Message::Line(record)).is_err() {
            self.shared.recorder.add_unlogged(1);
        }
    }

    fn wake(&self) {
        // A writer whose queue is full is awake.
        let _ = self.shared.queue.try_send(Message::Wake);
    }

    fn put_thread(&self, thread: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        // Nothing can be left half changed in there.
        let mut held = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *held, thread)
    }
}

/// How long the last lines may take to be written when the process ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::super::testkit::{Dead, Origin, World, body, service, status, until, with_green};
    use super::*;
    use crate::core::model::{IssuedCookie, Stickiness, StickyFallback};
    use crate::core::routing::{ServiceRoute, cohort_position};

    /// A folder with a log in it.
    struct Desk {
        folder: TempDir,
        spec: AccessLogSpec,
        recorder: Arc<Recorder>,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("access.log");
            let spec = AccessLogSpec { path, buffer: 64, sample: Weight::FULL, query: false };
            Self { folder, spec, recorder: Arc::default() }
        }

        fn log(&self) -> AccessLog {
            let recorder = Arc::clone(&self.recorder);
            AccessLog::start(&self.spec, recorder, Clock::start()).expect("opened")
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }
    }

    /// The lines of a file, each of which must be an object.
    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let object = |line: &str| match serde_json::from_str(line) {
            Ok(value @ Value::Object(_)) => value,
            found => panic!("{line:?} is no object: {found:?}"),
        };
        text.lines().map(object).collect()
    }

    /// Waits until a file has so many lines.
    async fn written(path: &Path, count: usize) -> Vec<Value> {
        until("the lines are written", || {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.ends_with('\n') && text.lines().count() >= count
        })
        .await;
        let found = lines(path);
        assert_eq!(found.len(), count, "{found:?}");
        found
    }

    fn expect(line: &Value, fields: &Value) {
        for (name, wanted) in fields.as_object().expect("an object") {
            assert_eq!(line.get(name), Some(wanted), "{name} in {line}");
        }
    }

    fn by_header(mut route: ServiceRoute) -> ServiceRoute {
        let fallback = StickyFallback::IssuedCookie;
        let header = Some("x-user-id".to_owned());
        route.stickiness =
            Some(Stickiness { header, cookie: None, fallback, issued: IssuedCookie::default() });
        route
    }

    #[tokio::test]
    async fn a_line_says_who_got_what_from_where_and_why() {
        let (blue, green) = (Origin::saying("blue").await, Origin::saying("green!").await);
        let mut route = by_header(service(5_000, &[blue.address], &[green.address]));
        route.green.revision = Some("v2".parse().expect("valid"));
        let mut desk = Desk::new();
        let position = cohort_position(route.exposure.salt, b"secret-user");
        let weight = position + 1;
        route.exposure = with_green(weight);
        for (count, query, path) in [(1, false, "/cart"), (2, true, "/cart?token=1")] {
            desk.spec.query = query;
            let log = desk.log();
            let world = World::logged(route.clone(), &log);
            let fields = "x-user-id: secret-user\r\nx-request-id: r1\r\n";
            let answer = world.client().await.get("/cart?token=1", fields).await;
            assert_eq!(body(&answer), "green!");
            let found = written(&desk.spec.path, count).await.remove(count - 1);
            log.close();
            expect(
                &found,
                &json!({
                    "request_id": "r1", "listener": "public", "client": "127.0.0.1",
                    "method": "GET", "host": "shop.test", "path": path, "protocol": "HTTP/1.1",
                    "status": 200, "bytes_sent": 6, "bytes_received": 0, "service": "shop",
                    "side": "green", "answered_by": "green", "revision": "v2", "generation": 7,
                    "target": green.address.to_string(), "attempts": 1, "why": "cohort",
                    "draw": null, "position": position, "weight_bp": weight,
                    "outcome": "answered", "rescued": false,
                }),
            );
            assert!(found["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{found}");
            let time = found["time"].as_str().expect("a text");
            assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
            assert!(!found.to_string().contains("secret-user"), "{found}");
        }
        let mode = fs::metadata(&desk.spec.path).expect("there").permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
        assert_eq!(desk.recorder.unlogged(), 0);
    }

    #[tokio::test]
    async fn a_refused_request_is_logged_with_the_word_of_its_refusal() {
        let desk = Desk::new();
        let log = desk.log();
        let world = World::logged(service(0, &[], &[]), &log);
        let mut client = world.client().await;
        client.send("GET /x HTTP/1.1\r\nhost: other.test\r\n\r\n").await;
        assert_eq!(status(&client.answer().await), 404);
        assert_eq!(status(&client.get("/", "").await), 503);
        let found = written(&desk.spec.path, 2).await;
        let nobody = json!({
            "status": 404, "outcome": "refused:no_rule", "service": null, "side": null,
            "answered_by": null, "target": null, "attempts": 0, "why": null, "draw": null,
            "position": null, "weight_bp": null, "host": "other.test", "path": "/x",
        });
        expect(&found[0], &nobody);
        let routed = json!({
            "status": 503, "outcome": "refused:no_target", "service": "shop", "side": "blue",
            "answered_by": null, "attempts": 0, "why": "draw", "weight_bp": 0,
        });
        expect(&found[1], &routed);
        assert!(found[1]["draw"].as_u64().is_some_and(|draw| draw < 10_000), "{found:?}");
    }

    #[tokio::test]
    async fn a_rescued_request_names_both_sides() {
        let (dead, blue) = (Dead::new(), Origin::saying("blue").await);
        let mut route = service(10_000, &[blue.address], &[dead.address]);
        route.exposure.green_exists = true;
        let desk = Desk::new();
        let log = desk.log();
        let world = World::logged(route, &log);
        assert_eq!(body(&world.get("").await), "blue");
        let found = written(&desk.spec.path, 1).await;
        let rescued = json!({
            "status": 200, "outcome": "answered", "side": "green", "answered_by": "blue",
            "rescued": true, "attempts": 2, "target": blue.address.to_string(), "why": "draw",
        });
        expect(&found[0], &rescued);
        assert_eq!(status(&world.test_client().await.get("/", "").await), 502);
        let found = written(&desk.spec.path, 2).await;
        let tested = json!({
            "listener": "test", "status": 502, "outcome": "connect_error", "side": "green",
            "answered_by": null, "rescued": false, "target": dead.address.to_string(),
            "why": "test_listener", "draw": null, "position": null,
        });
        expect(&found[1], &tested);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_delays_nobody() {
        let origin = Origin::saying("fine").await;
        let mut desk = Desk::new();
        desk.spec.buffer = 1;
        let recorder = Arc::clone(&desk.recorder);
        let (log, writer) = AccessLog::idle(&desk.spec, recorder, Clock::start()).expect("opened");
        let world = World::logged(service(0, &[origin.address], &[]), &log);
        let mut client = world.client().await;
        for _ in 0..5 {
            assert_eq!(status(&client.get("/", "").await), 200);
        }
        until("four are counted", || desk.recorder.unlogged() == 4).await;
        log.close();
        writer.run();
        assert_eq!(lines(&desk.spec.path).len(), 1);
    }

    #[tokio::test]
    async fn a_file_that_takes_no_writes_costs_no_request() {
        let origin = Origin::saying("fine").await;
        let mut desk = Desk::new();
        desk.spec.path = "/dev/full".into();
        let log = desk.log();
        let world = World::logged(service(0, &[origin.address], &[]), &log);
        assert_eq!(status(&world.get("").await), 200);
        until("the line is counted", || desk.recorder.unlogged() == 1).await;
        log.close();
    }

    #[tokio::test]
    async fn a_rotated_file_is_left_and_a_new_one_begun() {
        let origin = Origin::saying("fine").await;
        let desk = Desk::new();
        let log = desk.log();
        let world = World::logged(service(0, &[origin.address], &[]), &log);
        world.get("x-request-id: before\r\n").await;
        written(&desk.spec.path, 1).await;
        let old = desk.path("access.log.1");
        fs::rename(&desk.spec.path, &old).expect("renamed");
        log.reopen();
        world.get("x-request-id: after\r\n").await;
        let found = written(&desk.spec.path, 1).await;
        assert_eq!(found[0]["request_id"], "after");
        assert_eq!(lines(&old).len(), 1);
    }

    #[tokio::test]
    async fn hostile_bytes_stay_inside_of_one_line() {
        let origin = Origin::saying("fine").await;
        let desk = Desk::new();
        let log = desk.log();
        let world = World::logged(service(0, &[origin.address], &[]), &log);
        let long = format!("/{}", "p".repeat(3_000));
        let sent = [
            ("shop.test", long.as_str()),
            ("shop.test", "/a\"},{\"b\\n\\u0000"),
            ("a\"b\\", "/"),
            ("a\tb", "/"),
            (&"h".repeat(300), "/"),
        ];
        for (number, (host, path)) in sent.into_iter().enumerate() {
            let mut client = world.client().await;
            client.send(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
            client.answer().await;
            written(&desk.spec.path, number + 1).await;
        }
        let found = lines(&desk.spec.path);
        let path = found[0]["path"].as_str().expect("a text");
        assert!(path.len() <= 2_048 && path.ends_with("ppp…"), "{path}");
        assert_eq!(found[1]["path"], "/a\"},{\"b\\n\\u0000");
        assert_eq!(found[2]["host"], "a\"b\\");
        assert_eq!(found[3]["host"], "a\tb");
        let host = found[4]["host"].as_str().expect("a text");
        assert!(host.len() <= 255 && host.ends_with("hhh…"), "{host}");
    }
}
