//! What tests of several crates share: bodies, a bucket and a directory in this
//! process, the contract of the storage port, and the protocol as tables of
//! requests.

pub mod body;
pub mod bucket;
pub mod contract;
pub mod directory;
pub mod native;
pub mod requests;
