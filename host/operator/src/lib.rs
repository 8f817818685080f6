//! Commands for whoever runs a registry: [`cert`] makes certificates,
//! [`htpasswd`] keeps passwords, [`doctor`] says what a client would see.
//!
//! None of them needs a running registry of this project, nor wasmtime: the
//! crate builds and tests in seconds. `host/src/cli.rs` offers them as
//! subcommands of `roadstead`.

pub mod cert;
pub mod doctor;
mod files;
pub mod htpasswd;
mod password;
