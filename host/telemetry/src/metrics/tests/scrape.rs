//! Scrapes.

use super::{busy, metrics, pull, readings, text};
use crate::metrics::{
    Answered, Cached, CollectionOutcome, CollectionRun, CollectionStage, Direction, GROUPS,
    Handler, InstanceEnd, Method, Metrics, Readings, StorageOperation,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What distribution 3.1.1 answered on its debug address after some pushes and pulls: names,
/// types, labels and bounds. Values are left out, as are the metrics of Go, of its proxy, and of
/// redirects.
const DISTRIBUTION_3: &str = include_str!("distribution-3.1.txt");

/// The samples of a scrape, without those of the process.
fn samples(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("process_"))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// How the samples change when something happens.
fn changes(metrics: &Metrics, happens: impl FnOnce(&Metrics)) -> BTreeMap<String, f64> {
    let before = samples(&text(metrics, &readings()));
    happens(metrics);
    let after = samples(&text(metrics, &readings()));
    assert!(before.keys().all(|series| after.contains_key(series)), "series have vanished");
    after
        .into_iter()
        .map(|(series, value)| (series.clone(), value - before.get(&series).unwrap_or(&0.0)))
        .filter(|(_, change)| *change != 0.0)
        .collect()
}

#[test]
fn names_labels_and_bounds_are_those_of_distribution() {
    let metrics = metrics();
    for (handler, method, status) in [
        (Handler::Base, Method::Get, 200),
        (Handler::BlobUpload, Method::Post, 202),
        (Handler::BlobUploadChunk, Method::Patch, 202),
        (Handler::BlobUploadChunk, Method::Put, 201),
        (Handler::Blob, Method::Get, 200),
        (Handler::Blob, Method::Head, 200),
        (Handler::Blob, Method::Head, 404),
        (Handler::Manifest, Method::Put, 201),
        (Handler::Manifest, Method::Get, 200),
        (Handler::Manifest, Method::Get, 404),
        (Handler::Tags, Method::Get, 200),
        (Handler::Catalog, Method::Get, 200),
        (Handler::Tags, Method::Unknown, 405),
    ] {
        metrics.answered(&Answered { handler, method, status, ..pull() });
    }
    for operation in StorageOperation::ALL {
        metrics.storage(*operation, Duration::from_millis(1), None);
    }
    let text = text(&metrics, &readings());
    let mut found: BTreeSet<&str> =
        text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let series = samples(&text);
    found.extend(series.keys().map(String::as_str));
    let missing: Vec<_> = DISTRIBUTION_3.lines().filter(|line| !found.contains(line)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(DISTRIBUTION_3.lines().count() > 300);
    // Version 2's.
    for kind in ["Request", "Hit", "Miss"] {
        let series = format!("registry_storage_cache_total{{type=\"{kind}\"}}");
        assert!(found.contains(&*series), "{series}");
    }
}

#[test]
fn a_request_is_counted_once_in_each_family() {
    let changes = changes(&metrics(), |metrics| metrics.answered(&pull()));
    let sum = |series: &str| changes.get(series).copied().unwrap_or_default();
    for (series, change) in [
        ("registry_http_requests_total{code=\"200\",handler=\"manifest\",method=\"get\"}", 1.0),
        (
            "registry_http_request_duration_seconds_bucket{handler=\"manifest\",method=\"get\",le=\"0.005\"}",
            0.0,
        ),
        (
            "registry_http_request_duration_seconds_bucket{handler=\"manifest\",method=\"get\",le=\"0.01\"}",
            1.0,
        ),
        (
            "registry_http_request_duration_seconds_bucket{handler=\"manifest\",method=\"get\",le=\"+Inf\"}",
            1.0,
        ),
        ("registry_http_request_duration_seconds_sum{handler=\"manifest\",method=\"get\"}", 0.007),
        ("registry_http_request_duration_seconds_count{handler=\"manifest\",method=\"get\"}", 1.0),
        ("registry_http_request_size_bytes_bucket{handler=\"manifest\",le=\"1024\"}", 1.0),
        ("registry_http_request_size_bytes_sum{handler=\"manifest\"}", 0.0),
        ("registry_http_request_size_bytes_count{handler=\"manifest\"}", 1.0),
        ("registry_http_response_size_bytes_bucket{handler=\"manifest\",le=\"1024\"}", 0.0),
        ("registry_http_response_size_bytes_bucket{handler=\"manifest\",le=\"2048\"}", 1.0),
        ("registry_http_response_size_bytes_sum{handler=\"manifest\"}", 1500.0),
        ("registry_http_response_size_bytes_count{handler=\"manifest\"}", 1.0),
        ("registry_storage_cache_requests_total", 1.0),
        ("registry_storage_cache_hits_total", 1.0),
        ("registry_storage_cache_total{type=\"Request\"}", 1.0),
        ("registry_storage_cache_total{type=\"Hit\"}", 1.0),
        ("registry_storage_cache_total{type=\"Miss\"}", 0.0),
        ("roadstead_cache_responses_total{handler=\"manifest\",result=\"hit\"}", 1.0),
    ] {
        assert!((sum(series) - change).abs() < 1e-9, "{series}: {}", sum(series));
    }
    // Nothing else: the counters above, and all buckets above the first.
    let others: Vec<_> = changes
        .keys()
        .filter(|series| !series.contains("_bucket{") && !series.contains("handler=\"manifest\""))
        .filter(|series| !series.starts_with("registry_storage_cache_"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    let sent = "registry_http_response_size_bytes_sum{handler=\"manifest\"}";
    let twice: Vec<_> =
        changes.iter().filter(|(series, change)| **change > 1.0 && *series != sent).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn what_the_cache_could_not_answer_is_no_miss() {
    let metrics = metrics();
    let push = Answered { method: Method::Put, cache: None, ..pull() };
    let changed = changes(&metrics, |metrics| metrics.answered(&push));
    assert!(changed.keys().all(|series| !series.contains("cache")), "{changed:#?}");
    let missed = Answered { cache: Some(Cached::Miss), ..pull() };
    let changed = changes(&metrics, |metrics| metrics.answered(&missed));
    let cache: Vec<_> = changed.keys().filter(|series| series.contains("cache")).collect();
    assert_eq!(
        cache,
        [
            "registry_storage_cache_requests_total",
            "registry_storage_cache_total{type=\"Miss\"}",
            "registry_storage_cache_total{type=\"Request\"}",
            "roadstead_cache_responses_total{handler=\"manifest\",result=\"miss\"}",
        ]
    );
}

#[test]
fn requests_are_in_flight_until_they_are_dropped() {
    let metrics = metrics();
    let series = "registry_http_in_flight_requests{handler=\"blob\"}";
    let in_flight = |metrics: &Metrics| samples(&text(metrics, &readings()))[series];
    let (one, other) = (metrics.in_flight(Handler::Blob), metrics.in_flight(Handler::Blob));
    assert!((in_flight(&metrics) - 2.0).abs() < 1e-9);
    std::thread::spawn(move || drop(one)).join().unwrap();
    assert!((in_flight(&metrics) - 1.0).abs() < 1e-9);
    drop(other);
    assert!(in_flight(&metrics).abs() < 1e-9);
}

#[test]
fn uploads_are_counted_by_the_answers_to_their_requests() {
    let uploads = |handler, method, status| {
        let answered = Answered { handler, method, status, cache: None, ..pull() };
        let changes = changes(&metrics(), |metrics| metrics.answered(&answered));
        let of_uploads = |(series, change): (String, f64)| {
            let rest = series.strip_prefix("roadstead_upload_sessions_total{outcome=\"")?;
            assert!((change - 1.0).abs() < 1e-9);
            Some(rest.trim_end_matches("\"}").to_owned())
        };
        changes.into_iter().filter_map(of_uploads).collect::<Vec<_>>().join(" ")
    };
    for (handler, method, status, outcome) in [
        (Handler::BlobUpload, Method::Post, 202, "started"),
        (Handler::BlobUpload, Method::Post, 201, "at_once"),
        (Handler::BlobUpload, Method::Post, 401, ""),
        (Handler::BlobUpload, Method::Post, 500, ""),
        (Handler::BlobUploadChunk, Method::Patch, 202, ""),
        (Handler::BlobUploadChunk, Method::Put, 201, "committed"),
        (Handler::BlobUploadChunk, Method::Put, 400, "refused"),
        (Handler::BlobUploadChunk, Method::Put, 507, "refused"),
        (Handler::BlobUploadChunk, Method::Put, 401, ""),
        (Handler::BlobUploadChunk, Method::Put, 429, ""),
        (Handler::BlobUploadChunk, Method::Delete, 204, "cancelled"),
        (Handler::BlobUploadChunk, Method::Delete, 404, ""),
        (Handler::Manifest, Method::Put, 201, ""),
    ] {
        assert_eq!(uploads(handler, method, status), outcome, "{handler:?} {method:?} {status}");
    }
}

#[test]
fn storage_operations_and_their_actions() {
    let changed = changes(&metrics(), |metrics| {
        metrics.storage(StorageOperation::Read, Duration::from_millis(3), None);
        metrics.storage(StorageOperation::Append, Duration::from_secs(3), None);
    });
    let counts: Vec<_> = changed.keys().filter(|series| series.contains("_count{")).collect();
    assert_eq!(
        counts,
        [
            "registry_storage_action_seconds_count{action=\"GetContent\",driver=\"filesystem\"}",
            "roadstead_storage_operation_seconds_count{operation=\"append\"}",
            "roadstead_storage_operation_seconds_count{operation=\"read\"}",
        ]
    );
    assert!(!changed.keys().any(|series| series.starts_with("roadstead_storage_errors")));
}

#[test]
fn instances_that_live_are_those_that_have_not_ended() {
    let metrics = metrics();
    let live = |metrics: &Metrics| samples(&text(metrics, &readings()))["roadstead_instances"];
    metrics.instance_started();
    metrics.instance_started();
    assert!((live(&metrics) - 2.0).abs() < 1e-9);
    metrics.instance_ended(InstanceEnd::Trap);
    assert!((live(&metrics) - 1.0).abs() < 1e-9);
}

#[test]
fn a_run_of_garbage_collection() {
    let metrics = metrics();
    let read = |metrics: &Metrics, series: &str| samples(&text(metrics, &readings()))[series];
    let is = |metrics: &Metrics, series: &str, value: f64| {
        let found = read(metrics, series);
        assert!((found - value).abs() < 1e-9, "{series}: {found}");
    };
    metrics.collection_goes_on(Some(CollectionStage::Links));
    is(&metrics, "roadstead_collection_running", 1.0);
    is(&metrics, "roadstead_collection_stage{stage=\"links\"}", 1.0);
    is(&metrics, "roadstead_collection_stage{stage=\"blobs\"}", 0.0);
    let run = CollectionRun {
        outcome: CollectionOutcome::Failed,
        time: Duration::from_secs(2),
        removed: 0,
        freed: 0,
    };
    metrics.collection_ended(&run);
    is(&metrics, "roadstead_collection_running", 0.0);
    is(&metrics, "roadstead_collection_stage{stage=\"links\"}", 0.0);
    is(&metrics, "roadstead_collection_runs_total{outcome=\"failed\"}", 1.0);
    is(&metrics, "roadstead_collection_last_success_timestamp_seconds", 0.0);
    assert!(read(&metrics, "roadstead_collection_last_run_timestamp_seconds") > 1e9);
    let done = CollectionRun { outcome: CollectionOutcome::Done, removed: 3, freed: 400, ..run };
    metrics.collection_ended(&done);
    is(&metrics, "roadstead_collection_removed_blobs_total", 3.0);
    is(&metrics, "roadstead_collection_freed_bytes_total", 400.0);
    assert!(read(&metrics, "roadstead_collection_last_success_timestamp_seconds") > 1e9);
}

#[test]
fn what_the_host_reads_is_told() {
    let all = samples(&text(&metrics(), &readings()));
    for (series, value) in [
        ("roadstead_ready", 1.0),
        ("roadstead_cache_entries", 11.0),
        ("roadstead_cache_bytes", 12.0),
        ("roadstead_cache_purges_total", 13.0),
        ("roadstead_turns_in_use", 14.0),
        ("roadstead_turns_limit", 15.0),
        ("roadstead_turns_waiting", 16.0),
        ("roadstead_connections_open", 17.0),
        ("roadstead_connections_limit", 18.0),
        ("roadstead_http2_streams_open", 19.0),
        ("roadstead_http2_streams_limit", 20.0),
        ("roadstead_collection_interval_seconds", 22.5),
        ("roadstead_log_lines_dropped_total", 23.0),
        ("roadstead_build_info{commit=\"0123abc\",component=\"sha256:00\",version=\"1.2.3\"}", 1.0),
    ] {
        assert!((all[series] - value).abs() < 1e-9, "{series}: {}", all[series]);
    }
    let unknown = samples(&text(&metrics(), &Readings::default()));
    assert!(!unknown.contains_key("roadstead_collection_interval_seconds"));
    assert!(unknown["roadstead_ready"].abs() < 1e-9);
}

#[test]
fn bytes_are_counted_while_they_pass() {
    let changed = changes(&metrics(), |metrics| metrics.transferred(Direction::Received, 4096));
    let expected = ("roadstead_http_body_bytes_total{direction=\"received\"}".to_owned(), 4096.0);
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_scrape_has_the_table_and_nothing_else() {
    let text = text(&busy(), &readings());
    let linux = cfg!(target_os = "linux");
    let families = GROUPS.iter().flat_map(|group| group.families);
    let mut table: BTreeSet<String> = families
        .filter(|family| linux || !family.name.starts_with("process_"))
        .map(|family| format!("{} {}", family.name, family.kind.as_str()))
        .collect();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(table.remove(line), "{line} is not in the table, or there twice");
    }
    assert!(table.is_empty(), "never rendered: {table:?}");
    for series in samples(&text).keys() {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let found: Vec<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        let family = GROUPS.iter().flat_map(|group| group.families).find(|family| {
            let rest = name.strip_prefix(family.name);
            rest.is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
        });
        assert_eq!(found, family.unwrap().labels, "{series}");
    }
}

#[test]
fn no_series_is_there_twice() {
    let text = text(&busy(), &readings());
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series}");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    }
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn debug_vars_are_those_of_distribution() {
    let vars: serde_json::Value =
        serde_json::from_slice(&busy().debug_vars(&[super::alice()])).unwrap();
    let registry = &vars["registry"];
    let cache = serde_json::json!({ "Requests": 1, "Hits": 1, "Misses": 0 });
    assert_eq!(registry["cache"]["storage"]["blobdescriptor"], cache);
    assert_eq!(registry["notifications"]["endpoints"][0]["name"], "alice");
    assert_eq!(registry["notifications"]["endpoints"][0]["Metrics"]["Events"], 1);
}
