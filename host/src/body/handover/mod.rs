//! Files that go to a connection without passing through this process, where
//! the system can do that.

#[cfg(target_os = "linux")]
mod sendfile;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub(crate) use sendfile::{Handover, Outbox, hand_over, stands_in};
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{Handover, Outbox, hand_over, stands_in};
