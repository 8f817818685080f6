//! Sends events to an endpoint.

mod body;
mod client;
mod pause;
mod sender;

pub(crate) use sender::Sender;
