//! Hands files over to a connection, whose bytes the kernel then sends without
//! copying them through this process, on systems where that is implemented.

#[cfg(target_os = "linux")]
mod sendfile;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub(crate) use sendfile::{FileSender, Handover, hand_over, is_placeholder};
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{FileSender, Handover, hand_over, is_placeholder};
