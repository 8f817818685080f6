//! Values that many settings share, and names that have no effect.

use super::{given, problem, read};
use crate::HealthCheck;
use crate::settings::entries;
use crate::settings::kinds::boolean;
use std::time::Duration;

#[test]
fn booleans() {
    let mut checked = 0;
    for (words, expected) in [
        (
            [
                "true", "True", "TRUE", "t", "T", "1", "yes", "Yes", "YES", "y", "Y", "on", "On",
                "ON",
            ],
            true,
        ),
        (
            [
                "false", "False", "FALSE", "f", "F", "0", "no", "No", "NO", "n", "N", "off", "Off",
                "",
            ],
            false,
        ),
    ] {
        for word in words {
            let config = read(&[("STORAGE_DELETE_ENABLED", word)]).unwrap();
            assert_eq!(config.delete_enabled, expected, "{word:?}");
            let keys = [("log.accesslog.disabled", Some(word))];
            assert_eq!(given(&keys, &[]).config().unwrap().access_log, !expected, "{word:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 28);
    for word in ["tRUE", "yEs", "maybe", "2", " true", "-1", "null"] {
        assert_eq!(boolean(word), None, "{word:?}");
        let expected = format!("REGISTRY_STORAGE_DELETE_ENABLED={word:?}: must be true or false");
        assert_eq!(problem(&[("STORAGE_DELETE_ENABLED", word)]), expected);
    }
}

#[test]
fn three_answers() {
    for word in ["auto", "on", "On", "True", "1", "off", "OFF", "false", ""] {
        let variables = [
            ("STORAGE_S3_BUCKET", "images"),
            ("STORAGE_S3_REGION", "a"),
            ("STORAGE_S3_ACCESSKEY", "a"),
            ("STORAGE_S3_SECRETKEY", "a"),
            ("STORAGE_S3_CONDITIONALWRITES", word),
        ];
        assert!(read(&variables).is_ok(), "{word:?}");
    }
}

/// What the documentation calls the default is what a setting is without a
/// value.
#[test]
fn defaults_can_be_set() {
    let plain = read(&[]).unwrap();
    let mut checked = 0;
    for entry in entries().filter(|entry| entry.row().is_used()) {
        let Some(default) = entry.describe().default else { continue };
        let name = entry.row().variable();
        let name = name.strip_prefix("REGISTRY_").unwrap();
        // These choose a driver, or say how users authenticate.
        if name.starts_with("STORAGE_S3_") || name.starts_with("AUTH_TOKEN_") {
            continue;
        }
        if let Ok(config) = read(&[(name, &default)]) {
            assert_eq!(config, plain, "{name}={default}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn names_without_effect() {
    for (variables, warnings) in [
        (&[("STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")][..], &[][..]),
        (&[("LOG_FIELDS_SERVICE", "registry"), ("VERSION", "0.1")], &[]),
        (&[("HEALTH_STORAGEDRIVER_ENABLED", "true")], &[]),
        (&[("HTTP_NET", "tcp"), ("HTTP_HTTP2_DISABLED", "false")], &[]),
        (&[("HTTP_NET", "unix")], &["REGISTRY_HTTP_NET is ignored: connections are TCP"]),
        (
            &[("HTTP_HTTP2_DISABLED", "True")],
            &["REGISTRY_HTTP_HTTP2_DISABLED is ignored: HTTP/2 is always on"],
        ),
        (
            &[("HEALTH_FILE_0_FILE", "/out"), ("HEALTH_TCP_0_ADDR", "a:1")],
            &["REGISTRY_HEALTH_FILE_0_FILE and 1 more are ignored: there are no health checks of \
               files and other servers"],
        ),
        (
            &[("LOGLEVEL", "debug")],
            &["REGISTRY_LOGLEVEL is deprecated and ignored: use REGISTRY_LOG_LEVEL"],
        ),
    ] {
        let config = read(variables).unwrap();
        assert_eq!(config.warnings, warnings, "{variables:?}");
        let plain = crate::Config { warnings: Vec::new(), ..config };
        assert_eq!(plain, read(&[]).unwrap(), "{variables:?}");
    }
    let keys = [
        ("loglevel", Some("debug")),
        ("health.http[0].uri", Some("http://a")),
        ("health.http[1].uri", Some("http://b")),
        ("http.debug.prometheus.enabled", Some("true")),
    ];
    assert_eq!(
        given(&keys, &[]).config().unwrap().warnings,
        [
            "loglevel in config.yml is deprecated and ignored: use log.level",
            "health.http in config.yml is ignored: there are no health checks of files and other servers",
            "http.debug.prometheus.enabled has no effect without an address, as in http.debug.addr: 127.0.0.1:5001",
        ]
    );
}

#[test]
fn what_operators_watch() {
    let plain = read(&[]).unwrap();
    assert_eq!(plain.debug, None);
    let (interval, threshold) = (Duration::from_secs(10), 3);
    assert_eq!(plain.health, Some(HealthCheck { interval, threshold }));
    let address = ("HTTP_DEBUG_ADDR", ":5001");
    let enabled = ("HTTP_DEBUG_PROMETHEUS_ENABLED", "true");
    for (variables, metrics, repositories) in [
        (&[address][..], None, 0),
        (&[address, enabled], Some("/metrics"), 0),
        (&[address, enabled, ("HTTP_DEBUG_PROMETHEUS_PATH", "/m")], Some("/m"), 0),
        (&[address, ("HTTP_DEBUG_PROMETHEUS_REPOSITORIES", "10")], None, 10),
    ] {
        let debug = read(variables).unwrap().debug.unwrap();
        let found = (debug.address.as_str(), debug.metrics.as_deref(), debug.repositories);
        assert_eq!(found, ("[::]:5001", metrics, repositories), "{variables:?}");
    }
    assert_eq!(read(&[("HEALTH_STORAGEDRIVER_ENABLED", "false")]).unwrap().health, None);
    for (name, value) in [
        ("HTTP_DEBUG_ADDR", "5001"),
        ("HTTP_DEBUG_PROMETHEUS_PATH", "metrics"),
        ("HTTP_DEBUG_PROMETHEUS_REPOSITORIES", "10001"),
        ("HEALTH_STORAGEDRIVER_THRESHOLD", "0"),
        ("HEALTH_STORAGEDRIVER_INTERVAL", "1ms"),
        ("HTTP_DRAINDELAY", "2h"),
    ] {
        assert!(problem(&[(name, value)]).starts_with(&format!("REGISTRY_{name}=")), "{name}");
    }
}

/// Names that ask for what happens anyway, and only then.
#[test]
fn only_one_value() {
    const STORE: [(&str, &str); 4] = [
        ("STORAGE_S3_BUCKET", "images"),
        ("STORAGE_S3_REGION", "a"),
        ("STORAGE_S3_ACCESSKEY", "a"),
        ("STORAGE_S3_SECRETKEY", "a"),
    ];
    let mut checked = 0;
    for entry in entries() {
        let Some(value) = entry.describe().only else { continue };
        let name = entry.row().variable();
        let name = name.strip_prefix("REGISTRY_").unwrap();
        assert!(read(&[&STORE[..], &[(name, value)]].concat()).is_ok(), "{name}={value}");
        let other = if value == "true" { "false" } else { "true" };
        let problem = problem(&[&STORE[..], &[(name, other)]].concat());
        assert!(problem.starts_with(&format!("REGISTRY_{name}={other:?}: ")), "{problem}");
        assert!(!problem.contains('{'), "{problem}");
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn collection_goes_with_deletion() {
    const DELETE: (&str, &str) = ("STORAGE_DELETE_ENABLED", "true");
    const ENABLED: &str = "STORAGE_MAINTENANCE_GC_ENABLED";
    for (variables, collects) in [
        (&[][..], false),
        (&[DELETE], true),
        (&[DELETE, (ENABLED, "false")], false),
        (&[DELETE, (ENABLED, "true")], true),
        (&[DELETE, (ENABLED, "")], true),
        (&[(ENABLED, "no")], false),
    ] {
        assert_eq!(read(variables).unwrap().collection.is_some(), collects, "{variables:?}");
    }
    let keys = [("storage.maintenance.gc.enabled", Some("true"))];
    assert_eq!(
        super::problem_of_file(&keys),
        "storage.maintenance.gc.enabled needs storage.delete.enabled: true too: collection \
         deletes content"
    );
}

#[test]
fn waits_of_collection_have_a_least_value() {
    const DELETE: (&str, &str) = ("STORAGE_DELETE_ENABLED", "true");
    let hours = Duration::from_hours;
    let config = read(&[
        DELETE,
        ("STORAGE_MAINTENANCE_GC_GRACE", "1h"),
        ("STORAGE_MAINTENANCE_GC_KEEP", "2h"),
        ("STORAGE_MAINTENANCE_GC_INTERVAL", "10m"),
        ("STORAGE_MAINTENANCE_GC_RATE", "100000"),
        ("STORAGE_MAINTENANCE_GC_DELETEUNTAGGED", "168h"),
    ]);
    let collection = config.unwrap().collection.unwrap();
    assert_eq!((collection.grace, collection.keep), (hours(1), hours(2)));
    assert_eq!((collection.interval, collection.rate), (hours(1) / 6, 100_000));
    assert_eq!(collection.untagged, Some(hours(168)));
    assert_eq!(read(&[DELETE]).unwrap().collection.unwrap().untagged, None, "they are kept");
    for (variables, expected) in [
        (
            &[("STORAGE_MAINTENANCE_GC_GRACE", "59m")][..],
            "REGISTRY_STORAGE_MAINTENANCE_GC_GRACE=\"59m\": must be from 1h to 87600h",
        ),
        (
            &[("STORAGE_MAINTENANCE_GC_KEEP", "47h")],
            "REGISTRY_STORAGE_MAINTENANCE_GC_KEEP must be at least twice \
             REGISTRY_STORAGE_MAINTENANCE_GC_GRACE, which is 24h",
        ),
        (
            &[("STORAGE_MAINTENANCE_GC_RATE", "0")],
            "REGISTRY_STORAGE_MAINTENANCE_GC_RATE=\"0\": must be a number of operations from 1 \
             to 100000",
        ),
        (
            &[("STORAGE_MAINTENANCE_GC_DELETEUNTAGGED", "59m")],
            "REGISTRY_STORAGE_MAINTENANCE_GC_DELETEUNTAGGED=\"59m\": must be a duration from 1h to \
             87600h, such as 168h",
        ),
        (
            &[("STORAGE_MAINTENANCE_GC_INTERVAL", "1s")],
            "REGISTRY_STORAGE_MAINTENANCE_GC_INTERVAL=\"1s\": must be from 1m to 87600h",
        ),
    ] {
        assert_eq!(problem(variables), expected);
    }
}
