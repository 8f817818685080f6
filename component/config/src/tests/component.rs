//! What the component is told: the settings whose rows say so, and nothing
//! else.

use super::random::{ROUNDS, Random};
use super::{given, path};
use crate::settings::{AUTH_HTPASSWD, AUTH_OIDC, AUTH_TOKEN, Entry, Shape, entries, rows};
use crate::{Config, Given, Row, Scope, Settings};
use std::sync::Arc;

fn told(settings: &Settings) -> Vec<(String, String)> {
    settings.for_component()
}

/// A setting of each row, as a variable or as a key.
fn given_as(row: &Row, variable: bool) -> Given {
    // A key below one that has a row of its own.
    let below = row.shape == Shape::Below;
    if variable {
        let name = row.variable() + if below { "_X" } else { "" };
        return Given::variable(name, "tell-nobody");
    }
    let key = format!("{}{}", row.key_of(Some(0)), if below { ".x" } else { "" });
    Given::key(&Arc::from("config.yml"), path(&key), Some("tell-nobody".to_owned()))
}

#[test]
fn only_what_the_rows_say() {
    let mut counts = [0; 3];
    for row in rows() {
        for variable in [true, false] {
            let told = told(&Settings::gather([given_as(row, variable)]));
            let value = match row.scope() {
                _ if !row.is_used() => None,
                Scope::Host => None,
                Scope::HostAndPresence => Some("the host has it"),
                Scope::Component | Scope::Both => Some("tell-nobody"),
            };
            counts[usize::from(value.is_some()) + usize::from(value == Some("tell-nobody"))] += 1;
            let expected = value.map(|value| (row.variable(), value.to_owned()));
            assert_eq!(told, Vec::from_iter(expected), "{}", row.key);
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn neither_unknown_names_nor_those_of_others() {
    let variables = [
        ("REGISTRY_SOMETHING_NEW", "tell-nobody"),
        ("REGISTRY_PASSWORD", "tell-nobody"),
        ("REGISTRY_AUTH_NEW_SECRET", "tell-nobody"),
        ("ROADSTEAD_HOST_SERVICES", "tell-nobody"),
        ("REGISTRY_PROXY_PASSWORD", "tell-nobody"),
        ("REGISTRY_LOG_FIELDS_TOKEN", "tell-nobody"),
        ("REGISTRY_PORT_5000_TCP", "tell-nobody"),
        ("AWS_SECRET_ACCESS_KEY", "tell-nobody"),
        ("REGISTRY_HTTP_HOST", "https://registry.example"),
    ];
    let given = variables.map(|(name, value)| Given::variable(name, value));
    let expected = ("REGISTRY_HTTP_HOST".to_owned(), "https://registry.example".to_owned());
    assert_eq!(told(&Settings::gather(given)), [expected]);
}

#[test]
fn secrets_of_users_and_tokens_stay_in_the_host() {
    for row in rows().filter(|row| row.secret) {
        let of_store = row.key.starts_with("storage.");
        let told = matches!(row.scope(), Scope::Component | Scope::Both);
        assert_eq!(told, of_store, "{}", row.key);
    }
}

/// Which of these sections has settings says how users authenticate, here and
/// there.
#[test]
fn sections_that_decide_are_seen() {
    for section in [&AUTH_HTPASSWD, &AUTH_TOKEN, &AUTH_OIDC] {
        for row in rows().filter(|row| row.is_used() && section.holds(row.key)) {
            assert_ne!(row.scope(), Scope::Host, "{}", row.key);
        }
    }
    // No text is no setting.
    assert_eq!(told(&given(&[], &[("AUTH_HTPASSWD_PATH", " ")])), []);
}

/// What a store needs at least.
fn base(section: &str) -> &'static [(&'static str, &'static str)] {
    match section {
        "storage.s3" => &[
            ("STORAGE_S3_BUCKET", "images"),
            ("STORAGE_S3_REGION", "a"),
            ("STORAGE_S3_ACCESSKEY", "a"),
            ("STORAGE_S3_SECRETKEY", "a"),
        ],
        "storage.gcs" => &[("STORAGE_GCS_BUCKET", "a"), ("STORAGE_GCS_KEYFILE", "/key.json")],
        "storage.azure" => &[
            ("STORAGE_AZURE_CONTAINER", "a"),
            ("STORAGE_AZURE_ACCOUNTNAME", "a"),
            ("STORAGE_AZURE_ACCOUNTKEY", "a"),
        ],
        "auth" => &[("AUTH_HTPASSWD_PATH", "/auth/htpasswd")],
        _ => &[],
    }
}

/// Policies of retention.
const POLICIES: [&str; 2] = [
    r#"{"repositories": "**", "keeptags": [{"pushedwithin": "30d"}]}"#,
    r#"[{"repositories": ["a"], "deleteuntagged": true}]"#,
];

/// Whatever the host accepts, the component accepts, and understands the same
/// of what it needs.
#[test]
fn both_understand_the_same() {
    let texts = |key: &str| -> &[&str] {
        match key {
            "auth" => &["htpasswd", "token", "none", ""],
            "storage" => &["filesystem", "s3", "gcs", "azure"],
            "auth.rules" => &["* all **", "anonymous pull **; * all **", ""],
            "auth.token.realm" | "auth.oidc.issuer" => &["https://auth.example"],
            "auth.token.expiration" => &["1m", "1h"],
            "auth.token.signingalgorithms" => &["ES256", "RS256,ES256"],
            "http.host" => &["https://registry.example"],
            "storage.s3.regionendpoint" => &["http://127.0.0.1:3900", "https://s3.example"],
            "storage.azure.credentials.type" => &["shared_key", "client_secret"],
            "storage.azure.serviceurl" | "storage.gcs.endpoint" => &["http://127.0.0.1:4443"],
            "policy.immutable" => &["releases ** v.*", "days a,!b [0-9]{1,2} deletable"],
            "policy.quotas" => &["team team/** 50GiB", "all ** 5 tags; a a,!b 1MB"],
            "policy.retention.policies" => &POLICIES,
            _ => &["true", "false", "abc", "/data", "5242880"],
        }
    };
    let used: Vec<_> = entries().map(Entry::row).filter(|row| row.is_used()).collect();
    let in_section = |start: &str| -> Vec<&Row> {
        used.iter().copied().filter(|row| row.key.starts_with(start)).collect()
    };
    let groups = ["auth", "storage.s3", "storage.gcs", "storage.azure", "storage", "http", ""];
    let groups = groups.map(|start| (base(start), in_section(start)));
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..ROUNDS / 5 {
        let (base, group) = &groups[random.below(groups.len())];
        let base = base.iter().filter(|_| random.below(20) > 0);
        let mut variables: Vec<_> =
            base.map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned())).collect();
        variables.extend((0..random.below(group.len().min(5))).map(|_| {
            let row = group[random.below(group.len())];
            let texts = texts(row.key);
            let item = row.shape == Shape::List && random.below(3) == 0;
            let name = row.variable() + if item { "_0" } else { "" };
            (name, texts[random.below(texts.len())].to_owned())
        }));
        let given = variables.iter().map(|(name, value)| Given::variable(name, value));
        let settings = Settings::gather(given);
        let Ok(host) = settings.config() else { continue };
        accepted += 1;
        let mut told = settings.for_component();
        if let Some((_, file)) = variables.iter().rfind(|(n, _)| n.ends_with("_GCS_KEYFILE"))
            && !file.is_empty()
        {
            // The native host passes on the file's content.
            told.push(("REGISTRY_STORAGE_GCS_CREDENTIALS".to_owned(), "{}".to_owned()));
        }
        let component = Config::from_variables(told.clone());
        let component = component.unwrap_or_else(|error| panic!("{variables:?}: {error}"));
        let location = |config: &Config| config.cloud.as_ref().map(crate::Cloud::location);
        let origins = |config: &Config| {
            let origins = config.cloud.as_ref().map(crate::Cloud::origins).unwrap_or_default();
            origins.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let decisions = |config: &Config| {
            let auth = &config.auth;
            (
                std::mem::discriminant(&auth.scheme),
                (auth.enabled(), auth.takes_passwords(), auth.users.is_some(), auth.oidc.is_some()),
                (auth.issuer(), auth.rules.clone(), auth.realm.clone()),
                (location(config), origins(config)),
                (config.delete_enabled, config.read_only, config.sparse_images, config.redirect),
                (config.host.clone(), config.warning.clone(), config.immutable.clone()),
                config.quotas.clone(),
                config.retention.clone(),
            )
        };
        assert_eq!(decisions(&component), decisions(&host), "{variables:?}: {told:?}");
    }
    assert!((ROUNDS / 50..ROUNDS / 5).contains(&accepted), "{accepted}");
}
