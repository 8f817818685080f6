//! Garbage collection over a directory and a bucket of this process, whose clocks can
//! be put forward.

mod costs;
mod life;
mod measured;
pub(crate) mod questions;
mod retention;
mod runs;
mod untagged;
pub(crate) mod world;
