//! The registry's own garbage collection beside clients: a run from its beginning, or what it
//! does once it knows what is garbage.

use super::ask::{Ask, Upload};
use super::collector::{Beside, Collect};
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send};
use super::stage::Fault;
use super::world::{Medium, World};
use crate::native::default_order;
use roadstead_registry::{Progress, SliceOptions, TOMBSTONE_KEPT};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// A run and clients that meet.
#[derive(Clone, Copy, Debug)]
pub struct Collected {
    /// Requests before, one after the other.
    pub before: &'static [Ask],
    /// Whether the blob was condemned after that, so that the run removes it. Otherwise it
    /// condemns it.
    pub condemned: bool,
    /// What each client asks for. One that is told that the blob is not there, or
    /// cannot be mounted, uploads it.
    pub clients: &'static [&'static [Ask]],
}

/// What clients meet of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meets {
    /// What it does once it knows what is garbage.
    Actions,
    /// The same, of two processes that both go on with it.
    ActionsTwice,
    /// All of it.
    All,
}

/// Has a run meet clients in every order up to a bound, and by seed beyond it. `fault` is
/// of the run; later runs do what it has left.
pub fn collect_beside(
    medium: Medium,
    collected: &Collected,
    meets: Meets,
    bound: Bound,
    fault: Option<Fault>,
) -> Found {
    explore_runs(bound, |scheduler| run(medium, collected, meets, scheduler, fault))
}

fn run(
    medium: Medium,
    collected: &Collected,
    meets: Meets,
    scheduler: Box<dyn Scheduler>,
    fault: Option<Fault>,
) -> Result<bool, String> {
    let (world, order) = begin(medium, collected, meets)?;
    let mut faults = vec![None; collected.clients.len()];
    faults.push(fault);
    let active = AtomicUsize::new(0);
    let beside =
        Beside { world: &world, clients: collected.clients, active: &active, faults: &faults };
    let later = || {
        // One that died has its lease for a while.
        for _ in 0..3 {
            world.pass(2 * DAY);
            slices(&world, &mut self::order(), None)?;
        }
        Ok(())
    };
    let collect = || {
        let (world, mut order) = (&world, order);
        Box::new(move || slices(world, &mut order, None)) as Collect<'_>
    };
    let collectors = if meets == Meets::ActionsTwice { 2 } else { 1 };
    beside
        .run((0..collectors).map(|_| collect()).collect(), later, scheduler)
        .map_err(|error| format!("{error}\nover {medium:?}, {meets:?} of {collected:?}, {fault:?}"))
}

/// By the default settings, in slices of any length. If one process collects, no deletion
/// arrives late, so the tombstone of what is removed need not outlive it.
fn order() -> SliceOptions {
    SliceOptions { settled: Duration::ZERO, ..default_order() }
}

/// A storage with a blob that is garbage, and a run that is about to begin, or to do something
/// about it.
fn begin(
    medium: Medium,
    collected: &Collected,
    meets: Meets,
) -> Result<(World, SliceOptions), String> {
    let world = World::new(medium, collected.clients.len() + 1);
    for &ask in collected.before {
        send(&world, 0, ask, &Upload::default());
    }
    let runs = if collected.condemned { 2 } else { 1 };
    for _ in 0..runs {
        world.pass(2 * DAY);
        slices(&world, &mut order(), None)?;
    }
    world.pass(8 * DAY);
    if meets == Meets::All {
        return Ok((world, order()));
    }
    let mut order = SliceOptions { budget: 1, ..order() };
    slices(&world, &mut order, Some("links"))?;
    let settled = if meets == Meets::ActionsTwice { TOMBSTONE_KEPT } else { Duration::ZERO };
    Ok((world, SliceOptions { budget: u32::MAX, settled, ..order }))
}

/// Does slices until the run has reached a stage, or ends.
pub(super) fn slices(
    world: &World,
    order: &mut SliceOptions,
    until: Option<&str>,
) -> Result<(), String> {
    loop {
        match world.collect(order).map_err(|error| error.to_string())? {
            Progress::Running { run, stage, wait, .. } => {
                order.run = u128::from_str_radix(&run, 16).ok();
                // What is to be waited for is left to later runs.
                if until == Some(stage.as_str()) || wait > 0 {
                    return Ok(());
                }
            }
            Progress::Done { .. } | Progress::NotDue { .. } if until.is_none() => return Ok(()),
            other => return Err(format!("there is nothing to do: {other:?}")),
        }
    }
}
