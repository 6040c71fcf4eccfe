//! What the tests set their scenes with: targets, load, the process, its API.

mod api;
mod chat;
mod chats;
mod cli;
mod dice;
mod flood;
mod load;
mod origin;
mod ports;
mod predecessor;
mod process;
mod shop;
mod successor;
mod turn;
mod visit;
mod visitors;
mod wire;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use api::Api;
pub(crate) use chat::{Chat, Said, serve_chat};
pub(crate) use chats::Chats;
pub(crate) use cli::{Cli, Ran};
pub(crate) use dice::Dice;
pub(crate) use flood::{dropped_lines, flood_log};
pub(crate) use load::{Answers, Load, Rate};
pub(crate) use origin::Origin;
pub(crate) use ports::Ports;
pub(crate) use predecessor::FakePredecessor;
pub(crate) use process::{Home, Tidegate};
pub(crate) use shop::Shop;
pub(crate) use successor::{FakeSuccessor, Successor, upgrade};
pub(crate) use turn::Turn;
pub(crate) use visitors::Visitors;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and says what was waited for if it never does.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Tells whoever runs the tests something worth knowing even when they pass.
#[expect(clippy::print_stderr, reason = "the runner shows what a failed test has printed")]
pub(crate) fn report(text: &str) {
    eprintln!("{text}");
}
