//! Checks of scenarios, with a line of output for each.

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::{Debug, Write as _};
use std::hash::Hash;
use std::time::Instant;

/// How many threads explore.
const THREADS: usize = 2;

/// What a check has found.
#[derive(Debug)]
pub struct Outcome<A> {
    /// How many states were explored.
    pub states: usize,
    /// Properties that do not hold, each with the shortest history that breaks it.
    pub broken: Vec<(&'static str, Vec<A>)>,
    /// Whether all happens that is to happen in some history.
    pub reached: bool,
    /// A line about it.
    pub line: String,
}

/// The rules that are broken.
#[derive(Clone, Debug)]
pub struct Broken<D>(Vec<D>);

impl<D> Default for Broken<D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<D: Copy + PartialEq> Broken<D> {
    /// Whether a rule is kept.
    pub fn keep(&self, rule: D) -> bool {
        !self.0.contains(&rule)
    }
}

/// A scenario, of any of the models.
pub trait Scenario:
    Model<
        State: Clone + Debug + Hash + PartialEq + Send + Sync,
        Action: Clone + Debug + PartialEq + Send + Sync,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// A rule that can be broken.
    type Defect: Copy + Debug + PartialEq;

    /// The rules that are.
    fn broken(&mut self) -> &mut Broken<Self::Defect>;

    /// The same with a broken rule.
    #[must_use]
    fn with(mut self, defect: Self::Defect) -> Self {
        self.broken().0.push(defect);
        self
    }
}

/// Explores all states of a scenario, or those up to the first that is wrong.
pub fn explore<S: Scenario>(name: &str, scenario: S) -> Outcome<S::Action> {
    let begun = Instant::now();
    let expected = scenario.properties().into_iter();
    let expected = expected.filter(|property| property.expectation == Expectation::Sometimes);
    let expected: Vec<&str> = expected.map(|property| property.name).collect();
    let checker = scenario.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let states = checker.unique_state_count();
    let (mut broken, mut reached) = (Vec::new(), 0);
    for (property, path) in checker.discoveries() {
        if expected.contains(&property) {
            reached += 1;
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
    Outcome { states, broken, reached: reached == expected.len(), line }
}

/// The same of a scenario with a broken rule.
pub fn explore_with<S: Scenario>(name: &str, scenario: S, defect: S::Defect) -> Outcome<S::Action> {
    explore(&format!("{name}, {defect:?}"), scenario.with(defect))
}

/// A history, with repeated actions counted.
fn short<A: Debug + PartialEq>(actions: &[A]) -> String {
    let groups = actions.chunk_by(|one, next| one == next);
    let groups = groups.map(|group| match group {
        [one] => format!("{one:?}"),
        [one, ..] => format!("{} {one:?}", group.len()),
        [] => String::new(),
    });
    groups.collect::<Vec<_>>().join(", ")
}
