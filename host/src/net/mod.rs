//! Connections, from accepted sockets to requests.

mod activity;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod descriptors;
mod protocol;
pub(crate) mod response_body;
mod socket;
mod streams;
mod wrong_protocol;
