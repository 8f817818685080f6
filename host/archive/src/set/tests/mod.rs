//! Archives that are made in memory.

mod archives;
mod documents;
mod hostile;
mod kit;
mod mutations;
mod volumes;
mod written;
