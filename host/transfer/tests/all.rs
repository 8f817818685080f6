//! Tests of the commands: one program, because each program of its own would compile the
//! registry once more.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod commands;
#[path = "../../operator/tests/content/mod.rs"]
#[allow(dead_code, reason = "it belongs to the tests of other commands too")]
mod content;
mod copies;
mod cuts;
mod interrupted;
#[path = "../../operator/tests/local/mod.rs"]
mod local;
mod mirrors;
#[path = "../../operator/tests/plain/mod.rs"]
#[allow(dead_code, reason = "it belongs to the tests of other commands too")]
mod plain;
mod round_trips;
#[path = "../../operator/tests/served/mod.rs"]
#[allow(dead_code, reason = "it belongs to the tests of other commands too")]
mod served;
