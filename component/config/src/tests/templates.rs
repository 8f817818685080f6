//! Settings that are written are read again as the same ones.

use super::random::{ROUNDS, Random};
use super::{full_names, given};
use crate::secrets::MASK;
use crate::settings::{Shape, rows};
use crate::{Config, Given, Settings, Step};
use roadstead_access::{DEFAULT_REALM, Scheme};
use serde_yaml_ng::Value;
use std::sync::Arc;

/// What a file gives.
fn keys(text: &str) -> Vec<Given> {
    fn take(value: &Value, path: &mut Vec<Step>, given: &mut Vec<Given>) {
        let mut below = |step, value: &Value| {
            path.push(step);
            take(value, path, given);
            path.pop();
        };
        let text = match value {
            Value::Mapping(map) => {
                let keys = map.iter().map(|(key, value)| (key.as_str().unwrap(), value));
                return keys.for_each(|(key, value)| below(Step::Key(key.to_owned()), value));
            }
            Value::Sequence(list) => {
                return (0..).zip(list).for_each(|(at, value)| below(Step::Item(at), value));
            }
            Value::Null => None,
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(value) => Some(value.to_string()),
            Value::String(value) => Some(value.clone()),
            Value::Tagged(_) => panic!("{value:?}"),
        };
        given.push(Given::key(&Arc::from("config.yml"), path.clone(), text));
    }
    let value = serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut given = Vec::new();
    take(&value, &mut Vec::new(), &mut given);
    given
}

fn of_file(text: &str) -> Settings {
    Settings::gather(keys(text))
}

/// What an environment file gives, as a shell reads it.
fn of_environment(text: &str) -> Settings {
    let mut given = Vec::new();
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n') {
        if line.starts_with('#') || line.is_empty() {
            rest = after;
            continue;
        }
        let (name, mut left) = rest.split_once('=').unwrap();
        let mut value = String::new();
        loop {
            if let Some(quoted) = left.strip_prefix('\'') {
                let (text, after) = quoted.split_once('\'').unwrap();
                (value, left) = (value + text, after);
            } else if let Some(after) = left.strip_prefix(r"\'") {
                (value, left) = (value + "'", after);
            } else {
                let end = left.find(['\'', '\\', '\n']).unwrap();
                (value, left) = (value + &left[..end], &left[end..]);
            }
            if let Some(after) = left.strip_prefix('\n') {
                rest = after;
                break;
            }
        }
        given.push(Given::variable(name, value));
    }
    Settings::gather(given)
}

/// Without what has no effect, which is not written; and without warnings, which have the names
/// that were given.
fn normal(mut config: Config) -> Config {
    if config.cloud.is_some() {
        config.root = None;
        config.journal = false;
    }
    if config.auth.scheme == Scheme::None {
        config.auth.users = None;
        config.auth.realm = DEFAULT_REALM.to_owned();
    }
    config.warnings.clear();
    config
}

/// The lines of a template that are comments until someone removes their `#`.
fn uncommented(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let start = line.trim_start();
        let is_setting = start.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
        if is_setting { line.replacen('#', "", 1) } else { line.to_owned() }
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn the_template_is_the_defaults() {
    let defaults = full_names(&[]).unwrap();
    let report = given(&[], &[]).report();
    for (text, settings) in [
        (report.yaml(true), of_file(&report.yaml(true))),
        (report.variables(true), of_environment(&report.variables(true))),
        (report.yaml(false), of_file(&report.yaml(false))),
        (report.variables(false), of_environment(&report.variables(false))),
    ] {
        assert_eq!(settings.config().unwrap(), defaults, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
    assert_eq!(report.yaml(false), "version: 0.1\n");
    assert_eq!(report.variables(false), "");
}

/// All settings are in it, with the names and the defaults that they have.
#[test]
fn the_template_is_complete() {
    let report = given(&[], &[]).report();
    let all = keys(&uncommented(&report.yaml(true)));
    let variables = uncommented(&report.variables(true));
    for setting in &report.settings {
        let key = &*setting.row.key_of(Some(0));
        // A file has these as sections.
        let is_section = ["auth", "storage", "storage.gcs.credentials"].contains(&key);
        let only = setting.kind().is_empty();
        let found = all.iter().find(|given| Step::join(given.path().unwrap()) == key);
        assert_eq!(found.is_some(), !is_section && !only, "{key}");
        if let (Some(found), default) = (found, setting.shown()) {
            assert_eq!(found.value.as_deref().unwrap_or_default(), default, "{key}");
        }
        let line = format!("\n{}=", setting.row.variable());
        assert_eq!(variables.contains(&line), !only, "{key}");
    }
}

#[test]
fn what_a_file_looks_like() {
    let report = given(
        &[
            ("http.addr", Some(":5000")),
            ("http.tls.minimumtls", Some("tls1.2")),
            ("log.fields.service", Some("registry")),
            ("storage.delete.enabled", Some("true")),
            ("storage.filesystem.rootdirectory", Some("/var/lib/registry")),
        ],
        &[
            ("AUTH", "token"),
            ("AUTH_HTPASSWD_PATH", "/a b"),
            ("AUTH_RULES", "anonymous pull **; alice all **"),
            ("HTTP_SECRET", "tell-nobody"),
            ("HTTP_TRUSTEDPROXIES", "10.0.0.0/8,fd00::/8"),
            ("STORAGE_DELETE_ENABLED", "off"),
            ("LOG_LEVEL", "warn"),
        ],
    )
    .report();
    let expected = r#"version: 0.1
# Secrets are masked: a file with these lines has to be completed.
http:
  addr: ":5000"  # config.yml
  trustedproxies:
    - "10.0.0.0/8"  # REGISTRY_HTTP_TRUSTEDPROXIES
    - "fd00::/8"  # REGISTRY_HTTP_TRUSTEDPROXIES
  secret: "********"  # REGISTRY_HTTP_SECRET
storage:
  filesystem:
    rootdirectory: /var/lib/registry  # config.yml
auth:
  htpasswd:
    path: "/a b"  # REGISTRY_AUTH_HTPASSWD_PATH
  rules:
    - "anonymous pull **; alice all **"  # REGISTRY_AUTH_RULES
  token:
    expiration: 5m  # default
log:
  level: warn  # REGISTRY_LOG_LEVEL
# auth is token (REGISTRY_AUTH), which a file says by its sections
# log.fields.service (config.yml) is ignored: log lines have no such fields
"#;
    assert_eq!(report.yaml(false), expected);
    let variables = "\
# config.yml
REGISTRY_HTTP_ADDR=:5000
# REGISTRY_HTTP_TRUSTEDPROXIES
REGISTRY_HTTP_TRUSTEDPROXIES_0=10.0.0.0/8
";
    assert!(report.variables(false).starts_with(variables), "{}", report.variables(false));
    assert!(report.variables(false).contains("\nREGISTRY_AUTH_HTPASSWD_PATH='/a b'\n"));
}

/// Settings of which others are variations.
const BASES: [&[(&str, &str)]; 9] = [
    &[],
    &[("STORAGE_S3_BUCKET", "images"), ("STORAGE_S3_REGION", "a")],
    &[("STORAGE_GCS_BUCKET", "images")],
    &[
        ("STORAGE_AZURE_CONTAINER", "a"),
        ("STORAGE_AZURE_ACCOUNTNAME", "a"),
        ("STORAGE_AZURE_ACCOUNTKEY", MASK),
    ],
    &[("AUTH_HTPASSWD_PATH", "/a b")],
    &[("AUTH", "token"), ("AUTH_HTPASSWD_ENTRIES", MASK)],
    &[
        ("AUTH_TOKEN_REALM", "https://a.example"),
        ("AUTH_TOKEN_SERVICE", "a"),
        ("AUTH_TOKEN_ISSUER", "a"),
        ("AUTH_TOKEN_JWKS", "{\"keys\":[]}"),
    ],
    &[
        ("HTTP_TLS_CERTIFICATE", "a"),
        ("HTTP_TLS_KEY", "b"),
        ("HTTP_TLS_CLIENTCAS", "c,d"),
        ("AUTH_OIDC_ISSUER", "a"),
        ("AUTH_OIDC_AUDIENCE", "a"),
        ("AUTH_RULES_0", "anonymous pull **"),
    ],
    &[
        ("HTTP_TLS_LETSENCRYPT_HOSTS", "a"),
        ("HTTP_TLS_LETSENCRYPT_CACHEFILE", "b"),
        ("STORAGE_DELETE_ENABLED", "true"),
    ],
];

/// What people write, and what YAML and shells could take for something else.
const TEXTS: [&str; 40] = [
    "",
    " ",
    "true",
    "false",
    "yes",
    "Off",
    "y",
    "1",
    "0",
    "010",
    "+5",
    "1e3",
    "0x1f",
    ".5",
    "5242880",
    "5m",
    "1h30m",
    "48h",
    "720h",
    "a",
    "~",
    "null",
    "NaN",
    "a: b # c",
    "- a",
    "'a' \"b\" \\c",
    "a\nb",
    "\ta\u{85}\u{2028}ü\0",
    "https://a.example",
    ":5000",
    "/a b/",
    "10.0.0.0/8, ::1",
    "[a,b]",
    "anonymous pull **",
    "htpasswd",
    "token",
    "none",
    "s3",
    "tls1.3",
    "{\"a\": 1}",
];

#[test]
fn what_is_written_is_read_again() {
    let used: Vec<_> = rows().filter(|row| row.is_used()).collect();
    let mut random = Random::new();
    let mut accepted = 0;
    for round in 0..ROUNDS / 20 {
        let base = BASES[random.below(BASES.len())];
        let mut variables: Vec<_> =
            base.iter().map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned())).collect();
        for _ in 0..random.below(4) {
            let row = used[random.below(used.len())];
            let text = if row.secret { MASK } else { TEXTS[random.below(TEXTS.len())] };
            let item =
                if row.shape == Shape::List { ["", "_0", "_1"][random.below(3)] } else { "" };
            let name = row.variable() + item;
            variables.retain(|(other, _)| *other != name);
            variables.push((name, text.to_owned()));
        }
        let given = variables.iter().map(|(n, v)| Given::variable(n.as_str(), v.as_str()));
        let settings = Settings::gather(given);
        let Ok(config) = settings.config() else { continue };
        let (config, report) = (normal(config), settings.report());
        accepted += 1;
        // All settings take longer.
        for all in [false, round % 8 == 0] {
            let (file, environment) = (report.yaml(all), report.variables(all));
            for (text, found) in
                [(&file, of_file(&file)), (&environment, of_environment(&environment))]
            {
                let found = found.config().unwrap_or_else(|e| panic!("{variables:?}: {e}\n{text}"));
                assert_eq!(normal(found), config, "{variables:?}\n{text}");
            }
        }
    }
    assert!((ROUNDS / 200..ROUNDS / 20).contains(&accepted), "{accepted}");
}
