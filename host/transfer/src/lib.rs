//! Moves images: [`import`] from archives into a registry or a storage, [`export`] the other
//! way, [`mirror`] from one registry into another, [`cp`] one image. [`inventory`] says what one side
//! has, and [`key`] makes the keys that inventories are signed with.
//!
//! Every move has the same steps. What there is becomes an
//! [`Inventory`](roadstead_archive::Inventory) (`walk.rs` reads a registry's,
//! `roadstead_archive::Set` that of archives). Then its contents are read, one stream each
//! (`source.rs`), and pushed into a registry (`copy.rs`), or written to files by a plan
//! (`write.rs`). Names are given last: a tag is there when all that it leads to is.

pub mod cp;
pub mod export;
pub mod import;
pub mod inventory;
pub mod key;
pub mod mirror;

mod copy;
mod naming;
mod needs;
mod place;
mod progress;
mod select;
mod source;
mod summary;
mod verify;
mod walk;
mod write;

use roadstead_operator::Streams;
use std::io;
use summary::Summary;

/// How deep indexes within indexes are followed.
///
/// Limit: depth of indexes of a transfer; test: none, archives and clients have less.
const DEPTH: usize = 16;

/// The exit status of a transfer: 0 if all was transferred, 1 if some images were not, 2 if
/// nothing could be done.
fn status(
    result: io::Result<Result<Summary, String>>,
    command: &str,
    streams: &mut Streams<'_>,
) -> u8 {
    match result.map_err(|error| error.to_string()).and_then(|result| result) {
        Ok(summary) => u8::from(summary.failed() > 0),
        Err(problem) => {
            streams.say(command, &problem);
            2
        }
    }
}
