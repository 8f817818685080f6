//! What a request passes before the component answers it.

pub(crate) mod cache;
mod cached_response;
mod error_response;
pub(crate) mod peer;
pub(crate) mod service;
