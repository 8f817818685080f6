//! What is behind the component: all that it can call.

pub(crate) mod archives;
pub(crate) mod auth;
pub(crate) mod credentials;
mod deadline;
pub(crate) mod hashing;
pub(crate) mod hooks;
mod job_keys;
pub(crate) mod outbound;
pub(crate) mod store;
