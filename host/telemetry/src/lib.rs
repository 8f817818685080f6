//! What an operator sees of a running registry.
//!
//! [`metrics`] counts what happens and writes it in Prometheus's text format; it also has the
//! other answers of the debug address. Nothing here listens, waits, or starts a thread: the host
//! calls it, and serves what it returns.

pub mod metrics;
