//! Quarantine in a bucket: no upload is lost, in any history of these scenarios, and each
//! rule is needed for that.

mod common;

use roadstead_model::check::Scenario as _;
use roadstead_model::quarantine::fair::TIDIED;
use roadstead_model::quarantine::{Defect, KEPT, Scenario, Store};

/// A scrub beside uploads, of a blob that belongs to a manifest.
fn one_scrub(uploads: usize) -> Scenario {
    Scenario { store: Store::damaged(true), uploads, scrubs: 1, ..Scenario::default() }
}

fn marked(scenario: Scenario) -> Scenario {
    let store = scenario.store.clone().marked();
    Scenario { store, ..scenario }
}

fn garbage(scenario: Scenario) -> Scenario {
    Scenario { store: Store::damaged(false).marked(), ..scenario }
}

fn sound(scenarios: Vec<(&str, Scenario)>) {
    assert!(common::sound("quarantine", scenarios), "nothing is moved");
}

fn finds(scenario: &Scenario, property: &str, defects: &[Defect]) {
    common::finds("quarantine", scenario, &[property], defects);
}

#[test]
fn a_scrub_beside_uploads() {
    sound(vec![
        ("upload", Scenario { crashes: 1, ..one_scrub(1) }),
        ("two uploads", marked(Scenario { crashes: 1, ..one_scrub(2) })),
    ]);
}

#[test]
fn a_scrub_beside_a_collector() {
    let scenario = Scenario { runs: 2, crashes: 1, fair: true, ..one_scrub(1) };
    sound(vec![
        ("collector", marked(scenario.clone())),
        ("collector of garbage", garbage(Scenario { crashes: 0, ..scenario })),
    ]);
}

#[test]
fn two_scrubs() {
    let scenario = marked(Scenario { scrubs: 2, ..one_scrub(1) });
    sound(vec![("two scrubs", scenario)]);
}

#[test]
fn a_scrub_announces_and_waits() {
    finds(
        &one_scrub(1),
        KEPT,
        &[
            Defect::NoAnnouncement,
            Defect::NoMarker,
            Defect::NoWait,
            Defect::WaitsForTheLonger,
            Defect::ForgetsNeeds,
        ],
    );
}

#[test]
fn a_scrub_looks_last() {
    let defects =
        [Defect::NoLastLook, Defect::LooksFirst, Defect::LooksForNoNeed, Defect::NoSecondLook];
    finds(&one_scrub(1), KEPT, &defects);
}

#[test]
fn an_upload_looks_and_says_that_it_needs_the_blob() {
    let defects = [Defect::UploadDoesNotLook, Defect::UploadDoesNotNeed, Defect::UploadDoesNotWait];
    finds(&marked(one_scrub(1)), KEPT, &defects);
}

#[test]
fn a_scrub_beside_another_one() {
    let scenario = marked(Scenario { scrubs: 2, ..one_scrub(1) });
    finds(&scenario, KEPT, &[Defect::TakesBackAtOnce, Defect::EndsEarly, Defect::GoesOnLate]);
}

#[test]
fn a_collector_leaves_what_is_suspect_to_the_scrub() {
    let scenario = garbage(Scenario { runs: 2, ..one_scrub(1) });
    let defects =
        [Defect::CondemnsSuspects, Defect::OldAnnouncement, Defect::TakesOver, Defect::GoesOnLate];
    finds(&scenario, KEPT, &defects);
    let scenario = marked(Scenario { runs: 2, ..one_scrub(1) });
    finds(&scenario, KEPT, &[Defect::DoesNotGiveWay]);
}

/// A collector repeats a removal that seems to have died, maybe at that very moment.
#[test]
fn a_scrub_takes_over_a_removal_that_has_died() {
    let store = Store::damaged(false).marked().left_by_a_collector();
    let scenario = Scenario { store, runs: 1, ..one_scrub(1) };
    finds(&scenario, KEPT, &[Defect::TakesOverAtOnce]);
    sound(vec![("a removal that has died", Scenario { crashes: 1, ..scenario })]);
}

/// Both are a second line: an upload after the second hash has looked, and its need is
/// found; and no other tombstone comes between so late.
#[test]
fn the_last_look_would_do_without_data_and_tombstone() {
    let scenario = marked(Scenario { scrubs: 2, ..one_scrub(1) });
    let scenario = scenario.with(Defect::LooksForNoData).with(Defect::LooksForNoTombstone);
    sound(vec![("half a last look", scenario)]);
}

#[test]
fn what_is_suspect_is_given_back_after_a_scrub_that_never_went_on() {
    let scenario = marked(Scenario { crashes: 1, fair: true, ..one_scrub(0) });
    finds(&scenario, TIDIED, &[Defect::SuspectForever]);
}
