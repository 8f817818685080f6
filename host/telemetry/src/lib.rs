//! What an operator sees of a running registry.
//!
//! [`metrics`] counts what happens and writes it in Prometheus's text format; it also has the
//! other answers of the debug address. [`access`] writes the lines of requests. Nothing here listens,
//! waits, or starts a thread: the host calls it, and serves what it returns.

pub mod access;
mod clock;
pub mod metrics;
mod target;

pub use target::{Handler, Target};
