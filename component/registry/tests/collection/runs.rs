//! Runs: in slices, one at a time, and what ends them.

use super::questions::get;
use super::world::{
    Client, DAY, GARBAGE, HOUR, World, blob, condemn, exists, fill, layer, name, order,
};
use roadstead_bridge::collect::{REPORTS, ReportsAnswer};
use roadstead_kit::body::pause_by;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_registry::{Progress, Report, SliceOptions};
use roadstead_storage::{Collection, Key, Pages, Storage as _, StorageError};
use std::time::Duration;

#[tokio::test]
async fn slices_of_any_length() {
    slices_of_any_length_over(MemoryBucket::default()).await;
    slices_of_any_length_over(tempfile::tempdir().unwrap()).await;
}

async fn slices_of_any_length_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    for number in 0..20 {
        client.push_image(&format!("many/{number}"), "v", &format!("c {number}"), "l").await;
        client.push_blob(&format!("many/{number}"), b"orphan").await;
    }
    for pass in [2, 2, 10] {
        world.pass(pass * DAY);
        let whole = client.run(&world, SliceOptions { dry_run: true, ..order() }).await;
        let order = SliceOptions { budget: 1, ..order() };
        let sliced = client.run(&world, order).await;
        let figures = |report: &Report| {
            let Report { sighted, condemned, removed, kept, manifests, blobs, .. } = report;
            [*sighted, *condemned, *removed, *kept, *manifests, *blobs]
        };
        assert_eq!(figures(&whole), figures(&sliced));
    }
    assert!(!exists(&storage, blob("orphan")).await);
    assert_eq!(client.status("GET", "/v2/many/7/manifests/v").await, 200);
}

/// By pauses between them that keep to the pace, and are short while moves are announced,
/// as pushes may wait for those.
#[tokio::test]
async fn operations_are_spread() {
    const LINKS: u32 = 20;
    let bucket = MemoryBucket::default().with_tick(Duration::from_millis(1));
    pause_by(&bucket);
    let client = Client(bucket.registry());
    fill(&client).await;
    for number in 0..LINKS {
        client.push_blob("many", format!("orphan {number}").as_bytes()).await;
    }
    bucket.pass(2 * DAY);
    // What manifests refer to is read once.
    client.run(&bucket, order()).await;
    bucket.pass(2 * DAY);
    let mut passed = Vec::new();
    for pace in [Duration::ZERO, Duration::from_millis(20), HOUR] {
        let before = bucket.passed();
        let order = SliceOptions { dry_run: true, pace, ..order() };
        let report = client.run(&bucket, order).await;
        passed.push((bucket.passed().saturating_sub(before), report.operations));
    }
    let ((without, operations), (paced, again), (slow, _)) = (passed[0], passed[1], passed[2]);
    assert_eq!(operations, again);
    let operations = u32::try_from(operations).unwrap();
    // A slice does not wait after its last operations.
    let due = Duration::from_millis(20) * (operations - 10);
    let most = without + Duration::from_millis(20) * operations;
    assert!(paced >= due && paced <= most, "{passed:?}");
    // A slice that takes long pauses no more.
    let (least, most) = (Duration::from_secs(10), without + Duration::from_secs(25));
    assert!(slow >= least && slow <= most, "{passed:?}");

    let report = client.run(&bucket, SliceOptions { pace: HOUR, budget: 1, ..order() }).await;
    assert_eq!(report.condemned, u64::from(LINKS) + GARBAGE, "{report:?}");
    let moved = Collection::Moved(name("many"));
    let moved = Pages::new(&moved, None, 100).next(&bucket.storage()).await.unwrap().unwrap();
    let times: Vec<_> = moved.iter().map(|entry| entry.modified).collect();
    assert_eq!(times.len(), LINKS as usize);
    let span = times.iter().max().unwrap().duration_since(*times.iter().min().unwrap()).unwrap();
    assert!(span < Duration::from_millis(100) * LINKS, "{span:?}");
}

/// A tombstone is an object that is read: no more of them at once than the pace allows.
#[tokio::test]
async fn tombstones_are_read_at_the_pace() {
    let bucket = MemoryBucket::default().with_tick(Duration::from_millis(1));
    pause_by(&bucket);
    let client = Client(bucket.registry());
    for number in 0..300 {
        client.push_blob("many", format!("orphan {number}").as_bytes()).await;
    }
    let report = condemn(&bucket, &client).await;
    assert_eq!(report.condemned, 300, "{report:?}");
    let before = bucket.passed();
    // A slice for each shard. Pauses between pages alone, of a second at most, are too short.
    let pace = Duration::from_millis(500);
    let order = SliceOptions { dry_run: true, pace, budget: 1, ..order() };
    let report = client.run(&bucket, order).await;
    assert_eq!(report.kept, 300, "{report:?}");
    let passed = bucket.passed().saturating_sub(before);
    assert!(passed >= pace * 300, "{passed:?}: {report:?}");
}

#[tokio::test]
async fn a_dry_run_says_what_a_run_does() {
    a_dry_run_says_what_a_run_does_over(MemoryBucket::default()).await;
    a_dry_run_says_what_a_run_does_over(tempfile::tempdir().unwrap()).await;
}

async fn a_dry_run_says_what_a_run_does_over<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    for (pass, removed) in [(2, 0), (2, 0), (10, GARBAGE)] {
        world.pass(pass * DAY);
        let order = SliceOptions { budget: 5, ..order() };
        let dry = client.run(&world, SliceOptions { dry_run: true, ..order }).await;
        let real = client.run(&world, order).await;
        assert!(dry.dry_run && !real.dry_run);
        let comparable = |report: &Report| Report {
            run: String::new(),
            begun: 0,
            dry_run: false,
            operations: 0,
            ..report.clone()
        };
        assert_eq!(comparable(&dry), comparable(&real));
        assert_eq!(real.removed, removed);
    }
}

#[tokio::test]
async fn links_move_in_batches() {
    links_move_in_batches_over(MemoryBucket::default()).await;
    links_move_in_batches_over(tempfile::tempdir().unwrap()).await;
}

async fn links_move_in_batches_over<W: World>(world: W) {
    const BLOBS: u64 = 150;
    let (client, storage) = (Client(world.registry()), world.storage());
    for number in 0..BLOBS {
        client.push_blob("a", format!("orphan {number}").as_bytes()).await;
    }
    let report = condemn(&world, &client).await;
    assert_eq!(report.condemned, BLOBS, "{report:?}");
    let deletions = Collection::Deletions(name("a"));
    let left = storage.enumerate(&deletions, None, 1000).await.unwrap().entries;
    assert!(left.iter().all(|entry| entry.size == 0), "{left:?}");
    assert!(!left.is_empty(), "pushes that read links before find it");
    world.pass(8 * DAY);
    assert_eq!(client.run(&world, order()).await.removed, BLOBS);
}

#[tokio::test]
async fn one_run_at_a_time() {
    one_run_at_a_time_over(MemoryBucket::default()).await;
    one_run_at_a_time_over(tempfile::tempdir().unwrap()).await;
}

async fn one_run_at_a_time_over<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    let small = SliceOptions { budget: 1, ..order() };
    let Progress::Running { run, .. } = client.0.collect(&small).await.unwrap() else {
        panic!("it begins");
    };
    // Another does not begin meanwhile, and does after ten minutes.
    assert!(client.try_run(&world, order()).await.unwrap().is_none());
    world.pass(Duration::from_mins(11));
    assert!(client.try_run(&world, order()).await.unwrap().is_some());
    // The first one has lost its lease.
    let run = Some(u128::from_str_radix(&run, 16).unwrap());
    let resumed = client.0.collect(&SliceOptions { run, ..order() }).await.unwrap();
    assert!(matches!(resumed, Progress::NotDue { .. }), "{resumed:?}");
    // The interval has not passed.
    assert!(client.try_run(&world, order()).await.unwrap().is_none());
    world.pass(DAY);
    let Progress::Running { run, .. } = client.0.collect(&small).await.unwrap() else {
        panic!("it begins");
    };
    // What it has found is too old after half of the grace time.
    world.pass(13 * HOUR);
    let run = Some(u128::from_str_radix(&run, 16).unwrap());
    let error = client.0.collect(&SliceOptions { run, ..small }).await.unwrap_err();
    assert!(error.cause().unwrap().contains("GRACE"), "{error:?}");
}

#[tokio::test]
async fn partial_evidence_ends_a_run() {
    partial_evidence_ends_a_run_over(MemoryBucket::default()).await;
    partial_evidence_ends_a_run_over(tempfile::tempdir().unwrap()).await;
}

async fn partial_evidence_ends_a_run_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    world.pass(2 * DAY);
    client.run(&world, order()).await;
    let lost = client.push_image("lost", "v", "config", "layer").await;
    let bytes = storage.read(&Key::Blob(lost.clone())).await.unwrap();
    storage.delete(&Key::Blob(lost.clone())).await.unwrap();
    world.pass(2 * DAY);
    let error = client.try_run(&world, order()).await.unwrap_err();
    let cause = error.cause().unwrap();
    assert!(cause.contains(lost.as_str()) && cause.contains("lost"), "{cause}");
    assert!(exists(&storage, layer("c", "orphan")).await, "nothing is condemned");
    storage.write(&Key::Blob(lost), bytes).await.unwrap();
    assert_eq!(client.run(&world, order()).await.condemned, GARBAGE);
}

/// Whichever request of a run fails: it does nothing more, and later runs do what it has
/// left.
#[tokio::test]
async fn any_error_ends_a_run() {
    let mut ended = 0;
    for request in 0.. {
        let bucket = MemoryBucket::default();
        let client = Client(bucket.registry());
        fill(&client).await;
        assert_eq!(condemn(&bucket, &client).await.condemned, GARBAGE);
        bucket.pass(8 * DAY);
        // What is new is condemned while the rest is removed.
        client.push_blob("a/b", b"newer orphan").await;
        bucket.pass(2 * DAY);
        let first = client.run(&bucket, SliceOptions { dry_run: true, ..order() }).await;
        assert_eq!((first.removed, first.sighted), (GARBAGE, 1), "{first:?}");
        bucket.requests();
        bucket.fail_after(request);
        let result = client.try_run(&bucket, order()).await;
        let requests = bucket.requests();
        if requests.len() <= request {
            assert!(result.is_ok(), "{result:?}");
            break;
        }
        if let Err(error) = result {
            ended += 1;
            let is_content = |request: &&String| {
                let (kind, key) = request.split_once(' ').unwrap();
                !matches!(kind, "GET" | "HEAD" | "LIST") && !key.starts_with(".roadstead/collect/")
            };
            let later = requests[request + 1..].iter().find(is_content);
            assert_eq!(later, None, "after {}: {error:?}", requests[request]);
        }
        for _ in 0..3 {
            bucket.pass(2 * DAY);
            client.run(&bucket, order()).await;
        }
        let storage = World::storage(&bucket);
        assert!(!exists(&storage, blob("orphan")).await, "after {}", requests[request]);
        for (repository, tag) in [("a/b", "new"), ("c", "new")] {
            let path = format!("/v2/{repository}/manifests/{tag}");
            assert_eq!(client.status("GET", &path).await, 200, "after {}", requests[request]);
        }
        for live in [("a/b", "shared layer"), ("c", "shared layer"), ("c", "new config")] {
            assert!(exists(&storage, layer(live.0, live.1)).await, "{live:?}");
            assert!(exists(&storage, blob(live.1)).await, "{live:?}");
        }
    }
    assert!(ended > 50, "{ended} errors");
}

/// What it has removed is counted, and another one begins at once.
#[tokio::test]
async fn a_run_that_ends_early_says_what_it_has_done() {
    a_run_that_ends_early_says_what_it_has_done_over(MemoryBucket::default()).await;
    a_run_that_ends_early_says_what_it_has_done_over(tempfile::tempdir().unwrap()).await;
}

async fn a_run_that_ends_early_says_what_it_has_done_over<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    assert_eq!(condemn(&world, &client).await.condemned, GARBAGE);
    world.pass(10 * DAY);
    let mut order = SliceOptions { budget: 1, ..order() };
    loop {
        let progress = client.0.collect(&order).await.unwrap();
        let Progress::Running { run, stage, .. } = progress else { panic!("{progress:?}") };
        order.run = Some(u128::from_str_radix(&run, 16).unwrap());
        if stage == "removal" {
            break;
        }
    }
    // The first blob is removed, and then it is too old.
    client.0.collect(&order).await.unwrap();
    world.pass(13 * HOUR);
    client.0.collect(&order).await.unwrap_err();
    let answer: ReportsAnswer = get(&client, REPORTS).await;
    let failed = &answer.reports[0];
    assert!(failed.failure.as_ref().is_some_and(|cause| cause.contains("GRACE")), "{failed:?}");
    assert_eq!(failed.removed, 1, "{failed:?}");
    let report = client.run(&world, SliceOptions { run: None, ..order }).await;
    assert_eq!((report.failure, report.removed), (None, GARBAGE - 1));
}

#[tokio::test]
async fn reports_are_kept() {
    reports_are_kept_over(MemoryBucket::default()).await;
    reports_are_kept_over(tempfile::tempdir().unwrap()).await;
}

async fn reports_are_kept_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    client.push_image("a", "v", "config", "layer").await;
    let mut runs = Vec::new();
    for _ in 0..105 {
        world.pass(DAY);
        runs.push(client.run(&world, order()).await);
    }
    let mut kept = 0;
    for report in &runs {
        let run = u128::from_str_radix(&report.run, 16).unwrap();
        let key = Key::Record(roadstead_storage::Record::Report(run));
        match storage.read(&key).await {
            Ok(stored) => {
                assert_eq!(serde_json::from_slice::<Report>(&stored).unwrap(), *report);
                kept += 1;
            }
            Err(error) => assert_eq!(error, StorageError::NotFound),
        }
    }
    assert_eq!(kept, 100);
}

/// Of a process that died, and not of another kind.
#[tokio::test]
async fn a_run_goes_on_after_a_start() {
    a_run_goes_on_after_a_start_over(MemoryBucket::default()).await;
    a_run_goes_on_after_a_start_over(tempfile::tempdir().unwrap()).await;
}

async fn a_run_goes_on_after_a_start_over<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    let order = SliceOptions { budget: 1, ..order() };
    let Progress::Running { run, .. } = client.0.collect(&order).await.unwrap() else { panic!() };
    // It has the lease, and nobody asks for it by its name any longer.
    let not_due = client.0.collect(&order).await.unwrap();
    assert!(matches!(not_due, Progress::NotDue { .. }), "{not_due:?}");
    let adopt = SliceOptions { adopt: true, ..order };
    let dry = client.0.collect(&SliceOptions { dry_run: true, ..adopt }).await.unwrap();
    assert!(matches!(dry, Progress::NotDue { .. }), "{dry:?}");
    let report = Client(world.registry()).run(&world, adopt).await;
    assert_eq!(report.run, run);
    // Without one, it begins one if that is due.
    let not_due = client.0.collect(&adopt).await.unwrap();
    assert!(matches!(not_due, Progress::NotDue { .. }), "{not_due:?}");
    world.pass(DAY);
    assert_ne!(client.run(&world, adopt).await.run, run);
}
