//! Rules that the protocol has, and defects: what happens without one of them.

use crate::check::Broken;

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Defect {
    /// The data is removed in the run that moved the links, or any later one.
    NoWait,
    /// Links are neither moved nor asked for before the data is removed.
    LinksStay,
    /// A mount does not look for a tombstone.
    MountDoesNotLook,
    /// An upload does not look for a tombstone.
    UploadDoesNotLook,
    /// An upload that finds the data in place writes the link and does nothing else.
    UploadSkips,
    /// An upload that finds a tombstone does not say that it needs the blob.
    UploadDoesNotNeed,
    /// A list that fails ends the walk over its repository and not the run.
    FailedListIsEmpty,
    /// A push takes a link for present because it was, some time ago.
    LinkFromCache,
    /// What is given back is not marked as needed: another collector does not learn
    /// of it.
    GivesBackSilently,
    /// A collector that stalled goes on where it was.
    NoSecondLook,
    /// A push does not look after it has published.
    NoLookAfterPublish,
    /// A collector does not read manifests again after it has announced a move.
    NoReadAfterAnnounce,
    /// A push that finds an announced move does not wait for its end.
    PushDoesNotWait,
    /// The announcement of a move is removed when the move ends.
    ForgetsMoves,
    /// A collector does not look whether the blob is needed before it removes it.
    NoLookBeforeRemoval,
    /// The time until removal counts from the tombstone, not from the last link.
    WaitsFromTombstone,
    /// A push that finds no link does not look for a moved one.
    PushIgnoresMoved,
    /// A push that finds neither link nor moved link does not read the link again.
    PushReadsOnce,
    /// A link that is given back takes its moved link away at once.
    MovedGoesAtOnce,
    /// The tombstone goes with the data, and not some time after it.
    EndsEarly,
    /// Who gives back does not look whether another collector removes the data.
    DoesNotGiveWay,
    /// Data is removed although foreign writers are seen.
    RemovesBesideForeign,
}

/// The rules that a world goes by.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What is wrong with them.
    pub broken: Broken<Defect>,
    /// Whether young objects are condemned too, and at first sight: neither is needed
    /// for what is modelled.
    pub impatient: bool,
    /// Whether foreign writers are seen, beside whom nothing is removed.
    pub foreign: bool,
}

impl Rules {
    /// Whether a rule is kept.
    pub fn keep(&self, broken: Defect) -> bool {
        self.broken.keep(broken)
    }
}
