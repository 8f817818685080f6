//! `storage.maintenance`: how abandoned uploads are removed, as distribution has it.

use super::{given, problem, read};
use crate::{DEFAULT_PURGE_AGE, DEFAULT_PURGE_INTERVAL, UploadPurging};
use std::time::Duration;

const SECTION: &str = "storage.maintenance.uploadpurging";
const DEFAULT: UploadPurging =
    UploadPurging { age: DEFAULT_PURGE_AGE, interval: DEFAULT_PURGE_INTERVAL, dry_run: false };

/// Keys of the section, as files have them, and what they mean; variables mean the
/// same.
#[test]
fn files_and_variables() {
    let hours = Duration::from_hours;
    for (keys, expected) in [
        (&[][..], Some(DEFAULT)),
        // The example of distribution's documentation.
        (
            &[("enabled", "true"), ("age", "168h"), ("interval", "24h"), ("dryrun", "false")],
            Some(DEFAULT),
        ),
        // Its `config-dev.yml` and `config-cache.yml`.
        (&[("enabled", "false")], None),
        (&[("enabled", "false"), ("age", "5040h"), ("interval", "24h"), ("dryrun", "false")], None),
        (&[("age", "36h")], Some(UploadPurging { age: hours(36), ..DEFAULT })),
        (&[("age", "168h0m0s"), ("interval", "1h30m")], {
            Some(UploadPurging { interval: Duration::from_mins(90), ..DEFAULT })
        }),
        (&[("interval", "1.5h"), ("dryrun", "true")], {
            Some(UploadPurging { interval: Duration::from_mins(90), dry_run: true, ..DEFAULT })
        }),
        (&[("age", "1m"), ("interval", "60s")], {
            let minute = Duration::from_mins(1);
            Some(UploadPurging { age: minute, interval: minute, dry_run: false })
        }),
    ] {
        let names: Vec<String> = keys.iter().map(|(key, _)| format!("{SECTION}.{key}")).collect();
        let file = names.iter().zip(keys).map(|(name, (_, value))| (&**name, Some(*value)));
        let config = given(&file.collect::<Vec<_>>(), &[]).config().unwrap();
        assert_eq!((config.upload_purging, config.warnings), (expected, vec![]), "{keys:?}");
        let names: Vec<String> =
            names.iter().map(|name| name.replace('.', "_").to_ascii_uppercase()).collect();
        let variables = names.iter().zip(keys).map(|(name, (_, value))| (&**name, *value));
        let variables: Vec<_> = variables.collect();
        assert_eq!(read(&variables).unwrap().upload_purging, expected, "{keys:?}");
        // Variables override a file.
        let other = [(&*format!("{SECTION}.enabled"), Some("false"))];
        let config = given(&other, &variables).config().unwrap();
        let enabled =
            keys.first().is_some_and(|(key, value)| (*key, *value) == ("enabled", "true"));
        assert_eq!(config.upload_purging, expected.filter(|_| enabled), "{keys:?}");
    }
}

#[test]
fn mistakes_in_the_section() {
    for (key, value, expected) in [
        ("AGE", "7d", "must be a duration such as "),
        ("AGE", "168", "must be a duration such as "),
        ("AGE", "", "must be a duration such as "),
        ("AGE", "30s", "must be from 1m"),
        ("INTERVAL", "1h-", "must be a duration such as "),
        ("INTERVAL", "1..5h", "must be a duration such as "),
        ("INTERVAL", ".h", "must be a duration such as "),
        ("INTERVAL", "0", "must be from 1m"),
        ("ENABLED", "maybe", "must be true or false"),
        ("DRYRUN", "7", "must be true or false"),
    ] {
        let name = format!("STORAGE_MAINTENANCE_UPLOADPURGING_{key}");
        let found = problem(&[(&name, value)]);
        assert!(found.contains(expected), "{key}={value}: {found}");
    }
    let keys = [("storage.maintenance.uploadpurging.agee", Some("1h"))];
    let found = given(&keys, &[]).config().unwrap_err().to_string();
    assert!(found.contains("did you mean storage.maintenance.uploadpurging.age?"), "{found}");
}

/// The component removes what is in a bucket, so it is told.
#[test]
fn the_component_is_told() {
    let keys = [
        ("storage.maintenance.uploadpurging.enabled", Some("true")),
        ("storage.maintenance.uploadpurging.age", Some("36h")),
        ("storage.maintenance.readonly.enabled", Some("false")),
        ("log.level", Some("debug")),
    ];
    let variables =
        [("STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN", "true"), ("LOG_FORMATTER", "json")];
    let settings = given(&keys, &variables);
    let mut told = settings.for_component();
    told.sort();
    let told: Vec<_> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        told,
        [
            ("REGISTRY_LOG_LEVEL", "debug"),
            ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "false"),
            ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "36h"),
            ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN", "true"),
            ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED", "true"),
        ]
    );
    let component = crate::Config::from_variables(settings.for_component()).unwrap();
    assert_eq!(component.upload_purging, settings.config().unwrap().upload_purging);
}
