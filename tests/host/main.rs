//! The host as a process: crashes, aborts, limits, traps, TLS, shutdown.

mod aborts;
mod access_log;
mod archives;
mod attacks;
mod big_blobs;
mod client_headers;
mod code_cache;
mod collect;
mod collect_commands;
mod content;
mod disk;
mod first_steps;
mod floods;
mod frames;
mod health;
mod images;
mod kills;
#[cfg(target_os = "linux")]
mod large_directory;
mod limits;
mod log;
mod power_loss;
mod readiness;
mod response_cache;
mod same_upload;
mod scrub;
mod secure;
mod sendfile;
mod shutdown;
mod slow_clients;
mod start;
mod storage;
mod support;
#[cfg(target_os = "linux")]
mod threads;
mod tls;
mod tls_acme;
mod tls_clients;
mod tls_reload;
mod tls_start;
mod traffic;
mod transfers;
mod trap;
mod wire;
mod wrong_digest;
mod wrong_protocol;
