//! The README's release, from the first command to the last, as a reader runs it: in four
//! terminals, with the binary of this build. Only ports, the length of bakes and the rollout's id
//! are others.

mod authors;
mod document;
mod ports;
mod terminal;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use document::Document;
use ports::PrintedPorts;
use terminal::{Key, Running, Terminal};

use crate::kit::{Api, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_in_the_readme_goes_as_it_is_told() {
    let scene = Scene::set();
    let mut readme = Document::read("Release something", |text| scene.ports.adapted(text));
    let mut first = Terminal::open(&scene.root());
    for command in readme.block("Release something") {
        first.succeed(&command).await;
    }
    assert_eq!(first.note_jobs().await, 3, "three web servers");
    scene.ports.listen(&["9001", "9002", "9003"]).await;
    let (mut serving, users) = scene.start(&mut readme, &mut first).await;

    let mut third = Terminal::open(&scene.trial());
    scene.release(&mut readme, &mut third, &users).await;
    scene.release_from_a_pipeline(&mut readme, &mut third, &users).await;
    scene.release_with_curl(&mut readme, &mut third).await;
    users.see_only("revision 1").await;

    users.end().await;
    serving.press(Key::CtrlC);
    assert_eq!(serving.ended().await, Some(0), "{}", serving.said());
    for command in readme.block("Clean up") {
        first.succeed(&command).await;
    }
    assert!(!scene.trial().exists(), "nothing is left behind");
    first.forget_jobs();
    readme.is_over();
}

/// A folder that looks like the repository, and the ports that stand for those in the README.
#[derive(Debug)]
struct Scene {
    folder: TempDir,
    ports: PrintedPorts,
}

impl Scene {
    fn set() -> Self {
        let folder = TempDir::new().expect("a folder");
        let scene = Self { folder, ports: PrintedPorts::with_free(&PRINTED_PORTS) };
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/canary.yaml");
        let example = std::fs::read_to_string(example).expect("the example");
        assert!(example.contains("bake: 30s") && example.contains("{ for: 30s }"), "{example}");
        let fast = example.replace("bake: 30s", "bake: 2s").replace("{ for: 30s }", "{ for: 2s }");
        let examples = scene.root().join("examples");
        std::fs::create_dir(&examples).expect("a folder");
        std::fs::write(examples.join("canary.yaml"), scene.ports.replaced(&fast)).expect("written");
        scene
    }

    fn root(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The folder that the first command makes.
    fn trial(&self) -> PathBuf {
        self.folder.path().join("trial")
    }

    /// Runs a command in a terminal of its own, which it keeps until it ends.
    fn run(&self, name: &str, command: &str) -> Running {
        Running::start(&self.trial(), command, self.root().join(name).with_extension("log"))
    }

    /// Starts the proxy and the users, who see blue.
    async fn start(&self, readme: &mut Document, first: &mut Terminal) -> (Running, Users) {
        let mut block = readme.block("Start");
        let serve = block.pop().expect("a last command");
        for command in block {
            first.succeed(&command).await;
        }
        let serving = self.run("serve", &serve);
        until("the proxy is ready", async || {
            let admin = (Ipv4Addr::LOCALHOST, self.ports.port("7070"));
            let api = Api::of(admin.into(), &self.trial());
            api.ask("GET", "/readyz", None).await.is_ok_and(|reply| reply.status == 200)
        })
        .await;
        let ask = readme.block("Start").concat();
        assert!(ask.starts_with("while "), "{ask}");
        let mut users = Users { asking: self.run("users", &ask) };
        users.asking.says("revision 1").await;
        users.see_only("revision 1").await;
        (serving, users)
    }

    /// Registers, starts, watches, approves, watches again, reverts.
    async fn release(&self, readme: &mut Document, terminal: &mut Terminal, users: &Users) {
        let mut block = readme.block("With the command line");
        let watch = block.pop().expect("a last command");
        let mut said = String::new();
        for command in block {
            said = terminal.succeed(&command).await;
        }
        let id = id_in(&said);
        let mut watching = self.run("watch", &with_id(&watch, &id));
        watching.says("waits for an approval").await;
        let look = readme.inline("curl http://127.0.0.1:8081/");
        let tested = terminal.succeed(&self.ports.adapted(look)).await;
        assert!(tested.contains("revision 2"), "{tested}");
        users.see("revision 2").await;
        watching.press(Key::CtrlC);
        assert_eq!(watching.ended().await, Some(WAITING_OVER), "{}", watching.said());

        let mut block = readme.block("With the command line");
        let watch = block.pop().expect("a last command");
        for command in block {
            terminal.succeed(&with_id(&command, &id)).await;
        }
        let mut watching = self.run("watch-to-the-end", &with_id(&watch, &id));
        assert_eq!(watching.ended().await, Some(0), "{}", watching.said());
        assert!(watching.said().contains("succeeded"), "{}", watching.said());
        users.see_only("revision 2").await;

        for command in readme.block("With the command line") {
            terminal.succeed(&command).await;
        }
        users.see_only("revision 1").await;
    }

    /// Starts and waits in one command; it is aborted on the way.
    async fn release_from_a_pipeline(
        &self,
        readme: &mut Document,
        terminal: &mut Terminal,
        users: &Users,
    ) {
        let start = readme.block("With the command line").concat();
        let mut waiting = self.run("pipeline", &start);
        waiting.says("shifting").await;
        let id = id_in(&waiting.said());
        for command in readme.block("With the command line") {
            terminal.succeed(&with_id(&command, &id)).await;
        }
        users.see_only("revision 1").await;
        assert_eq!(waiting.ended().await, Some(ROLLED_BACK), "{}", waiting.said());
    }

    /// The same over the API: asked until it waits, approved, aborted.
    async fn release_with_curl(&self, readme: &mut Document, terminal: &mut Terminal) {
        let mut body = String::new();
        for command in readme.block("With curl") {
            let said = terminal.succeed(&command).await;
            if command.starts_with("curl ") {
                body = answer(&command, &said);
            }
        }
        let started: Value = serde_json::from_str(&body).expect("JSON");
        let id = started["id"].as_str().unwrap_or_else(|| panic!("no id in {body}")).to_owned();
        let mut block = readme.block("With curl").into_iter();
        let ask = with_id(&block.next().expect("a first command"), &id);
        let mut waits = false;
        for _ in 0..MOST_QUESTIONS {
            let rollout = answer(&ask, &terminal.succeed(&ask).await);
            waits = rollout.contains("waits for an approval");
            if waits {
                break;
            }
            // As a person asks, who has been told to ask as often as they like.
            sleep(Duration::from_millis(500)).await;
        }
        assert!(waits, "it never waited for an approval");
        for command in block {
            let command = with_id(&command, &id);
            answer(&command, &terminal.succeed(&command).await);
        }
    }
}

/// The people who use the service.
#[derive(Debug)]
struct Users {
    asking: Running,
}

impl Users {
    /// Waits until one of them sees a revision.
    async fn see(&self, revision: &str) {
        until(revision, async || self.asking.said().contains(revision)).await;
    }

    /// Waits for answers to requests that are made from now on, which are all of one revision.
    async fn see_only(&self, revision: &str) {
        let from = self.asking.said().lines().count() + IN_FLIGHT;
        until("the users have asked", async || self.asking.said().lines().count() > from + 10)
            .await;
        let said = self.asking.said();
        let seen: Vec<&str> = said.lines().skip(from).take(10).collect();
        assert_eq!(seen, [revision; 10]);
    }

    /// Sends them home; none of them has ever seen anything but a revision.
    async fn end(mut self) {
        self.asking.press(Key::Close);
        self.asking.ended().await;
        let said = self.asking.said();
        let whole = said.lines().take(said.matches('\n').count());
        let other: Vec<&str> = whole.filter(|line| !line.starts_with("revision ")).collect();
        assert!(other.is_empty(), "{other:?}");
    }
}

/// A command about another rollout than the one that is printed.
fn with_id(command: &str, id: &str) -> String {
    assert!(command.contains(PRINTED_ID), "{command} names no rollout");
    command.replace(PRINTED_ID, id)
}

/// The first id of a rollout in a text.
fn id_in(text: &str) -> String {
    let is_id = |word: &&str| {
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        word.strip_prefix("d-").is_some_and(|rest| rest.len() == 9 && rest.bytes().all(upper))
    };
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.find(is_id).unwrap_or_else(|| panic!("no id in {text}")).to_owned()
}

/// The body of an answer that curl has shown; it has to be one of success.
fn answer(command: &str, said: &str) -> String {
    let (body, status) = said.trim_end().rsplit_once('\n').unwrap_or(("", said.trim()));
    assert!(status.len() == 3 && status.starts_with('2'), "{command}: {said}");
    body.to_owned()
}

const PRINTED_ID: &str = "d-7Q2K9XW4A";
const PRINTED_PORTS: [&str; 6] = ["8080", "8081", "7070", "9001", "9002", "9003"];
/// The exit code of a command whose waiting was ended.
const WAITING_OVER: i32 = 13;
/// The exit code of a command whose rollout was taken back.
const ROLLED_BACK: i32 = 10;
/// Answers that may still be on their way when something is changed.
const IN_FLIGHT: usize = 2;
const MOST_QUESTIONS: usize = 120;
