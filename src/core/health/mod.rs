//! Health of targets: from single checks to a state that requests can rely on.

mod threshold;

pub use threshold::Threshold;
