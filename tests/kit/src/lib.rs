//! What tests of several crates share: bodies, a bucket and a directory in this
//! process, and the contract of the storage port.

pub mod body;
pub mod bucket;
pub mod contract;
pub mod directory;
