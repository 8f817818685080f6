//! `docs/limits.md` is what the sources say of their limits.
//!
//! A limit is a constant whose documentation ends with a line
//!
//! ```text
//! Limit: what it bounds; test: `name_of_the_test_that_reaches_it`; setting: `REGISTRY_X`.
//! ```
//!
//! Where no test reaches it, `test: none, because …` says why.

mod sources;
mod value;

use super::manual::{BLESS, with};
use crate::settings::{Entry, entries};
use sources::{Constant, Sources};
use std::fmt::Write as _;
use std::path::Path;

/// The parts of the table: the first prefix of a constant's file counts.
const PARTS: [(&str, &str); 32] = [
    ("host/src/net/", "Connections"),
    ("host/src/tls/", "TLS"),
    ("host/src/front/", "Requests, before the component"),
    ("host/src/body/", "Bodies"),
    ("host/src/engine/", "Instances of the component"),
    ("host/src/behind/", "What the component calls"),
    ("host/src/", "The host's process"),
    ("host/telemetry/", "Metrics"),
    ("component/registry/", "The protocol"),
    ("component/oci/", "The specification's values"),
    ("component/access/", "Authentication and authorization"),
    ("component/storage/", "Storage"),
    ("component/directory/", "Storage in a directory"),
    ("component/cloud/", "Storage in an object store"),
    ("component/buckets/", "Requests to an object store"),
    ("component/guest/", "The component's shell"),
    ("component/bridge/", "Between host and component"),
    ("component/config/", "Settings"),
    ("host/operator/src/cert/", "`roadstead cert`"),
    ("host/operator/src/slices.rs", "`roadstead gc`, `scrub` and `rescue`"),
    ("host/operator/src/gc/", "`roadstead gc`"),
    ("host/operator/src/du/", "`roadstead du`"),
    ("host/operator/src/scrub/", "`roadstead scrub`"),
    ("host/operator/src/rescue/", "`roadstead rescue`"),
    ("host/operator/src/push.rs", "Pushes of commands"),
    ("host/operator/src/config", "`config.yml`, and `roadstead config`"),
    (
        "host/operator/",
        "`roadstead doctor`, `htpasswd` and `rm`, files in PEM, and requests to registries",
    ),
    ("host/transfer/", "`roadstead import`, `export` and `mirror`"),
    ("host/archive/", "Archives"),
    ("host/traces/", "Traces"),
    ("host/events/", "Notifications"),
    ("host/http-client/", "Requests of traces and notifications"),
];

/// Constants that look like limits and bound nothing that a client or an
/// operator could meet.
const NO_LIMITS: [(&str, &str); 13] = [
    // A rate of its own work, and the length of a hash.
    ("component/storage/src/session.rs", "ONE_OF"),
    ("component/cloud/src/uploads/receipts.rs", "HASH"),
    // A trait's constant, whose values are limits of their own.
    ("component/oci/src/target.rs", "LIMIT"),
    // What certificates are made with, and when their renewal is advised.
    ("host/operator/src/cert/authority.rs", "LEEWAY"),
    ("host/operator/src/cert/authority.rs", "DAY"),
    ("host/operator/src/doctor/chain.rs", "RENEW"),
    ("host/operator/src/config/identity.rs", "SOON"),
    // How comments are wrapped.
    ("component/config/src/report/written.rs", "WIDTH"),
    // Formats of files.
    ("component/registry/src/collect/counting.rs", "LINE"),
    ("host/archive/src/plan/header.rs", "LONGEST"),
    ("host/archive/src/plan/header.rs", "USTAR_SIZE"),
    ("host/archive/src/set/unpack.rs", "MAGIC"),
    ("host/archive/src/signature.rs", "PEM_LINE"),
];

/// The tests that reach the limits of settings which no constant mentions.
const SETTINGS: [(&str, &str); 0] = [];

fn sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

#[test]
fn the_table_of_limits_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let found = std::fs::read_to_string(&file).unwrap();
    let sources = sources();
    let expected = with(&found, "limits", &limits(&sources));
    let expected = with(&expected, "settings", &settings(&sources));
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&file, expected).unwrap();
        return;
    }
    let differ = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{} is stale, write it by {BLESS}=1 cargo test -p roadstead-config: {differ:?}",
        file.display()
    );
}

#[test]
fn every_limit_names_a_test_that_exists() {
    let sources = sources();
    let mut wrong = Vec::new();
    for constant in &sources.constants {
        let Some(limit) = constant.limit() else { continue };
        for test in limit.tests.iter().filter(|test| !sources.tests.contains(*test)) {
            wrong.push(format!("{constant}: there is no test {test}"));
        }
        if limit.tests.is_empty() && limit.untested.is_none() {
            wrong.push(format!("{constant}: no test"));
        }
        for setting in &limit.settings {
            if !entries().any(|entry| entry.row().variable() == *setting) {
                wrong.push(format!("{constant}: there is no setting {setting}"));
            }
        }
    }
    for (key, test) in SETTINGS {
        assert!(sources.tests.contains(test), "{key}: there is no test {test}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_constant_that_looks_like_a_limit_says_what_it_bounds() {
    let sources = sources();
    let missing: Vec<_> = sources
        .constants
        .iter()
        .filter(|constant| constant.looks_like_a_limit() && constant.limit().is_none())
        .filter(|constant| {
            !NO_LIMITS.iter().any(|(file, name)| constant.file == *file && constant.name == *name)
        })
        .map(ToString::to_string)
        .collect();
    assert!(
        missing.is_empty(),
        "without a line `/// Limit: what it bounds; test: …`, and not in {}: {missing:#?}",
        file!()
    );
    for (file, name) in NO_LIMITS {
        let known = sources.constants.iter().any(|c| c.file == file && c.name == name);
        assert!(known, "{file}: there is no {name} any more");
    }
}

fn limits(sources: &Sources) -> String {
    let mut text = String::new();
    for (index, (_, title)) in PARTS.iter().enumerate() {
        let rows: Vec<_> = sources
            .constants
            .iter()
            .filter(|constant| part(constant) == Some(index))
            .filter_map(|constant| row(sources, constant))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "\n### {title}\n\n| What | Limit | Setting | Constant | Test |\n|---|---|---|---|---|\n"
        );
        text.extend(rows);
    }
    text
}

/// The part of the table with this constant.
fn part(constant: &Constant) -> Option<usize> {
    PARTS.iter().position(|(prefix, _)| constant.file.starts_with(prefix))
}

fn row(sources: &Sources, constant: &Constant) -> Option<String> {
    let limit = constant.limit()?;
    let value = sources.show(constant, &limit);
    let code = |names: &[String]| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join("<br>")
    };
    let test = match &limit.untested {
        Some(reason) => format!("none{reason}"),
        None => code(&limit.tests),
    };
    let setting = if limit.settings.is_empty() { "–".to_owned() } else { code(&limit.settings) };
    let Constant { file, name, .. } = constant;
    let what = &limit.what;
    Some(format!("| {what} | {value} | {setting} | `{name}`<br>{file} | {test} |\n"))
}

/// The settings that have a range.
fn settings(sources: &Sources) -> String {
    let mut text = "\n| Setting | Accepted | Default | Test |\n|---|---|---|---|\n".to_owned();
    text.extend(entries().filter_map(|entry| setting(sources, entry)));
    text
}

fn setting(sources: &Sources, entry: &dyn Entry) -> Option<String> {
    let (row, description) = (entry.row(), entry.describe());
    let bounded = ["number", "duration"].iter().any(|kind| description.kind.starts_with(kind))
        || description.kind.contains("at most");
    if !row.is_used() || !bounded {
        return None;
    }
    let variable = row.variable();
    let mut tests: Vec<_> = sources
        .constants
        .iter()
        .filter_map(Constant::limit)
        .filter(|limit| limit.settings.contains(&variable))
        .flat_map(|limit| limit.tests)
        .collect();
    let named = SETTINGS.iter().filter(|(key, _)| *key == row.key);
    tests.extend(named.map(|(_, test)| (*test).to_owned()));
    tests.dedup();
    let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
    let tests = if tests.is_empty() { "none".to_owned() } else { tests.join("<br>") };
    let default = match (row.default, description.default) {
        (Some(text), _) => text.to_owned(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) => "none".to_owned(),
    };
    Some(format!("| `{variable}` | {} | {default} | {tests} |\n", description.kind))
}
