//! Garbage collection over a directory and a bucket of this process, whose clocks can
//! be put forward.

mod costs;
mod life;
pub(crate) mod questions;
mod runs;
mod untagged;
pub(crate) mod world;
