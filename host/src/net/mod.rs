//! Connections.

pub(crate) mod connection;
mod protocol;
pub(crate) mod socket;
