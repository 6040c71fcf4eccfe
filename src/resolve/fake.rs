//! For tests: a DNS server that answers what it is told to, late, or nothing at all.
//!
//! The faults suite has it too, so it stands on nothing else of this package.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A record; every one counts for a second.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    A([u8; 4]),
    Aaaa([u16; 8]),
    Srv { priority: u16, port: u16, host: &'static str },
}

/// A DNS server on a free port of loopback.
#[derive(Debug)]
pub(crate) struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, Vec<Record>>,
    is_silent: bool,
    asked: usize,
    delays: BTreeMap<String, Duration>,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
        let address = socket.local_addr().expect("bound");
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let served = Arc::clone(&zone);
        let server = tokio::spawn(async move {
            let mut question = [0; 1_024];
            let mut answering = JoinSet::new();
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                while answering.try_join_next().is_some() {}
                let answer = served.lock().expect("not poisoned").answer(&question[..length]);
                let Some((answer, delay)) = answer else { continue };
                let socket = Arc::clone(&socket);
                answering.spawn(async move {
                    sleep(delay).await;
                    // Who has asked may have given up.
                    let _ = socket.send_to(&answer, from).await;
                });
            }
        });
        Self { address, zone, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name other records; without any it does not exist.
    pub(crate) fn set(&self, name: &str, records: &[Record]) {
        let mut zone = self.zone();
        if records.is_empty() {
            zone.names.remove(name);
        } else {
            zone.names.insert(name.to_owned(), records.to_vec());
        }
    }

    /// Answers no question from now on, or every one again.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.zone().is_silent = is_silent;
    }

    /// Has every answer about a name come so late from now on.
    pub(crate) fn delay(&self, name: &str, by: Duration) {
        self.zone().delays.insert(name.to_owned(), by);
    }

    /// How many questions came.
    pub(crate) fn asked(&self) -> usize {
        self.zone().asked
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().expect("not poisoned")
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Zone {
    /// The answer to a message with one question, and how late it comes; `None` while it is silent.
    fn answer(&mut self, message: &[u8]) -> Option<(Vec<u8>, Duration)> {
        self.asked += 1;
        if self.is_silent {
            return None;
        }
        let mut labels = Vec::new();
        let mut at = HEADER;
        while message[at] != 0 {
            let label = &message[at + 1..=at + usize::from(message[at])];
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += 1 + label.len();
        }
        let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
        let question = &message[HEADER..at + 5];
        let name = labels.join(".");
        let known = self.names.get(&name);
        let records: Vec<Vec<u8>> =
            known.into_iter().flatten().filter_map(|record| record.data(kind)).collect();
        let code = if known.is_some() { 0 } else { NO_SUCH_NAME };
        let count = u16::try_from(records.len()).expect("few");
        let mut answer = message[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(question);
        for data in records {
            // The name of the question, the kind, the class IN, and one second.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1, 0, 0, 0, 1]);
            answer.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            answer.extend(data);
        }
        let delay = self.delays.get(&name).copied().unwrap_or_default();
        Some((answer, delay))
    }
}

impl Record {
    /// The data of a record of this kind; `None` for one of another.
    fn data(&self, wanted: u16) -> Option<Vec<u8>> {
        let (kind, data) = match self {
            Self::A(address) => (1, address.to_vec()),
            Self::Aaaa(parts) => (28, parts.iter().flat_map(|part| part.to_be_bytes()).collect()),
            Self::Srv { priority, port, host } => {
                let mut data = priority.to_be_bytes().to_vec();
                data.extend([0, 1]);
                data.extend(port.to_be_bytes());
                for label in host.split('.') {
                    data.push(u8::try_from(label.len()).expect("short"));
                    data.extend(label.bytes());
                }
                data.push(0);
                (33, data)
            }
        };
        (kind == wanted).then_some(data)
    }
}

const HEADER: usize = 12;
const NO_SUCH_NAME: u8 = 3;
