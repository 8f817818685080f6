//! Real clients against the real host.
