//! The first gate of an author, as docs/gates.md tells it: from nothing to a verdict in a rollout.
//! Only ports, the length of bakes and the rollout's id are others.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::document::Document;
use super::ports::PrintedPorts;
use super::terminal::{Key, Running, Terminal};
use super::{MOST_QUESTIONS, id_in, with_id};
use crate::kit::{Api, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_gate_in_the_documentation_holds_a_rollout_and_lets_it_go_on() {
    let desk = Desk::set();
    let mut guide = Document::of("docs/gates.md", SECTION, |text| desk.ports.adapted(text));
    let mut first = Terminal::open(desk.root());
    for command in guide.block("Write it") {
        let said = first.succeed(&command).await;
        if command.contains("gate test") {
            assert!(said.contains("too few requests") && !said.contains("FAILED"), "{said}");
        }
    }
    desk.adapt_configuration();

    let mut block = guide.block("Run it");
    let serve = block.pop().expect("a last command");
    for command in block {
        first.succeed(&command).await;
    }
    assert_eq!(first.note_jobs().await, 2, "two web servers");
    desk.ports.listen(&["9001", "9002"]).await;
    let mut serving = Running::start(&desk.gate(), &serve, desk.root().join("serve.log"));
    let api = Api::of((Ipv4Addr::LOCALHOST, desk.ports.port("7070")).into(), &desk.gate());
    until("the proxy is ready", async || {
        api.ask("GET", "/readyz", None).await.is_ok_and(|reply| reply.status == 200)
    })
    .await;

    let mut second = Terminal::open(desk.root());
    let mut said = String::new();
    for command in guide.block("Run it") {
        said = second.succeed(&command).await;
    }
    let id = id_in(&said);
    for command in guide.block("Run it") {
        second.succeed(&command).await;
    }
    let show = with_id(&guide.block("Run it").concat(), &id);
    let reason = guide.inline("more green requests are needed");
    let mut holds = false;
    for _ in 0..MOST_QUESTIONS {
        holds = second.succeed(&show).await.contains(reason);
        if holds {
            break;
        }
        // As a person looks again.
        sleep(Duration::from_millis(500)).await;
    }
    assert!(holds, "the gate never held the rollout: {}", serving.said());

    let mut block = guide.block("Run it");
    let watch = block.pop().expect("a last command");
    for command in block {
        second.succeed(&command).await;
    }
    assert_eq!(second.note_jobs().await, 1, "the people who come");
    let log = desk.root().join("watch.log");
    let mut watching = Running::start(&desk.gate(), &with_id(&watch, &id), log);
    assert_eq!(watching.ended().await, Some(0), "{}", watching.said());
    assert!(watching.said().contains("succeeded"), "{}", watching.said());
    guide.is_over();

    serving.press(Key::CtrlC);
    assert_eq!(serving.ended().await, Some(0), "{}", serving.said());
}

/// A folder where an author begins, and the ports that stand for those in the documentation.
#[derive(Debug)]
struct Desk {
    folder: TempDir,
    ports: PrintedPorts,
}

impl Desk {
    fn set() -> Self {
        let folder = TempDir::new().expect("a folder");
        Self { folder, ports: PrintedPorts::with_free(&PORTS) }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that the first command makes.
    fn gate(&self) -> PathBuf {
        self.root().join("enough-traffic")
    }

    /// Has the configuration that was made use the ports of this desk, and bake for a moment.
    fn adapt_configuration(&self) {
        let file = self.gate().join("tidegate.yaml");
        let text = std::fs::read_to_string(&file).expect("it was made");
        assert!(text.contains("bake: 5s") && text.contains("{ for: 5s }"), "{text}");
        let fast = text.replace("bake: 5s", "bake: 1s").replace("{ for: 5s }", "{ for: 1s }");
        std::fs::write(&file, self.ports.replaced(&fast)).expect("written");
    }
}

const SECTION: &str = "From nothing to a running gate in ten minutes";
const PORTS: [&str; 4] = ["8080", "7070", "9001", "9002"];
