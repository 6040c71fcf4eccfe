//! A gate.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::model::{GateName, Sha256};

/// A declared gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gate {
    /// Its name.
    #[schema(value_type = String, example = "error-budget")]
    pub name: GateName,
    /// The digest of its component.
    #[schema(value_type = String)]
    pub sha256: Sha256,
}
