//! The proof of the analysis: what its guarantee says, measured with the shipped comparison.
//!
//! [`proof`] counts false rollbacks of healthy greens in whole rollouts; [`detection`] compares how
//! many requests it takes to find a bad green with the tables of the specification; [`table`]
//! compares with checkers by thresholds. The reduced
//! form belongs to the tests; `make analysis-proof` runs 20 000 rollouts of each kind, or as many
//! as `TIDEGATE_PROOF_RUNS` says. The seeds are the numbers of the runs, so that any of them can be
//! repeated.

mod bound;
mod checkers;
mod detection;
mod proof;
mod table;
mod traffic;
