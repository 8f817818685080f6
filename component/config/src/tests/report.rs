//! Where values come from, what has no effect, and what a report never shows.

use super::{given, path};
use crate::report::{Effective, Fate, Report, Source, Value};
use crate::secrets::MASK;
use crate::settings::{Shape, rows};
use crate::{Given, Settings};
use std::sync::Arc;

const TELL: &str = "tell-nobody";

fn setting<'a>(report: &'a Report, key: &str) -> &'a Effective {
    report.settings.iter().find(|setting| setting.row.key == key).unwrap()
}

/// Keys with their lines, and variables.
fn report(keys: &[(&str, &str, u32)], variables: &[(&str, &str)]) -> Report {
    let file = Arc::from("config.yml");
    let keys = keys.iter().map(|(key, value, line)| {
        Given::key(&file, path(key), Some((*value).to_owned())).at_line(Some(*line))
    });
    let variables =
        variables.iter().map(|(name, value)| Given::variable(format!("REGISTRY_{name}"), *value));
    Settings::gather(keys.chain(variables)).report()
}

#[test]
fn values_have_their_sources() {
    let report = report(
        &[
            ("http.addr", ":5000", 3),
            ("http.secret", "of-the-file", 4),
            ("http.trustedproxies[0]", "10.0.0.0/8", 6),
            ("http.trustedproxies[1]", "10.1.0.0/16", 7),
            ("storage.delete.enabled", "yes", 9),
            ("log.level", "debug", 11),
        ],
        &[
            ("HTTP_ADDR", "127.0.0.1:1"),
            ("HTTP_SECRET", ""),
            ("HTTP_TRUSTEDPROXIES_1", "fd00::/8"),
            ("STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED", ""),
            ("AUTH_RULES", "alice pull a\n\nbob pull b"),
        ],
    );
    assert_eq!(report.errors, [""; 0]);
    for (key, value, origin) in [
        ("http.addr", "127.0.0.1:1", "REGISTRY_HTTP_ADDR; overrides config.yml, line 3"),
        ("http.secret", "", "REGISTRY_HTTP_SECRET; overrides config.yml, line 4"),
        ("storage.delete.enabled", "yes", "config.yml, line 9"),
        ("log.level", "debug", "config.yml, line 11"),
        ("log.formatter", "auto", "default"),
        ("http.host", "", "default"),
        (
            "storage.maintenance.uploadpurging.enabled",
            "false",
            "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED",
        ),
    ] {
        let setting = setting(&report, key);
        assert_eq!((setting.shown().as_str(), setting.origin().as_str()), (value, origin), "{key}");
    }
    let items = |key: &str| match &setting(&report, key).value {
        Value::List(items) => {
            let items = items.iter().map(|(item, source)| format!("{item} {source}"));
            items.collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        items("http.trustedproxies"),
        ["10.0.0.0/8 config.yml, line 6", "fd00::/8 REGISTRY_HTTP_TRUSTEDPROXIES_1"]
    );
    let proxies = &setting(&report, "http.trustedproxies").overridden;
    let [Source::File { key, line: Some(7), .. }] = &proxies[..] else { panic!("{proxies:?}") };
    assert_eq!(key, "http.trustedproxies[1]");
    assert_eq!(
        items("auth.rules"),
        ["alice pull a REGISTRY_AUTH_RULES", "bob pull b REGISTRY_AUTH_RULES"]
    );
}

/// In whatever order they are given.
#[test]
fn what_is_overridden_is_known() {
    let file = Arc::from("config.yml");
    let key = Given::key(&file, path("http.addr"), Some(":1".to_owned()));
    let variable = Given::variable("REGISTRY_HTTP_ADDR", ":2");
    for given in [[key.clone(), variable.clone()], [variable, key]] {
        let report = Settings::gather(given).report();
        let address = setting(&report, "http.addr");
        assert_eq!(address.shown(), ":2");
        assert_eq!(address.origin(), "REGISTRY_HTTP_ADDR; overrides config.yml");
    }
}

#[test]
fn names_without_an_effect() {
    let report = given(
        &[
            ("version", Some("0.1")),
            ("log.fields.service", Some("registry")),
            ("log.fields.environment", Some(TELL)),
            ("log.hooks[0].type", Some("mail")),
            ("http.net", Some("tcp")),
            ("loglevel", Some("debug")),
            ("proxy.password", Some(TELL)),
            ("http.adr", Some(TELL)),
            ("redis", None),
        ],
        &[("HTTP_RELATIVEURLS", "true"), ("REDIS_PASSWORD", TELL), ("URL", TELL)],
    )
    .report();
    let found: Vec<_> = report
        .unused
        .iter()
        .map(|unused| (unused.name.as_str(), unused.more, unused.fate, unused.reason.as_str()))
        .collect();
    let expected = [
        ("log.fields.service", 1, Fate::Ignored, "log lines have no such fields"),
        (
            "log.hooks[0].type",
            0,
            Fate::IgnoredWithWarning,
            "logs go to standard error; send mail from there",
        ),
        ("http.net", 0, Fate::Ignored, "it asks for what happens anyway"),
        ("loglevel", 0, Fate::Deprecated, "use log.level"),
        (
            "proxy.password",
            0,
            Fate::Refused,
            "this registry is not a pull-through cache; remove it",
        ),
        ("http.adr", 0, Fate::Unknown, "it is not a setting"),
        ("REGISTRY_HTTP_RELATIVEURLS", 0, Fate::Ignored, "locations are always relative"),
        (
            "REGISTRY_REDIS_PASSWORD",
            0,
            Fate::IgnoredWithWarning,
            "Redis is not used: caches need no server",
        ),
        ("REGISTRY_URL", 0, Fate::Unknown, "it is not a setting"),
    ];
    assert_eq!(found, expected);
    // The words of a start, with its suggestions.
    let settings = given(&[("http.adr", Some("x"))], &[]);
    assert_eq!(settings.report().errors.join("\n"), settings.config().unwrap_err().to_string());
    assert!(settings.report().errors[0].ends_with("did you mean http.addr?"));
    assert!(!format!("{report:?}").contains(TELL));
}

#[test]
fn settings_of_what_is_not_chosen() {
    for (variables, key, expected) in [
        (
            &[("STORAGE", "s3"), ("STORAGE_S3_BUCKET", "images"), ("STORAGE_S3_REGION", "a")][..],
            "storage.filesystem.rootdirectory",
            Some("the data is in s3"),
        ),
        (&[("STORAGE", "filesystem")], "storage.filesystem.rootdirectory", None),
        (&[("AUTH", "none")], "auth.htpasswd.path", Some("do not authenticate")),
        (&[("AUTH", "token")], "auth.htpasswd.path", None),
        (&[("AUTH", "htpasswd")], "auth.token.service", Some("by passwords")),
        (&[("AUTH", "htpasswd")], "auth.htpasswd.path", None),
    ] {
        let more = [
            ("STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
            ("AUTH_HTPASSWD_PATH", "/users"),
            ("AUTH_TOKEN_SERVICE", "a"),
        ];
        let report = report(&[], &[variables, &more].concat());
        assert_eq!(report.errors, [""; 0], "{variables:?}");
        let found = setting(&report, key).without_effect.as_deref();
        assert_eq!(found.is_some(), expected.is_some(), "{variables:?}: {found:?}");
        assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{found:?}");
    }
}

/// Everything that can be made of a report.
fn forms(report: &Report) -> [String; 6] {
    let debug = format!("{report:?}");
    let words = [report.errors.concat(), report.warnings.concat()].concat();
    let [short, all] = [false, true].map(|all| report.yaml(all));
    let [names, all_names] = [false, true].map(|all| report.variables(all));
    [debug, words, short, all, names, all_names]
}

#[test]
fn no_secret_is_shown() {
    const S3: [(&str, &str); 3] = [
        ("STORAGE_S3_BUCKET", "images"),
        ("STORAGE_S3_REGION", "a"),
        ("STORAGE_S3_ACCESSKEY", "AKIA"),
    ];
    const AZURE: [(&str, &str); 2] =
        [("STORAGE_AZURE_CONTAINER", "images"), ("STORAGE_AZURE_ACCOUNTNAME", "a")];
    const CLIENT: [(&str, &str); 3] = [
        ("STORAGE_AZURE_CREDENTIALS_TYPE", "client_secret"),
        ("STORAGE_AZURE_CREDENTIALS_TENANTID", "a"),
        ("STORAGE_AZURE_CREDENTIALS_CLIENTID", "a"),
    ];
    const GCS: [(&str, &str); 1] = [("STORAGE_GCS_BUCKET", "images")];
    const FIELDS: [(&str, &str); 2] = [
        ("STORAGE_GCS_CREDENTIALS_PRIVATE_KEY_ID", "a"),
        ("STORAGE_GCS_CREDENTIALS_CLIENT_EMAIL", "a@a.example"),
    ];
    const ENDPOINT_SECRETS: [&str; 2] =
        ["NOTIFICATIONS_ENDPOINTS_0_HEADERS", "NOTIFICATIONS_ENDPOINTS_0_SECRET"];
    const ENDPOINT: [(&str, &str); 2] = [
        ("NOTIFICATIONS_ENDPOINTS_0_NAME", "alice"),
        ("NOTIFICATIONS_ENDPOINTS_0_URL", "https://alice.example"),
    ];
    let mut seen = Vec::new();
    for (secrets, more) in [
        (&["HTTP_SECRET"][..], vec![]),
        (&["AUTH_HTPASSWD_ENTRIES"], vec![("AUTH", "htpasswd")]),
        (&["STORAGE_S3_SECRETKEY", "STORAGE_S3_SESSIONTOKEN"], S3.to_vec()),
        (&["STORAGE_AZURE_ACCOUNTKEY"], AZURE.to_vec()),
        (&["STORAGE_AZURE_CREDENTIALS_SECRET"], [&AZURE[..], &CLIENT].concat()),
        (&["STORAGE_GCS_CREDENTIALS"], GCS.to_vec()),
        (&["STORAGE_GCS_CREDENTIALS_PRIVATE_KEY"], [&GCS[..], &FIELDS].concat()),
        (&ENDPOINT_SECRETS, ENDPOINT.to_vec()),
    ] {
        let secret = |text: &str| -> Report {
            let header = format!("X-Key: {text}");
            let secrets = secrets.iter().map(|name| {
                (*name, if name.ends_with("_HEADERS") { header.as_str() } else { text })
            });
            report(&[], &secrets.chain(more.iter().copied()).collect::<Vec<_>>())
        };
        let (short, long) = (secret(TELL), secret(&TELL.repeat(9)));
        assert_eq!(short.errors, [""; 0], "{secrets:?}");
        for (short, long) in forms(&short).iter().zip(&forms(&long)) {
            assert!(!short.contains(TELL), "{short}");
            // Nor how long it is.
            assert_eq!(short, long);
        }
        for form in [short.yaml(false), short.variables(false)] {
            let masked = form.lines().filter(|line| line.contains(MASK)).count();
            assert_eq!(masked, secrets.len(), "{form}");
        }
        seen.extend(secrets.iter().map(|name| format!("REGISTRY_{name}")));
    }
    for row in rows().filter(|row| row.is_secret()) {
        assert!(seen.contains(&row.variable()), "{}", row.key);
    }
}

/// Of whatever setting, also where they are wrong; rules and the notice to users are public.
#[test]
fn no_password_of_a_url_is_shown() {
    const PUBLIC: [&str; 5] = [
        "auth.rules",
        "http.warning",
        "policy.immutable",
        "policy.quotas",
        "policy.retention.policies",
    ];
    for text in [
        format!("https://alice:{TELL}@a.example/?sig={TELL}"),
        format!("alice:{TELL}@a.example:9000"),
        format!("-----BEGIN PRIVATE KEY-----\n{TELL}\n"),
        format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{TELL}\"}}]}}"),
    ] {
        for row in rows().filter(|row| row.is_used() && !PUBLIC.contains(&row.key)) {
            // Commas divide a list, and what is between them is no key.
            if matches!(row.shape, Shape::List | Shape::EachList) && text.starts_with('{') {
                continue;
            }
            let name = row.variable()["REGISTRY_".len()..].to_owned();
            let item = (row.shape == Shape::List).then(|| format!("{name}_0"));
            for name in item.into_iter().chain([name]) {
                let report = report(&[], &[(&name, &text)]);
                let shown = forms(&report).concat();
                let line = shown.lines().find(|line| line.contains(TELL));
                assert_eq!(line, None, "{name}");
            }
        }
    }
}
