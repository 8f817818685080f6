//! What is left when nothing disturbs any longer: this takes the place of "eventually".

use super::collector::{self, Collector};
use super::scrub::{self, Scrub};
use super::{Data, Scenario, World};
use stateright::Property;

/// No tombstone stays for ever.
pub const TIDIED: &str = "a collector that is left alone tidies up what a scrub has left";

/// Damaged data goes when a scrub is repeated.
pub const MENDED: &str = "a scrub that is left alone after that moves damaged data";

/// How many runs it takes at most: what a scrub and a run have left, to forget that it was
/// needed, and to remove garbage and its tombstone.
const RUNS: usize = 7;

/// Longer than all that is waited for.
const LONG: usize = 6;

/// How many steps a run or a scrub takes at most.
const STEPS: usize = 40;

pub(super) fn always() -> Vec<Property<Scenario>> {
    vec![
        Property::always(TIDIED, |scenario: &Scenario, world: &World| {
            let mut after = world.clone();
            after.scrubs = vec![Scrub::default()];
            tidy(scenario, &mut after);
            after.store.tombstone.is_none() && after.store.needed.is_none()
        }),
        Property::always(MENDED, |scenario: &Scenario, world: &World| {
            if !world.store.data.is_some_and(Data::is_damaged) {
                return true;
            }
            let mut after = world.clone();
            after.scrubs = vec![Scrub::default()];
            tidy(scenario, &mut after);
            scrub(scenario, &mut after);
            !after.store.data.is_some_and(Data::is_damaged) && after.store.tombstone.is_none()
        }),
    ]
}

fn tidy(scenario: &Scenario, world: &mut World) {
    world.uploads.clear();
    world.collector = Collector::default();
    for _ in 0..RUNS {
        (0..LONG).for_each(|_| world.tick());
        until(|| {
            if !collector::step(scenario, world) {
                world.tick();
            }
            world.collector.at == collector::At::Idle
        });
    }
}

fn scrub(scenario: &Scenario, world: &mut World) {
    if !world.store.data.is_some_and(Data::is_damaged) {
        return;
    }
    until(|| {
        if !scrub::step(scenario, world, 0) {
            world.tick();
        }
        world.scrubs[0].at == scrub::At::Idle
    });
}

fn until(mut is_done: impl FnMut() -> bool) {
    for _ in 0..STEPS {
        if is_done() {
            return;
        }
    }
}
