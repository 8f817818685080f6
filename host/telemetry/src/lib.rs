//! What operators see of a registry, without wasmtime: the lines of its access log, and its
//! metrics.

pub mod access;
mod clock;
mod target;

pub use target::{Handler, Target};
