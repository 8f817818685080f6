//! An upload of the blob, each step one request to the storage, and the push of a
//! manifest that refers to it.

use super::{Data, Defect, Scenario, World};
use crate::store::Age;

/// The next step of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum At {
    /// Reads the marker.
    #[default]
    Marker,
    /// There was none: begins at any time at which that is still believed.
    Trust,
    /// Reads the tombstone.
    Look,
    /// Found one: writes the need.
    Need,
    /// Reads it again, and waits while a removal goes on.
    LookAgain,
    /// Writes the data.
    Write,
    /// Answers.
    Answer,
    /// The client pushes a manifest.
    Publish,
    /// The manifest is acknowledged.
    Published,
    /// The client has given up.
    End,
}

/// An upload.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Upload {
    at: At,
    /// Time since its look, or since the last answer.
    age: Age,
    /// Time for which it has waited for a removal.
    waited: Age,
}

impl Upload {
    /// Whether somebody relies on what it has written.
    pub fn is_relied_on(&self) -> bool {
        matches!(self.at, At::Publish | At::Published)
    }

    pub(super) fn tick(&mut self) {
        if matches!(self.at, At::Marker | At::Published | At::End) {
            return;
        }
        self.age.tick();
        if self.at == At::LookAgain {
            self.waited.tick();
        }
        if self.age >= Age::OLD {
            *self = Self { at: At::End, ..Self::default() };
        }
    }
}

/// Does the next step, unless it waits or has ended.
pub(super) fn step(scenario: &Scenario, world: &mut World, number: usize) -> bool {
    let (store, upload) = (&mut world.store, &mut world.uploads[number]);
    let keep = |defect| scenario.broken.keep(defect);
    upload.at = match upload.at {
        At::Marker if !keep(Defect::UploadDoesNotLook) => At::Write,
        At::Marker if store.marker.is_none() => At::Trust,
        At::Marker => At::Look,
        // A request begins, and takes its own time.
        At::Trust => {
            upload.age = Age::NEW;
            At::Write
        }
        At::Look if store.tombstone.is_none() => At::Write,
        At::Look if keep(Defect::UploadDoesNotNeed) => At::Need,
        At::Look => At::LookAgain,
        At::Need => {
            store.needed = Some(Age::NEW);
            At::LookAgain
        }
        At::LookAgain => {
            let waits = store.is_removing() && upload.waited == Age::NEW;
            if waits && keep(Defect::UploadDoesNotWait) {
                return false;
            }
            upload.waited = Age::NEW;
            At::Write
        }
        At::Write => {
            store.data = Some(Data { by: number + 1, age: Age::NEW });
            At::Answer
        }
        At::Answer => {
            upload.age = Age::NEW;
            At::Publish
        }
        At::Publish => {
            store.manifest = true;
            upload.age = Age::NEW;
            At::Published
        }
        At::Published | At::End => return false,
    };
    true
}
