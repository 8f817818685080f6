//! Connections, from accepted sockets to requests.

mod activity;
pub(crate) mod connection;
mod protocol;
mod socket;
mod wrong_protocol;
