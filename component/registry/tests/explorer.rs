//! Requests that meet in every order of their storage operations up to a bound,
//! and requests that fail at each of their operations.
//!
//! `EXPLORE=long` tries more orders than a run in CI has time for.

use roadstead_kit::bucket::Conditions;
use roadstead_kit::explorer::{
    Ask, Bound, Collected, Defect, Encounter, Fault, FaultKind, Found, Item, Medium, Meeting,
    Meets, Phase, Quota, Scenario, Scrubber, Slip, collect_beside, encounter, explore, inject,
    meet, notify, push_beside, scrub_beside,
};

/// The variable that asks for more orders.
pub(crate) const LONG: &str = "EXPLORE";

fn bound(medium: Medium) -> Bound {
    // A bucket's operations are few and quick. Over a directory there are too many
    // orders, and the first ones differ in the last steps alone: seeds reach the rest.
    let is_bucket = matches!(medium, Medium::Bucket(_));
    match (std::env::var_os(LONG), is_bucket) {
        (Some(_), true) => Bound { orders: 100_000, preemptions: 3, seeds: 20_000 },
        (Some(_), false) => Bound { orders: 20_000, preemptions: 3, seeds: 20_000 },
        (None, true) => Bound { orders: 300, preemptions: 2, seeds: 60 },
        (None, false) => Bound { orders: 20, preemptions: 2, seeds: 110 },
    }
}

use Ask::{
    Append, AppendMore, Cancel, Commit, Delete, DeleteBlob, DeleteRepository, DeleteTag, Get,
    GetBlob, GetTag, HeadBlob, Mount, PushBlob, PushSource, Put, Referrers, Start, Tags,
};
use Item::{Image, Index, Plain, Referrer};

/// A manifest with a tag.
const TAGGED: &[Ask] = &[Put(Plain, Some("a"))];

/// The same with a manifest that refers to it.
const REFERRED: &[Ask] = &[Put(Plain, Some("a")), Put(Referrer, None)];

const MANIFESTS: &[Scenario] = &[
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("b"))] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("a"))] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, None)] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Delete(Plain)] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), DeleteTag("a")] },
    Scenario { before: TAGGED, asks: &[DeleteTag("a"), Put(Plain, Some("a"))] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Get(Plain)] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), GetTag("a")] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Tags] },
    Scenario { before: &[], asks: &[Put(Plain, Some("a")), Put(Plain, Some("a"))] },
    Scenario { before: &[], asks: &[Put(Plain, Some("a")), Get(Plain)] },
    Scenario { before: &[], asks: &[Put(Plain, Some("a")), Tags] },
    // The tag moves to another manifest while the one that it led to is deleted.
    Scenario { before: REFERRED, asks: &[Delete(Plain), Put(Referrer, Some("a"))] },
    Scenario { before: REFERRED, asks: &[Put(Plain, Some("b")), Put(Referrer, Some("b"))] },
    // Referrers.
    Scenario { before: REFERRED, asks: &[Delete(Referrer), Put(Referrer, None)] },
    Scenario { before: REFERRED, asks: &[Delete(Referrer), Put(Referrer, Some("b"))] },
    Scenario { before: REFERRED, asks: &[Delete(Referrer), Referrers] },
    Scenario { before: TAGGED, asks: &[Referrers, Put(Referrer, None)] },
];

/// Too many orders to try all.
const CROWDS: &[Scenario] = &[
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("b")), Get(Plain)] },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("b")), GetTag("b")] },
    Scenario {
        before: TAGGED,
        asks: &[Delete(Plain), Put(Plain, Some("b")), Put(Plain, Some("c"))],
    },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("b")), Delete(Plain)] },
    Scenario {
        before: REFERRED,
        asks: &[Delete(Plain), Put(Plain, Some("b")), Put(Referrer, Some("a")), DeleteTag("b")],
    },
    Scenario { before: REFERRED, asks: &[Delete(Referrer), Put(Referrer, None), Delete(Referrer)] },
    Scenario { before: REFERRED, asks: &[Delete(Referrer), Put(Referrer, None), Referrers] },
];

/// An image with its blob.
const IMAGE: &[Ask] = &[PushBlob, Put(Image, Some("a"))];

const REPOSITORIES: &[Scenario] = &[
    Scenario { before: TAGGED, asks: &[DeleteRepository, Put(Plain, Some("b"))] },
    Scenario { before: TAGGED, asks: &[DeleteRepository, Put(Referrer, Some("a"))] },
    Scenario { before: REFERRED, asks: &[DeleteRepository, Referrers] },
    // An image stays with its blob, or neither does.
    Scenario { before: &[PushBlob], asks: &[DeleteRepository, Put(Image, Some("a"))] },
    Scenario { before: IMAGE, asks: &[DeleteRepository, Put(Image, Some("b"))] },
    Scenario { before: IMAGE, asks: &[DeleteRepository, PushBlob] },
    Scenario { before: IMAGE, asks: &[DeleteRepository, Put(Image, Some("b")), Delete(Image)] },
];

/// Which of the deletions goes on is decided by the names that they make up, so
/// these are not repeated order by order.
const SAME_REPOSITORY: &[Scenario] = &[
    Scenario { before: IMAGE, asks: &[DeleteRepository, DeleteRepository] },
    Scenario { before: IMAGE, asks: &[DeleteRepository, Put(Image, Some("b")), DeleteRepository] },
];

const BLOBS: &[Scenario] = &[
    Scenario { before: &[PushSource], asks: &[Mount, DeleteBlob] },
    Scenario { before: &[PushSource, Mount], asks: &[Mount, DeleteBlob] },
    Scenario { before: &[PushBlob], asks: &[PushBlob, DeleteBlob] },
    Scenario { before: &[], asks: &[PushBlob, PushBlob] },
    Scenario { before: &[PushBlob], asks: &[DeleteBlob, HeadBlob] },
    Scenario { before: &[PushBlob], asks: &[DeleteBlob, Put(Image, Some("a"))] },
    Scenario { before: &[PushBlob], asks: &[DeleteBlob, DeleteBlob] },
    Scenario { before: &[PushSource], asks: &[Mount, PushBlob, DeleteBlob] },
];

const UPLOADS: &[Scenario] = &[
    Scenario { before: &[Start, Append], asks: &[Commit, Cancel] },
    Scenario { before: &[Start, Append], asks: &[Commit, AppendMore] },
    Scenario { before: &[Start, Append], asks: &[AppendMore, Cancel] },
    Scenario { before: &[Start, Append], asks: &[AppendMore, AppendMore] },
    Scenario { before: &[Start, Append], asks: &[Commit, Commit] },
    Scenario { before: &[Start, Append], asks: &[Cancel, Cancel] },
    Scenario { before: &[Start, Append], asks: &[Commit, DeleteBlob, PushBlob] },
    Scenario { before: &[Start], asks: &[Append, Cancel] },
];

/// The tag that never changes.
const FIXED: &[Scenario] = &[
    Scenario { before: &[], asks: &[Put(Plain, Some("f")), Put(Referrer, Some("f"))] },
    Scenario { before: &[], asks: &[Put(Plain, Some("f")), Put(Plain, Some("f"))] },
    Scenario {
        before: &[Put(Plain, Some("f"))],
        asks: &[Put(Referrer, Some("f")), Put(Plain, Some("f"))],
    },
    Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("f"))] },
    Scenario { before: &[Put(Plain, Some("f"))], asks: &[Delete(Plain), Put(Plain, Some("a"))] },
    Scenario { before: TAGGED, asks: &[DeleteTag("f"), Put(Plain, Some("f"))] },
    Scenario { before: TAGGED, asks: &[DeleteRepository, Put(Plain, Some("f"))] },
    Scenario { before: &[], asks: &[Put(Plain, Some("f")), Put(Referrer, Some("f")), GetTag("f")] },
];

/// Explores scenarios over all media, and prints what was tried.
fn check(name: &str, scenarios: &[Scenario]) {
    check_within(name, scenarios, bound);
}

fn check_within(name: &str, scenarios: &[Scenario], bound: impl Fn(Medium) -> Bound) {
    let mut failures = Vec::new();
    for medium in Medium::ALL {
        let (mut runs, mut complete) = (0, 0);
        for scenario in scenarios {
            let Found { runs: tried, complete: all, violation, .. } =
                explore(medium, scenario, bound(medium), &[]);
            runs += tried;
            complete += usize::from(all);
            failures.extend(violation);
        }
        eprintln!(
            "{name} over {medium:?}: {runs} interleavings, all of {complete} of {} scenarios",
            scenarios.len()
        );
        assert!(runs > scenarios.len() || !failures.is_empty(), "no request met another");
    }
    report(&failures);
}

pub(crate) fn report(failures: &[String]) {
    for failure in failures {
        eprintln!("{failure}");
    }
    assert!(failures.is_empty(), "{} violations, printed above", failures.len());
}

#[test]
fn manifests_and_tags_in_every_order() {
    check("manifests", MANIFESTS);
}

#[test]
fn many_requests_for_manifests_in_many_orders() {
    check("crowds", CROWDS);
}

#[test]
fn repositories_in_every_order() {
    check("repositories", REPOSITORIES);
}

#[test]
fn deletions_of_one_repository_in_many_orders() {
    let by_seed = |medium| Bound { orders: 0, ..bound(medium) };
    check_within("deletions of one repository", SAME_REPOSITORY, by_seed);
}

#[test]
fn a_tag_that_never_changes_in_every_order() {
    check("the tag that never changes", FIXED);
}

#[test]
fn blobs_in_every_order() {
    check("blobs", BLOBS);
}

#[test]
fn uploads_in_every_order() {
    check("uploads", UPLOADS);
}

/// What each request fails in.
const FLOWS: &[(&[Ask], Ask)] = &[
    (&[], Put(Plain, Some("a"))),
    (&[], Put(Plain, None)),
    (TAGGED, Put(Plain, Some("b"))),
    (TAGGED, Put(Referrer, Some("a"))),
    (&[], Put(Plain, Some("f"))),
    (&[PushBlob], Put(Image, Some("a"))),
    (&[Put(Plain, Some("a")), Put(Plain, Some("b"))], Delete(Plain)),
    (REFERRED, Delete(Referrer)),
    (&[Put(Plain, Some("a")), Put(Referrer, Some("a"))], Delete(Plain)),
    (TAGGED, DeleteTag("a")),
    (IMAGE, DeleteRepository),
    (REFERRED, DeleteRepository),
    (&[], PushBlob),
    (&[PushSource], Mount),
    (&[PushBlob], DeleteBlob),
    (&[Start], Append),
    (&[Start, Append], AppendMore),
    (&[Start, Append], Commit),
    (&[Start, Append], Cancel),
    (REFERRED, Tags),
    (REFERRED, Referrers),
    (TAGGED, GetTag("a")),
    (&[PushBlob], HeadBlob),
];

#[test]
fn a_fault_at_every_operation() {
    let mut failures = Vec::new();
    let kinds = [FaultKind::Stops, FaultKind::Fails, FaultKind::Tears, FaultKind::LosesAnswer];
    for medium in [Medium::Directory, Medium::Bucket(Conditions::Honoured)] {
        for kind in kinds {
            if kind == FaultKind::LosesAnswer && medium == Medium::Directory
                || kind == FaultKind::Tears && medium != Medium::Directory
            {
                continue;
            }
            let mut points = 0;
            for &(before, ask) in FLOWS {
                let Found { runs, violation, .. } = inject(medium, before, ask, kind);
                assert!(runs > 0 || violation.is_some(), "{ask:?} has no steps");
                points += runs;
                failures.extend(violation);
            }
            eprintln!("{kind:?} over {medium:?}: {points} fault points");
        }
    }
    report(&failures);
}

/// A process dies at each operation of its request while another's goes on.
#[test]
fn a_process_dies_beside_another() {
    let scenarios = [
        Scenario { before: TAGGED, asks: &[Delete(Plain), Put(Plain, Some("b"))] },
        Scenario { before: TAGGED, asks: &[Put(Plain, Some("b")), Delete(Plain)] },
        Scenario { before: REFERRED, asks: &[Delete(Referrer), Put(Referrer, None)] },
        Scenario { before: IMAGE, asks: &[DeleteRepository, Put(Image, Some("b"))] },
    ];
    let (orders, seeds) = if std::env::var_os(LONG).is_some() { (2_000, 500) } else { (4, 3) };
    let bound = Bound { orders, preemptions: 2, seeds };
    let mut failures = Vec::new();
    for medium in [Medium::SharedDirectory, Medium::Bucket(Conditions::Ignored)] {
        let (mut runs, mut points) = (0, 0);
        for scenario in &scenarios {
            for at in 0.. {
                let stops = Some(Fault { at, kind: FaultKind::Stops });
                let Found { runs: more, faulted, violation, .. } =
                    explore(medium, scenario, bound, &[stops]);
                if !faulted {
                    break;
                }
                runs += more;
                points += 1;
                failures.extend(violation);
            }
        }
        eprintln!("deaths over {medium:?}: {points} fault points in {runs} interleavings");
        assert!(points > 0 || !failures.is_empty(), "no process died");
    }
    report(&failures);
}

/// The push that needs the blob.
const PUSH: Ask = Put(Image, Some("a"));

/// A collector beside clients.
const MEETINGS: &[Meeting] = &[
    // Its links are moved.
    Meeting {
        before: &[PushBlob],
        condemned: false,
        phases: &[Phase::Condemn],
        clients: &[&[HeadBlob, PUSH]],
    },
    Meeting {
        before: &[PushBlob],
        condemned: false,
        phases: &[Phase::Condemn],
        clients: &[&[GetBlob, PUSH]],
    },
    Meeting {
        before: &[PushSource],
        condemned: false,
        phases: &[Phase::Condemn],
        clients: &[&[Mount, PUSH]],
    },
    // And then its data is removed.
    Meeting {
        before: &[PushBlob],
        condemned: false,
        phases: &[Phase::Condemn, Phase::Wait, Phase::Remove],
        clients: &[&[HeadBlob, PUSH]],
    },
    Meeting {
        before: &[PushBlob],
        condemned: true,
        phases: &[Phase::Remove],
        clients: &[&[PushBlob, PUSH]],
    },
    Meeting {
        before: &[PushBlob],
        condemned: true,
        phases: &[Phase::Remove],
        clients: &[&[GetBlob, PUSH]],
    },
    Meeting { before: &[PushBlob], condemned: true, phases: &[Phase::Remove], clients: &[&[PUSH]] },
    Meeting {
        before: &[PushSource],
        condemned: true,
        phases: &[Phase::Remove],
        clients: &[&[Mount, PUSH]],
    },
    // Two clients, and deletions.
    Meeting {
        before: &[PushBlob],
        condemned: true,
        phases: &[Phase::Remove],
        clients: &[&[PushBlob], &[PUSH]],
    },
    Meeting {
        before: &[PushBlob],
        condemned: false,
        phases: &[Phase::Condemn],
        clients: &[&[DeleteBlob], &[HeadBlob, PUSH]],
    },
    Meeting {
        before: &[PushBlob, PUSH],
        condemned: false,
        phases: &[Phase::Condemn, Phase::Wait, Phase::Remove],
        clients: &[&[Delete(Image)], &[HeadBlob, PUSH]],
    },
    // The whole repository is deleted.
    Meeting {
        before: &[PushBlob],
        condemned: false,
        phases: &[Phase::Condemn],
        clients: &[&[DeleteRepository], &[HeadBlob, PUSH]],
    },
    Meeting {
        before: &[PushBlob],
        condemned: true,
        phases: &[Phase::Remove],
        clients: &[&[DeleteRepository], &[PushBlob, PUSH]],
    },
];

const COLLECTED: [Medium; 2] = [Medium::SharedDirectory, Medium::Bucket(Conditions::Ignored)];

#[test]
fn a_collector_beside_clients() {
    let mut failures = Vec::new();
    for medium in COLLECTED {
        let mut runs = 0;
        for meeting in MEETINGS {
            let all = bound(medium);
            // A meeting has more steps than most scenarios.
            let bound = Bound { orders: all.orders / 2, seeds: all.seeds / 2, ..all };
            let found = meet(medium, meeting, None, bound);
            runs += found.runs;
            failures.extend(found.violation);
        }
        eprintln!("a collector over {medium:?}: {runs} interleavings");
        assert!(runs > MEETINGS.len() || !failures.is_empty(), "nobody met");
    }
    report(&failures);
}

/// Each rule is kept for a reason, which is found: in a bucket, as a directory has
/// many more orders.
#[test]
fn a_collector_that_breaks_a_rule_is_found() {
    let moved = Meeting {
        before: &[PushBlob],
        condemned: false,
        phases: &[Phase::Condemn],
        clients: &[&[HeadBlob, PUSH]],
    };
    let removed = Meeting { phases: &[Phase::Condemn, Phase::Wait, Phase::Remove], ..moved };
    let needed = Meeting {
        condemned: true,
        phases: &[Phase::Remove],
        clients: &[&[PushBlob, PUSH]],
        ..moved
    };
    let bound = Bound { orders: 2_000, preemptions: 2, seeds: 2_000 };
    for (meeting, defect) in [
        (moved, Defect::NoSecondList),
        (moved, Defect::DoesNotAnnounce),
        (removed, Defect::DoesNotWait),
        (needed, Defect::NoLastLook),
    ] {
        let found = meet(Medium::Bucket(Conditions::Ignored), &meeting, Some(defect), bound);
        eprintln!("{defect:?}: after {} interleavings", found.runs);
        assert!(found.violation.is_some(), "{defect:?} was not found");
    }
}

/// The registry's own collector beside clients, when it condemns the blob, and when it
/// removes it.
const COLLECTIONS: &[Collected] = &[
    Collected { before: &[PushBlob], condemned: false, clients: &[&[HeadBlob, PUSH]] },
    Collected { before: &[PushBlob], condemned: false, clients: &[&[GetBlob, PUSH]] },
    Collected { before: &[PushSource], condemned: false, clients: &[&[Mount, PUSH]] },
    Collected { before: &[PushBlob], condemned: true, clients: &[&[PushBlob, PUSH]] },
    Collected { before: &[PushBlob], condemned: true, clients: &[&[GetBlob, PUSH]] },
    Collected { before: &[PushBlob], condemned: true, clients: &[&[PUSH]] },
    Collected { before: &[PushSource], condemned: true, clients: &[&[Mount, PUSH]] },
    Collected { before: &[PushBlob], condemned: true, clients: &[&[PushBlob], &[PUSH]] },
    Collected {
        before: &[PushBlob],
        condemned: false,
        clients: &[&[DeleteBlob], &[HeadBlob, PUSH]],
    },
    Collected {
        before: &[PushBlob],
        condemned: true,
        clients: &[&[DeleteRepository], &[PushBlob, PUSH]],
    },
];

#[test]
fn the_registry_collects_in_a_directory_beside_clients() {
    collects_beside_clients(Medium::SharedDirectory);
}

#[test]
fn the_registry_collects_in_a_bucket_beside_clients() {
    collects_beside_clients(Medium::Bucket(Conditions::Ignored));
}

fn collects_beside_clients(medium: Medium) {
    let mut failures = Vec::new();
    for meets in [Meets::Actions, Meets::ActionsTwice, Meets::All] {
        let mut runs = 0;
        for collected in COLLECTIONS {
            let all = bound(medium);
            // A run has so many operations that only the orders with one interruption are few
            // enough to be tried all: a client that comes between any two of them. Over a
            // directory it has several times as many.
            let fewer = match (medium, meets) {
                (Medium::SharedDirectory, _) => 8,
                (_, Meets::Actions) => 1,
                (_, Meets::ActionsTwice | Meets::All) => 3,
            };
            let (orders, seeds) = (all.orders / fewer, all.seeds / fewer as u64);
            let bound = Bound { orders, preemptions: all.preemptions - 1, seeds };
            let found = collect_beside(medium, collected, meets, bound, None);
            runs += found.runs;
            failures.extend(found.violation);
        }
        eprintln!("{meets:?} of the registry's collector over {medium:?}: {runs} interleavings");
        assert!(runs > COLLECTIONS.len() || !failures.is_empty(), "nobody met");
    }
    report(&failures);
}

#[test]
fn the_registry_collects_in_a_directory_and_a_fault_at_every_operation() {
    collects_with_faults(Medium::SharedDirectory, &[FaultKind::Stops, FaultKind::Fails]);
}

#[test]
fn the_registry_collects_in_a_bucket_and_a_fault_at_every_operation() {
    let kinds = [FaultKind::Stops, FaultKind::Fails, FaultKind::LosesAnswer];
    collects_with_faults(Medium::Bucket(Conditions::Ignored), &kinds);
}

/// Whichever operation of a run fails, or is its last: nothing is lost, nobody waits for
/// ever, and later runs do the rest.
fn collects_with_faults(medium: Medium, kinds: &[FaultKind]) {
    let (orders, seeds) = if std::env::var_os(LONG).is_some() { (200, 100) } else { (2, 1) };
    let bound = Bound { orders, preemptions: 1, seeds };
    let mut failures = Vec::new();
    for &kind in kinds {
        let (mut runs, mut points) = (0, 0);
        // Over a directory, a run has several times as many operations.
        let is_directory = medium == Medium::SharedDirectory;
        let step = if is_directory && std::env::var_os(LONG).is_none() { 11 } else { 1 };
        for collected in COLLECTIONS {
            for at in (0..).step_by(step) {
                let fault = Some(Fault { at, kind });
                let found = collect_beside(medium, collected, Meets::Actions, bound, fault);
                if !found.faulted && found.violation.is_none() {
                    break;
                }
                runs += found.runs;
                points += 1;
                failures.extend(found.violation);
            }
        }
        eprintln!(
            "{kind:?} of the registry's collector over {medium:?}: {points} points in {runs} \
             interleavings"
        );
        assert!(points > COLLECTIONS.len() || !failures.is_empty(), "nothing went wrong");
    }
    report(&failures);
}

/// Clients that upload a damaged blob while a scrub moves it out of the way.
const UPLOADERS: &[&[&[Ask]]] = &[
    &[&[PushBlob, PUSH]],
    &[&[HeadBlob, PushBlob, PUSH]],
    &[&[PushBlob], &[PushBlob, PUSH]],
    &[&[PUSH]],
];

/// The same where processes share a directory: an upload of another process may be out
/// of the way for a moment, and is back when the scrub has looked at it.
const UPLOADERS_ELSEWHERE: &[&[&[Ask]]] = &[&[&[PushBlob]], &[&[PushBlob], &[PushBlob]]];

#[test]
fn an_upload_beside_a_quarantine_stays() {
    let mut failures = Vec::new();
    for (medium, meetings) in [
        (Medium::Directory, UPLOADERS),
        (Medium::SharedDirectory, UPLOADERS_ELSEWHERE),
        (Medium::Bucket(Conditions::Ignored), UPLOADERS),
    ] {
        let mut runs = 0;
        for clients in meetings {
            let all = bound(medium);
            let bound = Bound { orders: all.orders / 2, seeds: all.seeds / 2, ..all };
            let found = scrub_beside(medium, clients, Scrubber::Registry, bound);
            runs += found.runs;
            failures.extend(found.violation);
        }
        eprintln!("a quarantine over {medium:?}: {runs} interleavings");
        assert!(runs > meetings.len() || !failures.is_empty(), "nobody met");
    }
    report(&failures);
}

#[test]
fn a_quarantine_without_a_last_look_is_found() {
    const UPLOADER: &[&[Ask]] = &[&[PushBlob, PUSH]];
    let bound = Bound { orders: 2_000, preemptions: 2, seeds: 2_000 };
    let medium = Medium::Bucket(Conditions::Ignored);
    let look = |defect| scrub_beside(medium, UPLOADER, Scrubber::Model(defect), bound);
    let found = look(Some(Defect::NoLastLook));
    eprintln!("without a last look: after {} interleavings", found.runs);
    assert!(found.violation.is_some(), "it was not found");
    let found = look(None);
    eprintln!("with a last look: {} interleavings", found.runs);
    assert_eq!(found.violation, None);
}

/// A manifest to which nothing leads is taken away, beside clients that need it, or was
/// before.
const ENCOUNTERS: &[Encounter] = &[
    Encounter { taken: false, takes: true, clients: &[&[Put(Index, Some("a"))]] },
    Encounter { taken: false, takes: true, clients: &[&[Put(Index, None)]] },
    Encounter { taken: false, takes: true, clients: &[&[Put(Plain, Some("a"))]] },
    Encounter { taken: false, takes: true, clients: &[&[Put(Plain, None), Put(Plain, Some("a"))]] },
    Encounter { taken: false, takes: true, clients: &[&[Get(Plain)]] },
    Encounter { taken: false, takes: true, clients: &[&[Delete(Plain)]] },
    Encounter { taken: true, takes: false, clients: &[&[Put(Index, Some("a"))], &[Get(Plain)]] },
    Encounter { taken: true, takes: false, clients: &[&[Put(Plain, Some("a"))], &[Get(Plain)]] },
    Encounter { taken: true, takes: false, clients: &[&[Delete(Plain)]] },
    Encounter { taken: true, takes: false, clients: &[&[Get(Plain), Put(Index, None)]] },
    Encounter {
        taken: false,
        takes: true,
        clients: &[&[Put(Index, Some("a"))], &[Put(Plain, Some("b"))]],
    },
];

#[test]
fn manifests_are_taken_away_beside_clients() {
    let mut failures = Vec::new();
    for medium in COLLECTED {
        let mut runs = 0;
        for one in ENCOUNTERS {
            let all = bound(medium);
            let bound = Bound { orders: all.orders / 2, seeds: all.seeds / 2, ..all };
            let found = encounter(medium, one, None, bound);
            runs += found.runs;
            failures.extend(found.violation);
        }
        eprintln!("manifests are taken away over {medium:?}: {runs} interleavings");
        assert!(runs > ENCOUNTERS.len() || !failures.is_empty(), "nobody met");
    }
    report(&failures);
}

/// Each rule is kept for a reason, which is found.
#[test]
fn a_collector_that_takes_manifests_away_wrongly_is_found() {
    let index = ENCOUNTERS[0];
    let itself = Encounter { clients: &[&[Put(Plain, Some("a"))]], ..index };
    let pull = Encounter { clients: &[&[Get(Plain)]], ..index };
    let deletion = Encounter { clients: &[&[Delete(Plain)]], ..index };
    let bound = Bound { orders: 2_000, preemptions: 2, seeds: 2_000 };
    for (one, slip) in [
        (itself, Slip::NoSecondLook),
        (itself, Slip::DoesNotAnnounce),
        (index, Slip::LeavesNothing),
        (pull, Slip::LeavesLate),
        (deletion, Slip::DoesNotAnnounce),
    ] {
        let found = encounter(Medium::Bucket(Conditions::Ignored), &one, Some(slip), bound);
        eprintln!("{slip:?}: after {} interleavings", found.runs);
        assert!(found.violation.is_some(), "{slip:?} was not found");
    }
}

/// Pushes that share a quota: near to its limit some may be refused that would have had room, and
/// none is admitted for which there is none.
#[test]
fn pushes_share_a_quota() {
    const QUOTAS: [Quota; 5] = [
        Quota { pushes: &["a", "a"], limit: 1, counts: false },
        Quota { pushes: &["a", "b"], limit: 2, counts: false },
        Quota { pushes: &["a", "b"], limit: 2, counts: true },
        Quota { pushes: &["a", "a"], limit: 2, counts: false },
        Quota { pushes: &["a", "b", "c"], limit: 3, counts: false },
    ];
    for medium in Medium::ALL {
        // A directory has many more orders, and threads meet in one elsewhere.
        let quotas = if matches!(medium, Medium::Bucket(_)) { &QUOTAS[..] } else { &QUOTAS[..2] };
        for quota in quotas {
            let found = push_beside(medium, quota, bound(medium));
            if let Some(violation) = found.violation {
                panic!("{violation}");
            }
            assert!(found.runs > 10, "{medium:?} {quota:?}: {}", found.runs);
        }
    }
}

/// Whatever fails, what was acknowledged has its event, and no event is invented.
#[test]
fn faults_lose_and_invent_no_event() {
    let media = [Medium::Directory, Medium::Bucket(Conditions::Honoured)];
    let mut runs = 0;
    for medium in media {
        let kinds: &[FaultKind] = match medium {
            Medium::Bucket(_) => &[FaultKind::Fails, FaultKind::LosesAnswer, FaultKind::Stops],
            _ => &[FaultKind::Fails, FaultKind::Tears, FaultKind::Stops],
        };
        for kind in kinds {
            for (before, ask) in [
                (&[][..], PushBlob),
                (&[PushSource], Mount),
                (&[], Put(Plain, Some("a"))),
                (TAGGED, DeleteTag("a")),
                (TAGGED, Delete(Plain)),
                (TAGGED, DeleteRepository),
                (&[PushBlob], DeleteBlob),
            ] {
                let found = notify(medium, before, ask, *kind);
                if let Some(violation) = found.violation {
                    panic!("{violation}");
                }
                assert!(found.complete && found.runs > 2, "{medium:?} {ask:?}: {}", found.runs);
                runs += found.runs;
            }
        }
    }
    println!("{runs} faults");
}
