//! The races that other collectors lose content by, each as a history: with the
//! rule broken that is made for it, the checker finds the loss; with all rules
//! kept, it finds none in the same scenario.

mod common;

use roadstead_model::check::Scenario as _;
use roadstead_model::client::Task;
use roadstead_model::properties::{COMPLETE, NOT_REFUSED, RECOVERABLE};
use roadstead_model::rules::{Defect, Rules};
use roadstead_model::store::{Age, Store};
use roadstead_model::world::Scenario;

fn one(store: Store, task: Task, repository: usize) -> Scenario {
    let clients = vec![(task, repository)];
    Scenario { store, clients, collectors: 1, ..Scenario::default() }
}

fn sighted() -> Store {
    Store::sighted_orphan([true, false])
}

fn two(task: Task, runs: u8) -> Scenario {
    let store = Store::condemned([true, false]);
    Scenario { collectors: 2, runs: Some(runs), ..one(store, task, 0) }
}

/// Each of the defects breaks a property in the scenario, which is sound without.
fn check(name: &str, scenario: &Scenario, defects: &[(Defect, &[&str])]) {
    common::sound(name, vec![("sound", scenario.clone())]);
    for (defect, properties) in defects {
        common::finds(name, scenario, properties, &[*defect]);
    }
}

const LOST: &[&str] = &[COMPLETE, NOT_REFUSED];

/// R1: the blob is finished, and its manifest is not pushed yet.
#[test]
fn r1_blob_finished_manifest_not_yet() {
    check("R1", &one(sighted(), Task::Upload, 0), &[(Defect::NoWait, LOST)]);
}

/// R2: a client saw garbage by HEAD, and does not upload it.
#[test]
fn r2_garbage_seen_by_head() {
    check(
        "R2",
        &one(sighted(), Task::Head, 0),
        &[
            (Defect::LinksStay, LOST),
            (Defect::PushIgnoresMoved, &[NOT_REFUSED]),
            (Defect::WaitsFromTombstone, LOST),
        ],
    );
}

/// R3: a blob is mounted from a repository that lets go of it at that moment.
#[test]
fn r3_mount_from_a_repository_that_lets_go() {
    let store = Store { link: [None, Some(Age::HIGHEST)], ..Store::condemned([false, false]) };
    let scenario = Scenario { deleted_links: vec![1], ..one(store, Task::Mount(1), 0) };
    check("R3", &scenario, &[(Defect::MountDoesNotLook, LOST)]);
}

/// R4: an upload finds the data in place, and writes only the link.
#[test]
fn r4_upload_that_only_links() {
    let defects = [
        (Defect::UploadSkips, LOST),
        (Defect::UploadDoesNotLook, LOST),
        (Defect::UploadDoesNotNeed, LOST),
        (Defect::NoLookBeforeRemoval, LOST),
    ];
    check("R4", &one(sighted(), Task::Upload, 1), &defects);
}

/// R5: a list that fails counts as the end of its repository.
#[test]
fn r5_lists_that_fail() {
    let store = Store { manifest: [true, false], ..sighted() };
    let scenario = Scenario { failures: 2, ..one(store, Task::Push, 0) };
    check("R5", &scenario, &[(Defect::FailedListIsEmpty, &[COMPLETE])]);
}

/// R6: a cache says that the link is there.
#[test]
fn r6_facts_from_a_cache() {
    check("R6", &one(sighted(), Task::Push, 0), &[(Defect::LinkFromCache, &[COMPLETE])]);
}

/// R7: two collectors at once, neither of which knows of the other.
#[test]
fn r7_two_collectors() {
    let defects = [(Defect::EndsEarly, LOST), (Defect::DoesNotGiveWay, LOST)];
    check("R7", &two(Task::Upload, 2), &defects);
    let undo = Scenario { undo: true, ..two(Task::Head, 1) };
    check("R7 by undo", &undo, &[(Defect::GivesBackSilently, LOST)]);
    let undo = Scenario { store: sighted(), ..undo };
    check("R7 by undo of moves", &undo, &[(Defect::MovedGoesAtOnce, LOST)]);
}

/// R8: a collector stalls, and goes on with what it knew.
#[test]
fn r8_a_collector_that_stalls() {
    check("R8", &one(sighted(), Task::Upload, 0), &[(Defect::NoSecondLook, LOST)]);
    check("R8, push", &one(sighted(), Task::Push, 0), &[(Defect::NoSecondLook, &[COMPLETE])]);
}

/// Each side writes before it reads: a push against the move of its link.
#[test]
fn a_push_beside_the_move_of_its_link() {
    let defects = [
        Defect::NoLookAfterPublish,
        Defect::NoReadAfterAnnounce,
        Defect::PushDoesNotWait,
        Defect::ForgetsMoves,
    ];
    let defects = defects.map(|defect| (defect, &[COMPLETE] as &[&str]));
    check("move", &one(sighted(), Task::Push, 0), &defects);
}

/// A push reads where a link was, and then where it is again.
#[test]
fn a_push_beside_a_blob_that_comes_back() {
    let scenario = Scenario { undo: true, runs: Some(2), ..one(sighted(), Task::Head, 0) };
    let scenario = scenario.with(Defect::MovedGoesAtOnce);
    check("come back", &scenario, &[(Defect::PushReadsOnce, &[NOT_REFUSED])]);
}

/// Another registry skips an upload of what it finds, and knows nothing of tombstones.
#[test]
fn another_registry_on_the_same_storage() {
    let rules = Rules { foreign: true, ..Rules::default() };
    let scenario = Scenario { rules, ..one(sighted(), Task::ForeignUpload, 0) };
    check("foreign", &scenario, &[(Defect::RemovesBesideForeign, &[RECOVERABLE])]);
}
