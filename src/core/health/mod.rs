//! Health of targets: from single checks, and from what requests come to, to a state that requests
//! can rely on.

mod damper;
mod outlier;
mod threshold;
mod warmup;

pub use damper::Damper;
pub use outlier::{EjectionReason, OutlierChange, Outliers, TargetSeen};
pub use threshold::Threshold;
pub use warmup::Warmup;
