//! What a request passes before the component answers it.

pub(crate) mod cache;
pub(crate) mod peer;
pub(crate) mod service;
