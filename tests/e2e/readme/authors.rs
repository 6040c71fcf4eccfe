//! The first gate of an author, as docs/gates.md tells it: from nothing to a verdict in a rollout.
//! Only ports, the length of bakes and the rollout's id are others.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::document::Document;
use super::terminal::{Key, Running, Terminal};
use super::{MOST_QUESTIONS, id_in, with_id};
use crate::kit::{Api, Ports, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_gate_in_the_documentation_holds_a_rollout_and_lets_it_go_on() {
    let desk = Desk::set();
    let mut guide = Document::of("docs/gates.md", SECTION, |text| desk.adapted(text));
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
    desk.web_servers_listen().await;
    let mut serving = Running::start(&desk.gate(), &serve, desk.root().join("serve.log"));
    let api = Api::of((Ipv4Addr::LOCALHOST, desk.port("7070")).into(), &desk.gate());
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
    /// In the order of `PORTS`.
    ports: Vec<u16>,
}

impl Desk {
    fn set() -> Self {
        let mut ports = Vec::new();
        while ports.len() < PORTS.len() {
            let free = Ports::free();
            for port in [free.public.port(), free.admin.port()] {
                if !ports.contains(&port) {
                    ports.push(port);
                }
            }
        }
        Self { folder: TempDir::new().expect("a folder"), ports }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that the first command makes.
    fn gate(&self) -> PathBuf {
        self.root().join("enough-traffic")
    }

    fn port(&self, printed: &str) -> u16 {
        let at = PORTS.iter().position(|port| *port == printed).expect("a printed port");
        self.ports[at]
    }

    /// A command for the ports of this desk.
    fn adapted(&self, command: &str) -> String {
        let admin = format!("tidegate --admin http://127.0.0.1:{} ", self.port("7070"));
        self.with_ports(command).replace("tidegate ", &admin)
    }

    /// A text with other ports, none replaced twice.
    fn with_ports(&self, text: &str) -> String {
        let place = |at: usize| format!("<port {at}>");
        let mut text = text.to_owned();
        for (at, printed) in PORTS.iter().enumerate() {
            text = text.replace(*printed, &place(at));
        }
        for (at, port) in self.ports.iter().take(PORTS.len()).enumerate() {
            text = text.replace(&place(at), &port.to_string());
        }
        text
    }

    /// Has the configuration that was made use the ports of this desk, and bake for a moment.
    fn adapt_configuration(&self) {
        let file = self.gate().join("tidegate.yaml");
        let text = std::fs::read_to_string(&file).expect("it was made");
        assert!(text.contains("bake: 5s") && text.contains("{ for: 5s }"), "{text}");
        let fast = text.replace("bake: 5s", "bake: 1s").replace("{ for: 5s }", "{ for: 1s }");
        std::fs::write(&file, self.with_ports(&fast)).expect("written");
    }

    /// Waits as long as a reader takes anyway.
    async fn web_servers_listen(&self) {
        for printed in ["9001", "9002"] {
            let address = (Ipv4Addr::LOCALHOST, self.port(printed));
            until(printed, async || TcpStream::connect(address).await.is_ok()).await;
        }
    }
}

const SECTION: &str = "From nothing to a running gate in ten minutes";
const PORTS: [&str; 4] = ["8080", "7070", "9001", "9002"];
