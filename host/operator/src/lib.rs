//! Commands for operators of a registry: [`config`] checks the configuration and shows it,
//! [`cert`] creates certificates,
//! [`htpasswd`] manages the file of users, [`doctor`] checks a registry from a
//! client's point of view, [`health`] asks whether it answers, [`gc`] drives garbage collection, [`rm`] deletes from a
//! registry, [`history`] says what a tag has led to, [`retention`] which tags expire and why, [`du`] how much repositories hold, [`scrub`] reads all that one holds again, [`rescue`] brings lost content
//! back into one. Those on images ask any registry: [`ls`], [`tags`], [`inspect`], [`cat`], [`tag`] and
//! [`diff`]; [`login`] keeps passwords where Docker does. What they share with `roadstead-transfer` is public too: [`registry`], [`place`] and
//! [`client`], by which a registry is asked, [`pull`] and [`push`], the requests of a pull and of a push. What they share with
//! the host is [`config_file`], [`pem`] and [`permissions`]: a check reads and says what a start does.
//!
//! None of them needs a running Roadstead or wasmtime, so the crate builds and
//! tests in seconds. `host/src/cli/` offers them as subcommands of `roadstead`.

pub mod cat;
pub mod cert;
pub mod client;
pub mod config;
pub mod config_file;
pub mod credentials;
pub mod date;
mod described;
pub mod diff;
pub mod doctor;
pub mod du;
pub mod files;
pub mod gc;
pub mod hash;
pub mod health;
pub mod history;
pub mod htpasswd;
pub mod image;
pub mod inspect;
pub mod login;
pub mod ls;
mod password;
pub mod pem;
pub mod permissions;
pub mod place;
pub mod platform;
pub mod print;
mod problem;
pub mod pull;
pub mod push;
pub mod registry;
pub mod rescue;
pub mod retention;
pub mod rm;
pub mod runtime;
pub mod scrub;
mod slices;
mod streams;
pub mod tag;
pub mod tags;
pub mod terminal;
mod views;

pub use streams::{Output, Streams};
