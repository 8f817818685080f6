//! Notifications: events of a registry, sent to endpoints as distribution sends them, out of an
//! outbox on disk.
//!
//! ```text
//!  an operation ─▶ Notifications::publish ─▶ outbox: a file, synced ─▶ 2xx to the client
//!  a pull ─▶ Notifications::publish_lazily ─▶ outbox, within a second
//!                                               │
//!                     a task for each endpoint: reads, POSTs, tries again, and moves its cursor
//! ```
//!
//! An event whose operation was answered with 2xx is delivered at least once; one whose operation did
//! not happen, never. `docs/notifications.md` is for operators.

mod counters;
mod event;
mod log;
mod notifications;
mod outbox;
mod send;
mod settings;

#[cfg(test)]
mod tests;

pub use event::{Action, Descriptor, Event, Request, Source, Target};
pub use log::{Level, Log};
pub use notifications::Notifications;
pub use settings::Settings;
