//! What a collector makes of a state, if nothing disturbs it: this takes the place of
//! "eventually".

use super::collector::{self, At, Collector};
use super::{Content, HIGHEST, Scenario, World};
use stateright::Property;

/// What nothing leads to goes.
pub const COLLECTED: &str = "an untagged manifest goes by a collector that is left alone";

/// What something leads to comes back.
pub const GIVEN_BACK: &str = "what a tag leads to comes back";

/// How many runs it takes at most: to take it away, to let the moved link expire and go,
/// to forget that it was needed, to condemn and to remove, and one for what died.
const RUNS: usize = 9;

/// How many steps a run takes at most.
const STEPS: usize = 60;

pub(super) fn always() -> Vec<Property<Scenario>> {
    vec![
        Property::always(COLLECTED, |scenario: &Scenario, world: &World| {
            if world.store.tag || world.store.index.is_some() {
                return true;
            }
            let after = settle(scenario, world).store;
            let none = after.content.iter().all(|content| *content == Content::default());
            after.link.is_none() && after.moved.is_none() && none
        }),
        Property::always(GIVEN_BACK, |scenario: &Scenario, world: &World| {
            let store = &world.store;
            let is_led_to = store.tag || (store.index.is_some() && store.index_tag);
            let is_there = store.link.is_some() || store.moved.is_some_and(|moved| !moved.expired);
            if !is_led_to || !is_there || !store.is_whole() {
                return true;
            }
            let after = settle(scenario, world).store;
            let kept = |content: &Content| content.data.is_some() && content.tombstone.is_none();
            after.link.is_some() && after.moved.is_none() && after.content.iter().all(kept)
        }),
    ]
}

fn settle(scenario: &Scenario, world: &World) -> World {
    let mut after = world.clone();
    after.clients.clear();
    after.collectors = vec![Collector::default()];
    for _ in 0..RUNS {
        while after.store.link.is_some_and(|age| age < HIGHEST) {
            after.tick();
        }
        (0..5).for_each(|_| after.tick());
        for _ in 0..STEPS {
            if !collector::step(scenario, &mut after, 0) {
                after.tick();
            }
            if after.collectors[0].at == At::Idle {
                break;
            }
        }
    }
    after
}
