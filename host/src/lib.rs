//! Roadstead's native host: it accepts connections, holds the storage
//! directory or the way to an object store, and runs the component that is the
//! registry.
//!
//! The host knows nothing of repositories: every request goes to the component,
//! which asks the host for storage, credentials and hashes over the
//! [`roadstead_bridge`].

mod behind;
mod blocking;
mod body;
pub mod cli;
mod collect;
mod debug;
mod engine;
mod front;
mod health;
mod listen;
mod log;
mod log_throttle;
mod meter;
mod net;
mod notifications;
mod options;
pub mod reload;
mod server;
mod signals;
mod tls;

pub use engine::{Engine, precompile};
pub use options::{Options, default_code_cache, default_root};
pub use roadstead_embedded::COMPONENT;
pub use roadstead_operator::config_file;
pub use server::{Server, serve};
