//! Untagged manifests: nothing that somebody needs is lost, in any history of these
//! scenarios, and each rule is needed for that.

mod common;

use roadstead_model::check::Scenario as _;
use roadstead_model::untagged::client::Task;
use roadstead_model::untagged::fair::GIVEN_BACK;
use roadstead_model::untagged::{
    COMPLETE, DELETED, Defect, FOUND, HELD, RESOLVES, Scenario, Store,
};

/// A collector beside clients.
fn beside(store: Store, clients: &[Task]) -> Scenario {
    let clients = clients.to_vec();
    Scenario { store, clients, collectors: 1, runs: 3, ..Scenario::default() }
}

fn two_collectors(store: Store, clients: &[Task]) -> Scenario {
    Scenario { collectors: 2, runs: 2, ..beside(store, clients) }
}

fn sound(scenarios: Vec<(&str, Scenario)>) {
    assert!(common::sound("untagged", scenarios), "nothing goes");
}

fn finds(scenario: &Scenario, properties: &[&str], defects: &[Defect]) {
    common::finds("untagged", scenario, properties, defects);
}

#[test]
fn a_collector_that_dies_beside_a_client() {
    let mut all = Vec::new();
    for (name, store, task) in [
        ("pull", Store::untagged(), Task::Pull),
        ("pull of what was taken", Store::taken(), Task::Pull),
        ("pull of what expires", Store::condemned(), Task::Pull),
        ("push", Store::untagged(), Task::Push),
        ("push of what expires", Store::condemned(), Task::Push),
        ("index", Store::untagged(), Task::Index),
        ("index of what expires", Store::condemned(), Task::Index),
        ("index of what has expired", Store::expired(), Task::Index),
    ] {
        let (crashes, fair) = (1, true);
        all.push((name, Scenario { crashes, fair, ..beside(store, &[task]) }));
    }
    sound(all);
}

#[test]
fn a_collector_beside_a_deletion() {
    let mut all = Vec::new();
    for store in [Store::untagged(), Store::taken(), Store::condemned()] {
        all.push(("deletion", Scenario { crashes: 1, ..beside(store.clone(), &[Task::Delete]) }));
        all.push(("deletion, two collectors", two_collectors(store, &[Task::Delete])));
    }
    sound(all);
}

#[test]
fn two_collectors_beside_a_client() {
    let mut all = Vec::new();
    for (name, store, task) in [
        ("two collectors, pull", Store::untagged(), Task::Pull),
        ("two collectors, pull of what expires", Store::condemned(), Task::Pull),
        ("two collectors, push", Store::untagged(), Task::Push),
        ("two collectors, index", Store::untagged(), Task::Index),
        ("two collectors, index of what has expired", Store::expired(), Task::Index),
    ] {
        all.push((name, two_collectors(store, &[task])));
    }
    sound(all);
}

#[test]
fn two_clients() {
    let mut all = Vec::new();
    for (name, tasks) in [
        ("two pulls", [Task::Pull, Task::Pull]),
        ("pull and push", [Task::Pull, Task::Push]),
        ("pull and index", [Task::Pull, Task::Index]),
        ("push and deletion", [Task::Push, Task::Delete]),
    ] {
        all.push((name, Scenario { runs: 1, ..beside(Store::untagged(), &tasks) }));
        all.push((name, Scenario { runs: 1, ..beside(Store::condemned(), &tasks) }));
    }
    sound(all);
}

#[test]
fn untagged_manifests_go() {
    let scenario = Scenario { runs: 7, ..beside(Store::untagged(), &[]) };
    sound(vec![("nobody", scenario)]);
}

/// Whoever restores writes the need of the bytes first, as whoever makes a link does. But
/// what was taken away is held by then.
#[test]
fn what_is_held_would_do_without_needs() {
    let scenario = two_collectors(Store::condemned(), &[Task::Pull]).with(Defect::NeedsLate);
    sound(vec![("late needs", scenario)]);
}

#[test]
fn a_collector_announces_looks_again_and_moves() {
    let defects = [Defect::NoAnnouncement, Defect::NoSecondGraph, Defect::NoSecondLook];
    for task in [Task::Push, Task::Index] {
        finds(&beside(Store::untagged(), &[task]), &[RESOLVES], &defects);
    }
    let pull = beside(Store::untagged(), &[Task::Pull]);
    finds(&pull, &[FOUND], &[Defect::LinkGoesFirst]);
}

#[test]
fn a_push_publishes_and_then_looks() {
    let defects = [Defect::PushDoesNotWait, Defect::NoLookAfterPublish];
    finds(&beside(Store::untagged(), &[Task::Push]), &[RESOLVES], &defects);
    let index = beside(Store::untagged(), &[Task::Index]);
    finds(&index, &[RESOLVES], &defects);
    finds(&index, &[RESOLVES], &[Defect::IndexDoesNotRestore]);
}

#[test]
fn what_was_taken_away_is_held_until_it_has_expired_for_the_grace() {
    let pull = beside(Store::condemned(), &[Task::Pull]);
    let defects = [
        Defect::HoldsNothing,
        Defect::ExpiredHoldsNothing,
        Defect::ExpiredGoesAtOnce,
        Defect::RestoredHoldsNothing,
        Defect::ExpiredIsFound,
    ];
    finds(&pull, &[COMPLETE, HELD], &defects);
}

#[test]
fn what_was_taken_away_is_found() {
    let pull = beside(Store::untagged(), &[Task::Pull]);
    finds(&pull, &[FOUND], &[Defect::PullDoesNotRestore]);
    let pulls = Scenario { runs: 1, ..beside(Store::condemned(), &[Task::Pull, Task::Pull]) };
    finds(&pulls, &[FOUND], &[Defect::RestoredGoesAtOnce]);
    let push = Scenario { fair: true, ..beside(Store::untagged(), &[Task::Push]) };
    finds(&push, &[GIVEN_BACK], &[Defect::RunRestoresNothing]);
}

#[test]
fn what_was_deleted_by_request_stays_away() {
    let defects = [
        Defect::NoLinkAgain,
        Defect::DeletionLeavesMoved,
        Defect::DeletesMovedOnce,
        Defect::DeletionDoesNotWait,
    ];
    finds(&beside(Store::untagged(), &[Task::Delete]), &[DELETED], &defects);
}

#[test]
fn a_collector_beside_another_one() {
    let pull = two_collectors(Store::untagged(), &[Task::Pull]);
    finds(&pull, &[FOUND], &[Defect::DropsMoved]);
    let index = two_collectors(Store::expired(), &[Task::Index]);
    finds(&index, &[COMPLETE], &[Defect::RunRestoresExpired]);
}
