//! Roadstead's native host: it accepts connections, holds the storage
//! directory or the way to an object store, and runs the component that is the
//! registry.
//!
//! The host knows nothing of repositories: every request goes to the
//! component, and what the component asks of storage comes back as
//! [`roadstead_directory::Operation`]s.

mod acme;
mod auth;
mod cache;
mod certificate;
pub mod cli;
pub mod config_file;
mod connection;
mod engine;
mod file_body;
mod guest_log;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(not(target_os = "linux"))]
#[path = "no_handover.rs"]
mod handover;
mod hashing;
mod hooks;
mod job_keys;
mod listener;
mod opening;
mod options;
mod outbound;
mod peer;
mod progressing;
mod rarely;
pub mod reload;
mod server;
mod socket;
mod store;
mod tls;

pub use engine::{Engine, Precompiled};
pub use options::{Options, default_cache, default_root};
pub use server::{Server, serve};

/// The component that this binary was built with: the same bytes that run
/// under every other host.
pub static COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/component.wasm"));
