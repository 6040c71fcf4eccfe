//! A gate that lets a rollout go on while green keeps within its error budget.
//!
//! `decision` decides and runs anywhere; `guest` is the thin layer that asks the host for numbers.

pub mod decision;
#[cfg(target_arch = "wasm32")]
mod guest;
