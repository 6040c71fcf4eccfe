//! Gates as they are declared and used: which component, where in a rollout, with which limits.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{GateGrants, GateName, Span};

/// A place in a rollout where gates are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateStage {
    /// Before green's targets are waited for.
    BeforeInstall,
    /// After green's targets are healthy.
    AfterInstall,
    /// After test listeners answer from green.
    AfterAllowTestTraffic,
    /// After the ready approval, before any production traffic.
    BeforeAllowTraffic,
    /// After the last step.
    AfterAllowTraffic,
    /// Before each raise of green's weight.
    BeforeStep,
    /// Again and again while a step bakes.
    DuringStep,
    /// When traffic was taken back; cannot veto.
    OnRollback,
    /// When the rollback is recorded; cannot veto.
    AfterRollback,
}

impl GateStage {
    /// Every stage with its word in files, the API and the gate's call.
    pub const ALL: [(&'static str, Self); 9] = [
        ("before-install", Self::BeforeInstall),
        ("after-install", Self::AfterInstall),
        ("after-allow-test-traffic", Self::AfterAllowTestTraffic),
        ("before-allow-traffic", Self::BeforeAllowTraffic),
        ("after-allow-traffic", Self::AfterAllowTraffic),
        ("before-step", Self::BeforeStep),
        ("during-step", Self::DuringStep),
        ("on-rollback", Self::OnRollback),
        ("after-rollback", Self::AfterRollback),
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, stage)| *stage == self).map_or("", |(word, _)| word)
    }
}

impl fmt::Display for GateStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a gate error (trap, deadline, memory) does to the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGateError {
    /// Holds it and asks again.
    #[default]
    Hold,
    /// Is a regression.
    Rollback,
    /// Counts as a pass.
    Ignore,
}

/// Whether a gate's verdict is obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// Obeyed.
    #[default]
    Enforce,
    /// Evaluated, recorded and shown, never obeyed.
    Shadow,
}

/// Parameters of a gate: the text of one JSON object, with sorted keys.
///
/// `core` does not read JSON; the adapter that makes a value has parsed and validated it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParamsText(Arc<str>);

impl ParamsText {
    /// Wraps the canonical text of a JSON object.
    #[must_use]
    pub fn from_canonical(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ParamsText {
    fn default() -> Self {
        Self("{}".into())
    }
}

/// The reason why a text is not a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sha256Error {
    /// Not 64 hexadecimal digits.
    #[error("{text:?} is not a SHA-256 digest: 64 hexadecimal digits")]
    NotHex {
        /// What was written.
        text: String,
    },
}

/// A SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Wraps a digest that was computed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Computes the digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::str::FromStr for Sha256 {
    type Err = Sha256Error;

    fn from_str(text: &str) -> Result<Self, Sha256Error> {
        let error = || Sha256Error::NotHex { text: text.chars().take(80).collect() };
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Sha256Error;
    fn try_from(text: String) -> Result<Self, Sha256Error> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// What a gate's calls may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateLimits {
    /// Time of one evaluation.
    pub deadline: Span,
    /// Linear memory of one instance in bytes, all its memories together.
    pub memory_bytes: u64,
    /// Units of fuel, about one for each instruction; `None` leaves it to the deadline alone. Other
    /// than that it is the same on every machine.
    pub fuel: Option<u64>,
    /// Elements of an instance's tables, all together.
    pub table_elements: u32,
    /// Bytes of log that one call may write.
    pub log_bytes: u32,
    /// Bytes that one call may hand to the host: its answer and every argument.
    pub response_bytes: u32,
    /// Bytes of the body of a response that it gets over HTTP.
    pub http_response_bytes: u32,
    /// Calls into the host, of all imports together.
    pub host_calls: u32,
    /// Calls of the gate that run at the same time; others wait.
    pub concurrent_calls: u32,
}

impl GateLimits {
    /// The longest deadline: shorter than the rollout's patience with an answer.
    pub const LONGEST_DEADLINE: Span = Span::from_secs(10);
    /// The most table elements; the largest known guest runtime needs 7 693.
    pub const TABLE_ELEMENTS: u32 = 20_000;
    /// The most calls of one gate that run at the same time.
    pub const CONCURRENT_CALLS: u32 = 8;

    /// The defaults of a gate: who may ask others has to wait for them.
    #[must_use]
    pub fn of_grants(grants: &GateGrants) -> Self {
        let default = Self::default();
        if grants.http.is_empty() {
            return default;
        }
        Self { deadline: Span::from_secs(5), ..default }
    }
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            deadline: Span::from_ms(50),
            memory_bytes: 16 << 20,
            fuel: None,
            table_elements: Self::TABLE_ELEMENTS,
            log_bytes: 16 << 10,
            response_bytes: 1 << 20,
            http_response_bytes: 256 << 10,
            host_calls: 1_000,
            // Not all the places that there are: those of other gates would wait for this one.
            concurrent_calls: Self::CONCURRENT_CALLS / 2,
        }
    }
}

/// A gate as declared in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateSpec {
    /// The name it is used by.
    pub name: GateName,
    /// The component's file, as written; relative to the configuration file.
    pub component: String,
    /// What the file must hash to.
    pub sha256: Sha256,
    /// What its calls may use.
    pub limits: GateLimits,
    /// What it may use of the world outside.
    #[serde(default)]
    pub grants: GateGrants,
}

/// A gate in use by a service or strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateUse {
    /// Which gate.
    pub gate: GateName,
    /// Where it is asked.
    pub at: Vec<GateStage>,
    /// What it is given.
    pub params: ParamsText,
    /// What an error of it does.
    pub on_error: OnGateError,
    /// How often it is asked during a step.
    pub every: Span,
    /// Whether it is obeyed.
    pub mode: GateMode,
    /// What a missed deadline of it does; `None` is the same as any other error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnGateError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Sha256::of(b"tidegate");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("9f2c".parse::<Sha256>().is_err());
        assert!("é".repeat(32).parse::<Sha256>().is_err());
    }

    #[test]
    fn every_stage_has_its_own_word() {
        for (word, stage) in GateStage::ALL {
            assert_eq!(stage.as_str(), word);
        }
    }
}
