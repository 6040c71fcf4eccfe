//! Gates whose components are uploaded instead of named in the file, and the keys that sign them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{GateGrants, GateLimits, GateName, GateSpec, Sha256};

/// A gate whose component is uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedGate {
    /// The name it is used by.
    pub name: GateName,
    /// What its component must hash to; `None` takes what was uploaded last.
    pub sha256: Option<Sha256>,
    /// What its calls may use.
    pub limits: GateLimits,
    /// What it may use of the world outside: what the file says, whichever component was uploaded.
    pub grants: GateGrants,
}

impl UploadedGate {
    /// The gate with one of its components.
    #[must_use]
    pub fn with(&self, component: String, sha256: Sha256) -> GateSpec {
        let (name, grants) = (self.name.clone(), self.grants.clone());
        GateSpec { name, component, sha256, limits: self.limits, grants }
    }
}

/// The reason why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a public key of Ed25519: 64 hexadecimal digits")]
pub struct GateKeyError {
    /// What was written.
    text: String,
}

/// A public key of Ed25519, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GateKey([u8; 32]);

impl GateKey {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for GateKey {
    type Err = GateKeyError;

    fn from_str(text: &str) -> Result<Self, GateKeyError> {
        // Written as a digest is, and of the same length.
        let digits = text.parse::<Sha256>();
        digits
            .map(|digits| Self(*digits.as_bytes()))
            .map_err(|_| GateKeyError { text: text.chars().take(80).collect() })
    }
}

impl TryFrom<String> for GateKey {
    type Error = GateKeyError;

    fn try_from(text: String) -> Result<Self, GateKeyError> {
        text.parse()
    }
}

impl From<GateKey> for String {
    fn from(key: GateKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for GateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GateKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<GateKey>().map(|key| key.to_string()), Ok(text));
        let error = "abc".parse::<GateKey>().expect_err("no key").to_string();
        assert!(error.contains("public key of Ed25519"), "{error}");
    }
}
