//! Bodies of requests and responses.

pub(crate) mod file_body;
pub(crate) mod handover;
pub(crate) mod idle_timeout;
