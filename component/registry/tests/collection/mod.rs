//! Garbage collection over a directory and a bucket of this process, whose clocks can
//! be put forward.

mod costs;
mod life;
mod measured;
mod questions;
mod retention;
mod runs;
mod untagged;
mod world;
