//! What tests of several crates share.

pub mod body;
pub mod bucket;
pub mod directory;
