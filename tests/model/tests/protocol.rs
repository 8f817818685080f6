//! The protocol as it is: no property is broken, in any history of any of these
//! scenarios. `MODEL=long` adds those with more clients, collectors and runs.

mod common;

use roadstead_model::client::Task;
use roadstead_model::rules::Rules;
use roadstead_model::store::Store;
use roadstead_model::world::Scenario;

/// A collector that may die once, and fail once to list.
fn one_collector(store: Store, clients: Vec<(Task, usize)>) -> Scenario {
    Scenario { store, clients, collectors: 1, crashes: 1, ..Scenario::default() }
}

fn two_collectors(store: Store, clients: Vec<(Task, usize)>, runs: u8) -> Scenario {
    let runs = Some(runs);
    Scenario { store, clients, collectors: 2, runs, ..Scenario::default() }
}

fn live() -> Store {
    Store { manifest: [true, false], ..Store::orphan([true, false]) }
}

fn sighted() -> Store {
    Store::sighted_orphan([true, false])
}

fn condemned() -> Store {
    Store::condemned([true, false])
}

fn check(scenarios: Vec<(&str, Scenario)>) -> bool {
    common::sound("protocol", scenarios)
}

fn is_long() -> bool {
    std::env::var("MODEL").is_ok_and(|value| value == "long")
}

#[test]
fn one_client_beside_a_collector_that_dies() {
    let mut all = Vec::new();
    for (name, store, task, repository) in [
        ("HEAD", sighted(), Task::Head, 0),
        ("upload", sighted(), Task::Upload, 0),
        ("upload elsewhere", sighted(), Task::Upload, 1),
        ("push alone", sighted(), Task::Push, 0),
        ("mount", sighted(), Task::Mount(0), 1),
        ("GET of what is condemned", condemned(), Task::Read, 0),
        ("upload of what is condemned", condemned(), Task::Upload, 0),
        ("upload elsewhere of what is condemned", condemned(), Task::Upload, 1),
        ("push alone of what is condemned", condemned(), Task::Push, 0),
        ("upload of what is new", Store::default(), Task::Upload, 0),
    ] {
        let scenario = one_collector(store, vec![(task, repository)]);
        all.push((name, Scenario { fair: true, ..scenario }));
    }
    check(all);
}

#[test]
fn deletions_beside_pushes_and_lists_that_fail() {
    let mut all = Vec::new();
    for (name, task, repository) in
        [("HEAD", Task::Head, 0), ("push alone", Task::Push, 0), ("mount", Task::Mount(0), 1)]
    {
        let scenario = one_collector(live(), vec![(task, repository)]);
        let (crashes, failures, deleted_manifests) = (0, 2, vec![0]);
        all.push((name, Scenario { crashes, failures, deleted_manifests, ..scenario }));
    }
    let lets_go = one_collector(sighted(), vec![(Task::Mount(0), 1)]);
    all.push((
        "mount from one that lets go",
        Scenario { crashes: 0, deleted_links: vec![0], ..lets_go },
    ));
    check(all);
}

#[test]
fn two_collectors_do_no_harm() {
    let mut all = Vec::new();
    for (name, task, repository) in [
        ("two collectors, upload elsewhere", Task::Upload, 1),
        ("two collectors, GET", Task::Read, 0),
        ("two collectors, push alone", Task::Push, 0),
    ] {
        all.push((name, two_collectors(condemned(), vec![(task, repository)], 2)));
    }
    all.push(("two collectors, sighted", two_collectors(sighted(), vec![(Task::Push, 0)], 2)));
    let undo = two_collectors(condemned(), vec![(Task::Head, 0)], 1);
    all.push(("undo beside a collector", Scenario { undo: true, ..undo }));
    check(all);
}

#[test]
fn foreign_writers_lose_nothing_that_is_not_given_back() {
    let mut all = Vec::new();
    for (name, task, repository) in [
        ("foreign upload", Task::ForeignUpload, 0),
        ("foreign upload elsewhere", Task::ForeignUpload, 1),
        ("foreign push", Task::ForeignPush, 0),
    ] {
        let scenario = one_collector(sighted(), vec![(task, repository)]);
        let rules = Rules { foreign: true, ..Rules::default() };
        all.push((name, Scenario { rules, fair: true, ..scenario }));
    }
    check(all);
}

/// What is young is spared, and garbage is seen twice, for the sake of what is not
/// modelled: clocks that jump, lists that are out of date, other programs.
#[test]
fn safety_does_not_rest_on_youth_and_two_sightings() {
    let mut all = Vec::new();
    for (name, task, repository) in [
        ("impatient, HEAD", Task::Head, 0),
        ("impatient, upload", Task::Upload, 0),
        ("impatient, upload elsewhere", Task::Upload, 1),
        ("impatient, mount", Task::Mount(0), 1),
        ("impatient, push alone", Task::Push, 0),
    ] {
        let scenario = one_collector(Store::orphan([true, false]), vec![(task, repository)]);
        let rules = Rules { impatient: true, ..Rules::default() };
        all.push((name, Scenario { rules, crashes: 0, ..scenario }));
    }
    check(all);
}

#[test]
fn garbage_goes() {
    let all = [Store::orphan([true, true]), Store::condemned([true, true])];
    let fair = |store| Scenario { fair: true, ..one_collector(store, vec![]) };
    assert!(check(all.map(|store| ("garbage", fair(store))).to_vec()), "garbage never goes");
}

#[test]
fn more_clients_collectors_and_runs() {
    if !is_long() {
        println!("skipped: set MODEL=long, which takes minutes and gigabytes");
        return;
    }
    let pairs = [
        ("HEAD and upload", vec![(Task::Head, 0), (Task::Upload, 1)]),
        ("HEAD and mount", vec![(Task::Head, 0), (Task::Mount(0), 1)]),
        ("push alone and upload", vec![(Task::Push, 0), (Task::Upload, 0)]),
    ];
    let mut all = Vec::new();
    for (name, clients) in pairs {
        let scenario = one_collector(condemned(), clients.clone());
        all.push((name, Scenario { crashes: 0, ..scenario }));
        let scenario = one_collector(sighted(), clients);
        all.push((name, Scenario { crashes: 0, runs: Some(3), ..scenario }));
    }
    for (name, task) in [("upload, twice sighted", Task::Upload), ("HEAD", Task::Head)] {
        all.push((name, two_collectors(sighted(), vec![(task, 0)], 2)));
    }
    for (name, task) in [("upload, three runs", Task::Upload), ("push", Task::Push)] {
        all.push((name, two_collectors(condemned(), vec![(task, 0)], 3)));
    }
    let dying = two_collectors(condemned(), vec![(Task::Upload, 0)], 2);
    all.push(("two that die", Scenario { crashes: 1, ..dying }));
    check(all);
}
