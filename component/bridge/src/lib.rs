//! The bridge: everything that the native host and the component say to each
//! other. What is not here is plain HTTP and WASI.
//!
//! ```text
//!            native host                                    component
//! client ──▶ strips `x-roadstead-*`, sets the headers of ──▶ reads them
//!            [`client`]
//!            names the span of a sampled request        ──▶ [`trace`]: repeats it in what it
//!                                                            asks the host for
//! client ◀── takes the headers of [`cache`] out,        ◀── sets them
//!            keeps and outdates responses by them
//! client ◀── takes the body of [`front`] into its own   ◀── says that it is in memory
//!            memory before the client reads it
//!            logs and counts it with the [`account`]    ◀── says who sent it, how it was
//!            and notifies others of its [`change`]          refused, and what it changed
//!
//!            asks for a slice of garbage collection     ──▶ [`collect`]: does it, and says
//!                                                            how far it has come
//!
//!            asks which tags expire, and why           ──▶ [`retention`]: looks, and says
//!
//!            asks for [`outbox`]: events of other hosts ──▶ takes them from the storage
//!
//!            asks for a slice of a scrub              ──▶ [`scrub`]: does it, and says what
//!                                                            it has found
//!
//!            asks whether it is ready, by [`health`]    ──▶ reads the storage
//!
//!            sets [`services::VARIABLE`]                ──▶ [`Services`]: which of the
//!                                                            authorities below exist
//!            http://store.internal                      ◀── [`storage`]: an operation, maybe
//!            carries it out in the directory            ──▶ with a body; its reply
//!            http://auth.internal                       ◀── [`access`]: a question about
//!            knows users, tokens and keys               ──▶ credentials; the answer
//!            http://hash.internal                       ◀── [`hashing`]: a body on its way
//!            hashes it natively                         ──▶ to an object store, back again
//!            http://credentials.internal                ◀── [`credentials`]: what to sign a
//!            gets them from the platform                ──▶ request to an object store with
//!
//!            logs each line at the level of its prefix  ◀── [`log`]: standard error
//! ```
//!
//! The authorities are requests through `wasi:http/client`, which the host
//! answers itself: they lead to no network, and nothing but the component
//! reaches them. A message is JSON in one header; bytes that belong to it are
//! the body. Both sides are built together, so there are no versions.

pub mod access;
pub mod account;
pub mod cache;
pub mod change;
pub mod client;
pub mod collect;
pub mod contents;
pub mod credentials;
pub mod front;
pub mod hashing;
pub mod health;
pub mod log;
pub mod outbox;
pub mod retention;
pub mod scrub;
pub mod services;
pub mod storage;
pub mod trace;

mod json;

pub use account::Account;
pub use json::header_json;
pub use services::Services;
