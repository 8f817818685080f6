//! What a collector makes of a state, if nothing disturbs it: this takes the place
//! of "eventually", and holds from each state on.

use crate::store::REPOSITORIES;
use crate::world::{Scenario, World};
use stateright::Property;

/// Garbage goes.
pub const COLLECTED: &str = "garbage is removed by a collector that is left alone";

/// What is needed comes back.
pub const GIVEN_BACK: &str = "what a manifest refers to is given back";

/// What was condemned comes back when an operator asks for it.
pub const UNDONE: &str = "undo gives back what was condemned";

/// How many runs it takes at most: to forget that it was needed, two sightings, a
/// removal, and one each for what a dead collector and a moved link leave.
const RUNS: usize = 8;

pub(crate) fn always() -> Vec<Property<Scenario>> {
    vec![
        Property::always(COLLECTED, |_, world: &World| {
            let after = settle(world);
            // Beside foreign writers it is kept.
            after.store.manifest.contains(&true) || world.rules.foreign || is_empty(&after)
        }),
        Property::always(GIVEN_BACK, |_, world: &World| {
            let after = settle(world);
            let store = &after.store;
            let lost = world.store.data.is_none();
            !store.manifest.contains(&true)
                || lost
                || (store.data.is_some()
                    && store.tombstone.is_none()
                    && store.moved == [None; REPOSITORIES]
                    && (0..REPOSITORIES).all(|r| store.link[r].is_some() || !held(world, r)))
        }),
        Property::always(UNDONE, |_, world: &World| {
            if world.store.data.is_none() || world.store.removing().is_some() {
                return true;
            }
            let mut after = world.alone();
            after.undo();
            let back = |r: usize| after.store.link[r].is_some() || !held(world, r);
            after.store.tombstone.is_none() && (0..REPOSITORIES).all(back)
        }),
    ]
}

fn settle(world: &World) -> World {
    let mut after = world.alone();
    for _ in 0..RUNS {
        after.run();
    }
    after
}

fn held(world: &World, repository: usize) -> bool {
    world.store.link[repository].is_some() || world.store.moved[repository].is_some()
}

fn is_empty(world: &World) -> bool {
    let store = &world.store;
    store.data.is_none()
        && store.tombstone.is_none()
        && store.needed.is_none()
        && store.link == [None; REPOSITORIES]
        && store.moved == [None; REPOSITORIES]
}
