//! Scrubbing over a directory and a bucket of this process.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod findings;
mod quarantine;
mod slices;
mod world;
