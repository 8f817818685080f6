//! The registry's own garbage collection beside clients, in a bucket: what a run does once
//! it knows what is garbage.

use super::ask::{Ask, Upload};
use super::collector::Beside;
use super::schedule::Scheduler;
use super::search::{Bound, Found, explore_runs, send};
use super::stage::Fault;
use super::world::{Medium, World};
use crate::native::default_order;
use roadstead_registry::{Progress, SliceOptions};
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

/// Has a run meet clients in every order up to a bound, and by seed beyond it. `fault` is
/// of the run; later runs do what it has left.
pub fn collect_beside(
    medium: Medium,
    collected: &Collected,
    bound: Bound,
    fault: Option<Fault>,
) -> Found {
    explore_runs(bound, |scheduler| run(medium, collected, scheduler, fault))
}

fn run(
    medium: Medium,
    collected: &Collected,
    scheduler: Box<dyn Scheduler>,
    fault: Option<Fault>,
) -> Result<bool, String> {
    let collector = collected.clients.len();
    let (world, mut order) = begin(medium, collected)?;
    let mut faults = vec![None; collector];
    faults.push(fault);
    let active = AtomicUsize::new(0);
    let beside =
        Beside { world: &world, clients: collected.clients, active: &active, faults: &faults };
    let later = || {
        // One that died has its lease for a while.
        for _ in 0..3 {
            world.bucket().pass(2 * DAY);
            slices(&world, &mut self::order(), None)?;
        }
        Ok(())
    };
    beside
        .run(|| slices(&world, &mut order, None), later, scheduler)
        .map_err(|error| format!("{error}\nover {medium:?}, {collected:?}, {fault:?}"))
}

/// By the default settings, in slices of any length. In a bucket in memory no deletion
/// arrives late, so the tombstone of what is removed need not outlive it.
fn order() -> SliceOptions {
    SliceOptions { settled: Duration::ZERO, ..default_order() }
}

/// A bucket with a blob that is garbage, and a run that is about to do something about it.
fn begin(medium: Medium, collected: &Collected) -> Result<(World, SliceOptions), String> {
    let world = World::new(medium, collected.clients.len() + 1);
    for &ask in collected.before {
        send(&world, 0, ask, &Upload::default());
    }
    let runs = if collected.condemned { 2 } else { 1 };
    for _ in 0..runs {
        world.bucket().pass(2 * DAY);
        slices(&world, &mut order(), None)?;
    }
    world.bucket().pass(8 * DAY);
    let mut order = SliceOptions { budget: 1, ..order() };
    slices(&world, &mut order, Some("links"))?;
    Ok((world, SliceOptions { budget: u32::MAX, ..order }))
}

/// Does slices until the run has reached a stage, or ends.
fn slices(world: &World, order: &mut SliceOptions, until: Option<&str>) -> Result<(), String> {
    loop {
        match world.collect(order).map_err(|error| error.to_string())? {
            Progress::Running { run, stage, wait, .. } => {
                order.run = u128::from_str_radix(&run, 16).ok();
                if until == Some(stage.as_str()) {
                    return Ok(());
                }
                world.bucket().pass(Duration::from_millis(wait));
            }
            Progress::Done { .. } | Progress::NotDue { .. } if until.is_none() => return Ok(()),
            other => return Err(format!("there is nothing to do: {other:?}")),
        }
    }
}
