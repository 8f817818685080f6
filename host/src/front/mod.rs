//! What a request passes before the component answers it.

mod answering;
pub(crate) mod cache;
mod cached_response;
pub(crate) mod clients;
pub(crate) mod error_response;
mod notice;
pub(crate) mod peer;
pub(crate) mod record;
pub(crate) mod service;
