//! Listeners: addresses that accept traffic.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{ListenerName, Rule};

/// What a test listener answers while no rollout has a green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenIdle {
    /// Blue's answers.
    #[default]
    Blue,
    /// 503.
    Refuse,
}

/// An address that accepts traffic, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// Its name.
    pub name: ListenerName,
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// `Some` on a test listener, which answers from green while there is one.
    pub test: Option<WhenIdle>,
    /// Its rules, most specific first.
    pub rules: Vec<Rule>,
}
