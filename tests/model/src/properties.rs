//! What must hold in each state.

use crate::store::{REPOSITORIES, Store};
use crate::world::{Scenario, World};
use stateright::Property;

/// An acknowledged manifest is complete until it is deleted.
pub const COMPLETE: &str = "an acknowledged manifest is complete";

/// A client that was told that the blob is there can push its manifest.
pub const NOT_REFUSED: &str = "no push is refused after a HEAD, a mount or an upload";

/// What another registry acknowledged is there, or is given back.
pub const RECOVERABLE: &str =
    "what another registry acknowledged has its data, and its link or the moved one";

/// The blob is removed in some history.
pub const REMOVED: &str = "garbage is removed";

pub(crate) fn always() -> Vec<Property<Scenario>> {
    vec![
        Property::always(COMPLETE, |_, world: &World| {
            let store = &world.store;
            let complete = |r: usize| store.data.is_some() && store.link[r].is_some();
            (0..REPOSITORIES).all(|r| !world.acknowledged[r] || world.let_go[r] || complete(r))
        }),
        Property::always(NOT_REFUSED, |_, world: &World| !world.refused),
        Property::always(RECOVERABLE, |_, world: &World| {
            let Store { data, link, moved, .. } = &world.store;
            let there = |r: usize| data.is_some() && (link[r].is_some() || moved[r].is_some());
            (0..REPOSITORIES).all(|r| !world.foreign[r] || world.let_go[r] || there(r))
        }),
        Property::sometimes(REMOVED, |_, world: &World| {
            world.store.data.is_none() && world.store.tombstone.is_none()
        }),
    ]
}
