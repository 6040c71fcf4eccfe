//! The ports that the documentation prints, and those that stand for them here: what a document
//! says runs beside whatever else uses its ports.

use std::net::Ipv4Addr;

use tokio::net::TcpStream;

use crate::kit::{Ports, until};

/// A free port for each that is printed.
#[derive(Debug)]
pub(super) struct PrintedPorts {
    printed: &'static [&'static str],
    /// In the order of `printed`.
    free: Vec<u16>,
}

impl PrintedPorts {
    pub(super) fn with_free(printed: &'static [&'static str]) -> Self {
        let mut free = Vec::new();
        while free.len() < printed.len() {
            let found = Ports::free();
            for port in [found.public.port(), found.admin.port()] {
                if !free.contains(&port) {
                    free.push(port);
                }
            }
        }
        free.truncate(printed.len());
        Self { printed, free }
    }

    /// The one that stands for a printed one.
    pub(super) fn port(&self, printed: &str) -> u16 {
        let at = self.printed.iter().position(|port| *port == printed).expect("a printed port");
        self.free[at]
    }

    /// A command for these ports.
    pub(super) fn adapted(&self, command: &str) -> String {
        let admin = format!("tidegate --admin http://127.0.0.1:{} ", self.port("7070"));
        self.replaced(command).replace("tidegate ", &admin)
    }

    /// A text with these ports, none replaced twice.
    pub(super) fn replaced(&self, text: &str) -> String {
        let place = |at: usize| format!("<port {at}>");
        let mut text = text.to_owned();
        for (at, printed) in self.printed.iter().enumerate() {
            text = text.replace(*printed, &place(at));
        }
        for (at, port) in self.free.iter().enumerate() {
            text = text.replace(&place(at), &port.to_string());
        }
        text
    }

    /// Waits until somebody listens at each of these, as long as a reader takes anyway.
    pub(super) async fn listen(&self, printed: &[&str]) {
        for printed in printed {
            let address = (Ipv4Addr::LOCALHOST, self.port(printed));
            until(printed, async || TcpStream::connect(address).await.is_ok()).await;
        }
    }
}
