//! The host as a process: crashes, aborts, limits, traps, TLS, shutdown.

#[path = "host/aborts.rs"]
mod aborts;
#[path = "host/big_blobs.rs"]
mod big_blobs;
#[path = "host/cache.rs"]
mod cache;
#[path = "host/content.rs"]
mod content;
#[path = "host/crash.rs"]
mod crash;
#[path = "host/disk.rs"]
mod disk;
#[path = "host/images.rs"]
mod images;
#[path = "host/limits.rs"]
mod limits;
#[path = "host/parts.rs"]
mod parts;
#[path = "host/same_upload.rs"]
mod same_upload;
#[path = "host/secure.rs"]
mod secure;
#[path = "host/shared.rs"]
mod shared;
#[path = "host/shutdown.rs"]
mod shutdown;
#[path = "host/start.rs"]
mod start;
#[path = "host/support.rs"]
mod support;
#[path = "host/tls.rs"]
mod tls;
#[path = "host/tls_acme.rs"]
mod tls_acme;
#[path = "host/tls_clients.rs"]
mod tls_clients;
#[path = "host/tls_mistaken.rs"]
mod tls_mistaken;
#[path = "host/tls_reload.rs"]
mod tls_reload;
#[path = "host/tls_start.rs"]
mod tls_start;
#[path = "host/told.rs"]
mod told;
#[path = "host/trap.rs"]
mod trap;
#[path = "host/wire.rs"]
mod wire;
#[path = "host/wrong_digest.rs"]
mod wrong_digest;
