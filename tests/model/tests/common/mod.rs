//! What tests of all models check of their scenarios.

#![allow(dead_code, reason = "not each test needs all")]
#![expect(clippy::print_stdout, reason = "how many states were explored is part of the result")]

use roadstead_model::check::{Scenario, explore, explore_with};

/// No property is broken in any of the scenarios. Whether what is to happen in some
/// history of each does.
pub(crate) fn sound<S: Scenario>(model: &str, scenarios: Vec<(&str, S)>) -> bool {
    let (mut states, mut reached) = (0, true);
    for (name, scenario) in scenarios {
        let outcome = explore(&format!("{model}, {name}"), scenario);
        println!("{}", outcome.line);
        assert!(outcome.broken.is_empty(), "{}", outcome.line);
        reached &= outcome.reached;
        states += outcome.states;
    }
    println!("{model}: {states} states in all");
    reached
}

/// Each of the defects breaks one of the properties in the scenario.
pub(crate) fn finds<S: Scenario>(
    model: &str,
    scenario: &S,
    properties: &[&str],
    defects: &[S::Defect],
) {
    for defect in defects {
        let found = explore_with(model, scenario.clone(), *defect);
        println!("{}", found.line);
        let expected = found.broken.iter().any(|(broken, _)| properties.contains(broken));
        assert!(expected, "not found: {}", found.line);
    }
}
