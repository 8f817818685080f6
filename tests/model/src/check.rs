//! Checks of scenarios, with a line of output for each.

use crate::properties::REMOVED;
use crate::rules::Defect;
use crate::world::{Action, Scenario};
use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::Write as _;
use std::time::Instant;

/// How many threads explore.
const THREADS: usize = 2;

/// What a check has found.
#[derive(Debug)]
pub struct Outcome {
    /// How many states were explored.
    pub states: usize,
    /// Properties that do not hold, each with the shortest history that breaks it.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// Whether the blob is removed in some history.
    pub removed: bool,
    /// A line about it.
    pub line: String,
}

/// Explores all states of a scenario, or those up to the first that is wrong.
pub fn explore(name: &str, scenario: Scenario) -> Outcome {
    let begun = Instant::now();
    let checker = scenario.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let states = checker.unique_state_count();
    let (mut broken, mut removed) = (Vec::new(), false);
    for (property, path) in checker.discoveries() {
        if property == REMOVED {
            removed = true;
        } else {
            broken.push((property, path.into_actions()));
        }
    }
    let seconds = begun.elapsed().as_secs_f32();
    let mut line = format!("{name}: {states} states in {seconds:.2} s");
    for (property, actions) in &broken {
        // Writing to a string cannot fail.
        let _ = write!(line, "\n  broken: {property}\n    {}", short(actions));
    }
    Outcome { states, broken, removed, line }
}

/// The same of a scenario with a broken rule.
pub fn explore_with(name: &str, scenario: Scenario, defect: Defect) -> Outcome {
    explore(&format!("{name}, {defect:?}"), scenario.with(defect))
}

/// A history, with repeated actions counted.
fn short(actions: &[Action]) -> String {
    let groups = actions.chunk_by(|one, next| one == next);
    let groups = groups.map(|group| match group {
        [one] => format!("{one:?}"),
        [one, ..] => format!("{} {one:?}", group.len()),
        [] => String::new(),
    });
    groups.collect::<Vec<_>>().join(", ")
}
