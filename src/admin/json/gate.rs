//! A gate.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{GateGrants, GateLimits, Timestamp};
use crate::control::{GateSummary, GateView};
use crate::core::model::{GateKey, GateName, GateReadiness, Sha256};

/// A declared gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gate {
    /// Its name.
    #[schema(value_type = String, example = "error-budget")]
    pub name: GateName,
    /// The digest of the component that new rollouts ask; absent before the first upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Sha256>,
    /// Whether that can be asked: `ready`, `circuit_open` while it is left alone because it kept
    /// failing, `not_loaded` or `no_component`.
    #[schema(value_type = String, example = "ready")]
    pub state: GateReadiness,
    /// Whether its components are uploaded, and not named by the file.
    pub uploaded: bool,
    /// How many components that were uploaded are kept.
    pub kept_versions: u32,
    /// What it may use of the world outside.
    pub grants: GateGrants,
    /// What its calls may use.
    pub limits: GateLimits,
}

/// A gate with what was uploaded for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateDetail {
    /// Its name.
    #[schema(value_type = String, example = "error-budget")]
    pub name: GateName,
    /// The digest of the component that new rollouts ask; absent before the first upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Sha256>,
    /// What that component calls itself; absent if it is not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// That component's own version; absent if it is not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The JSON Schema of its parameters, as text; absent if it is not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_schema: Option<String>,
    /// What was uploaded and is kept, the newest last; empty if the file names the component.
    pub versions: Vec<GateUpload>,
}

/// A component that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateUpload {
    /// Its digest.
    #[schema(value_type = String)]
    pub sha256: Sha256,
    /// When it was uploaded.
    pub uploaded: Timestamp,
    /// By whom.
    pub by: String,
    /// The public key that signed it; absent where nothing must be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signed_by: Option<GateKey>,
    /// What it calls itself.
    pub title: String,
    /// Its own version.
    pub version: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl GateUpload {
    /// The largest component, in bytes.
    pub const LARGEST: usize = 32 << 20;
}

/// A gate of which nothing that was uploaded is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateRemoved {
    /// Its name.
    #[schema(value_type = String, example = "error-budget")]
    pub name: GateName,
}

impl From<GateSummary> for Gate {
    fn from(gate: GateSummary) -> Self {
        Self {
            name: gate.gate,
            sha256: gate.present,
            state: gate.readiness,
            uploaded: gate.uploaded,
            kept_versions: u32::try_from(gate.versions).unwrap_or(u32::MAX),
            grants: GateGrants::from(&gate.grants),
            limits: GateLimits::of(&gate.limits, &gate.grants),
        }
    }
}

impl From<GateView> for GateDetail {
    fn from(view: GateView) -> Self {
        let kept = view.versions.map(|versions| versions.kept).unwrap_or_default();
        let uploads = kept.into_iter().map(|(sha256, version)| GateUpload {
            sha256,
            uploaded: Timestamp(version.uploaded),
            by: version.by,
            signed_by: version.signed_by,
            title: version.title,
            version: version.version,
            bytes: version.bytes,
        });
        let mut versions: Vec<GateUpload> = uploads.collect();
        versions.sort_by_key(|version| version.uploaded);
        let (title, version, params_schema) = match view.loaded {
            Some(loaded) => (Some(loaded.title), Some(loaded.version), Some(loaded.params_schema)),
            None => (None, None, None),
        };
        Self { name: view.gate, sha256: view.present, title, version, params_schema, versions }
    }
}
