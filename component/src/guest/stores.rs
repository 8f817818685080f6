//! The object store that the configuration names.

use crate::store::cloud::{Backend, Options};
use roadstead_config::Config;

/// The bucket to keep everything in, if it is to be one.
#[expect(clippy::unnecessary_wraps, reason = "a store that cannot be opened is an error")]
pub(super) fn choose(_config: &Config) -> Result<Option<(Backend, Options)>, String> {
    // No setting names one yet.
    Ok(None)
}
