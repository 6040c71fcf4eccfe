//! The API over real sockets, with a test that plays the writer.

mod answers;
mod door;
mod evidence;
mod explain;
mod harness;
mod requests;
mod sheet;
mod uploads;
