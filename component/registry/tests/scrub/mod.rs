//! Scrubbing over a directory and a bucket of this process.

mod findings;
mod quarantine;
mod slices;
mod world;
