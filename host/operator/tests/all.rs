//! Tests of the commands: one program, because each program of its own would compile the
//! registry once more.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod cat;
mod cert;
mod config;
mod content;
mod diff;
mod doctor;
mod du;
mod gc;
mod history;
mod htpasswd;
mod images;
mod inspect;
mod local;
mod login;
mod ls;
mod plain;
mod rescue;
mod retention;
mod rm;
mod rm_in_storage;
mod scrub;
mod served;
mod tag;
mod tags;
mod tokens;
