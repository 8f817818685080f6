//! Commands for operators of a registry: [`cert`] creates certificates,
//! [`htpasswd`] manages the file of users, [`doctor`] checks a registry from a
//! client's point of view, [`rm`] deletes from one.
//!
//! None of them needs a running Roadstead or wasmtime, so the crate builds and
//! tests in seconds. `host/src/cli.rs` offers them as subcommands of
//! `roadstead`.

pub mod cert;
pub mod doctor;
mod files;
pub mod htpasswd;
mod password;
pub mod rm;
