//! Tests of the protocol over a directory and a bucket of this process: one program, because
//! each program of its own would compile the protocol once more.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod changes;
mod collect;
mod collection;
mod condemned;
mod deletions;
mod expiry;
mod explorer;
mod history;
mod immutable;
mod left;
mod messages;
mod quotas;
mod repositories;
mod requests;
mod scrub;
mod soak;
mod views;
