//! The scripts of the repository, with pretended programs in the place of those that they call.

mod bound;
mod kit;
mod prepare;
mod simulate;
