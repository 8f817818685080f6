//! Garbage collection over a directory and a bucket of this process, whose clocks can
//! be put forward.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod costs;
mod life;
mod questions;
mod runs;
mod untagged;
mod world;
