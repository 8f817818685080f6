//! What tests of several crates share: bodies, a bucket and a directory in this
//! process, the contract of the storage port, the protocol as tables of
//! requests, and an explorer of interleavings and faults.

pub mod body;
pub mod bucket;
pub mod contract;
pub mod directory;
pub mod explorer;
pub mod images;
pub mod native;
pub mod requests;
