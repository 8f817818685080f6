//! Tags that expire beside clients: what is pushed while a run removes tags, or brings them back,
//! stays, in every order of the operations of the storage up to a bound, and with faults at each.
//!
//! `EXPLORE=long` tries more orders than a run in CI has time for.

use crate::explorer::{LONG, report};
use roadstead_kit::bucket::Conditions;
use roadstead_kit::explorer::Ask::{self, Delete, DeleteRepository, DeleteTag, Get, GetTag, Put};
use roadstead_kit::explorer::Item::{Plain, Referrer};
use roadstead_kit::explorer::{
    Bound, Expiry, Fault, FaultKind, Found, Lapse, Medium, expire_beside, lapse_beside,
};

/// A tag that has expired.
const OLD: &[Ask] = &[Put(Plain, Some("a"))];

/// Two of them, and a manifest.
const BOTH: &[Ask] = &[Put(Referrer, None), Put(Plain, Some("a")), Put(Plain, Some("b"))];

const REMOVED: &[Expiry] = &[
    // It is pushed again, with the same digest and with another one.
    of(OLD, &[&[Put(Plain, Some("a"))]]),
    of(OLD, &[&[Put(Referrer, Some("a"))]]),
    of(OLD, &[&[Put(Referrer, Some("a")), Put(Plain, Some("a"))]]),
    of(BOTH, &[&[Put(Plain, Some("a"))], &[Put(Referrer, Some("b"))]]),
    of(OLD, &[&[Put(Plain, Some("a"))], &[Put(Plain, Some("a"))]]),
    of(OLD, &[&[Put(Plain, Some("a"))], &[Put(Referrer, Some("a"))]]),
    // Another tag of the same manifest, and a new one.
    of(OLD, &[&[Put(Plain, Some("b"))]]),
    of(OLD, &[&[Put(Plain, None)]]),
    // Pulls and deletions.
    of(OLD, &[&[GetTag("a"), Get(Plain)]]),
    of(OLD, &[&[DeleteTag("a")]]),
    of(OLD, &[&[DeleteTag("a"), Put(Plain, Some("a"))]]),
    of(OLD, &[&[Delete(Plain)]]),
    of(OLD, &[&[Delete(Plain)], &[Put(Plain, Some("a"))]]),
    of(OLD, &[&[DeleteRepository]]),
];

const UNDONE: &[Expiry] = &[
    undone(&[&[Put(Plain, Some("a"))]]),
    undone(&[&[Put(Referrer, Some("a"))]]),
    undone(&[&[Put(Referrer, Some("a"))], &[Put(Plain, Some("b"))]]),
    undone(&[&[DeleteTag("a")]]),
    undone(&[&[Delete(Plain)]]),
    undone(&[&[Delete(Plain)], &[Put(Referrer, Some("b"))]]),
];

const fn of(before: &'static [Ask], clients: &'static [&'static [Ask]]) -> Expiry {
    Expiry { before, clients, undoes: false, collectors: 1 }
}

const fn undone(clients: &'static [&'static [Ask]]) -> Expiry {
    Expiry { before: BOTH, clients, undoes: true, collectors: 1 }
}

fn is_long() -> bool {
    std::env::var_os(LONG).is_some()
}

fn bound(medium: Medium) -> Bound {
    match (is_long(), matches!(medium, Medium::Bucket(_))) {
        (true, true) => Bound { orders: 20_000, preemptions: 3, seeds: 5_000 },
        (true, false) => Bound { orders: 4_000, preemptions: 3, seeds: 5_000 },
        (false, true) => Bound { orders: 50, preemptions: 2, seeds: 20 },
        // The first orders differ in the last steps alone: seeds reach the rest.
        (false, false) => Bound { orders: 5, preemptions: 2, seeds: 25 },
    }
}

fn check(what: &str, media: &[Medium], scenarios: &[Expiry]) {
    let mut failures = Vec::new();
    for &medium in media {
        let mut runs = 0;
        for scenario in scenarios {
            let Found { runs: tried, violation, .. } =
                expire_beside(medium, scenario, bound(medium), None);
            runs += tried;
            failures.extend(violation);
        }
        eprintln!("{what} over {medium:?}: {runs} interleavings of {}", scenarios.len());
        assert!(runs > scenarios.len() || !failures.is_empty(), "nobody met");
    }
    report(&failures);
}

#[test]
fn tags_expire_beside_clients_of_a_directory() {
    check("tags expire", &[Medium::Directory, Medium::SharedDirectory], REMOVED);
}

#[test]
fn tags_expire_beside_clients_of_a_bucket() {
    let media = [Medium::Bucket(Conditions::Honoured), Medium::Bucket(Conditions::Ignored)];
    check("tags expire", &media, REMOVED);
}

/// Two processes that both go on with the run.
#[test]
fn tags_expire_twice_beside_clients() {
    let twice: Vec<Expiry> =
        REMOVED.iter().take(6).map(|one| Expiry { collectors: 2, ..*one }).collect();
    check(
        "tags expire twice",
        &[Medium::SharedDirectory, Medium::Bucket(Conditions::Ignored)],
        &twice,
    );
}

/// Where a store ignores conditions, a push at the moment of an undo may be overwritten, as one
/// of a tag that never changes.
#[test]
fn tags_come_back_beside_clients() {
    let media = [Medium::Directory, Medium::SharedDirectory, Medium::Bucket(Conditions::Honoured)];
    check("tags come back", &media, UNDONE);
}

/// Whichever operation of a run fails, or is its last: nothing is lost, and later runs do the
/// rest.
#[test]
fn tags_expire_and_a_fault_at_every_operation() {
    let kinds = [FaultKind::Stops, FaultKind::Fails, FaultKind::LosesAnswer];
    let (orders, seeds) = if is_long() { (100, 50) } else { (2, 1) };
    let bound = Bound { orders, preemptions: 1, seeds };
    let scenarios = [REMOVED[0], REMOVED[1], UNDONE[1]];
    let mut failures = Vec::new();
    for medium in [Medium::SharedDirectory, Medium::Bucket(Conditions::Honoured)] {
        let is_directory = medium == Medium::SharedDirectory;
        for kind in kinds {
            if is_directory && kind == FaultKind::LosesAnswer {
                continue;
            }
            let (mut runs, mut points) = (0, 0);
            for scenario in &scenarios {
                // The faults of the run, which comes after the clients.
                for at in (0..).step_by(if is_directory && !is_long() { 5 } else { 1 }) {
                    let fault = Some(Fault { at, kind });
                    let found = expire_beside(medium, scenario, bound, fault);
                    if !found.faulted && found.violation.is_none() {
                        break;
                    }
                    runs += found.runs;
                    points += 1;
                    failures.extend(found.violation);
                }
            }
            eprintln!("{kind:?} over {medium:?}: {points} points in {runs} interleavings");
            assert!(points > scenarios.len() || !failures.is_empty(), "nothing went wrong");
        }
    }
    report(&failures);
}

/// Each rule is kept for a reason, which is found.
#[test]
fn a_collector_that_removes_tags_wrongly_is_found() {
    let bound = Bound { orders: 2_000, preemptions: 2, seeds: 2_000 };
    let medium = Medium::Bucket(Conditions::Ignored);
    for (scenario, lapse) in [
        (REMOVED[0], Lapse::NoSecondLook),
        (REMOVED[1], Lapse::NoSecondLook),
        (REMOVED[0], Lapse::DoesNotAnnounce),
        (REMOVED[1], Lapse::DoesNotAnnounce),
    ] {
        let found = lapse_beside(medium, &scenario, Some(lapse), bound);
        eprintln!("{lapse:?}: after {} interleavings", found.runs);
        assert!(found.violation.is_some(), "{lapse:?} was not found");
        let found = lapse_beside(medium, &scenario, None, bound);
        eprintln!("without it: {} interleavings", found.runs);
        report(&found.violation.into_iter().collect::<Vec<_>>());
    }
}
