//! Keys of a `config.yml`: what messages call them, how they go with variables,
//! and what those without a value mean.

use super::random::{ROUNDS, Random};
use super::{given, path, problem_of_file as problem, read};
use crate::settings::{Shape, rows};
use crate::{Config, Given, Settings, Step};
use std::sync::Arc;

const EMPTY: Option<&str> = None;

#[test]
fn keys_are_variables() {
    let config = given(
        &[
            ("version", Some("0.1")),
            ("http.addr", Some(":5000")),
            ("http.headers.X-Content-Type-Options[0]", Some("nosniff")),
            ("HTTP.drainTimeout", Some("5m")),
            ("http.trustedproxies[0]", Some("10.0.0.0/8")),
            ("http.trustedproxies[1]", Some("::1")),
            ("auth.htpasswd.path", Some("/auth/htpasswd")),
        ],
        &[],
    );
    let variables = read(&[
        ("HTTP_ADDR", ":5000"),
        ("HTTP_DRAINTIMEOUT", "5m"),
        ("HTTP_TRUSTEDPROXIES", "10.0.0.0/8,::1"),
        ("AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
    ]);
    assert_eq!(config.config().unwrap(), variables.unwrap());
}

#[test]
fn mistakes_have_the_names_that_were_written() {
    for (keys, expected) in [
        (
            &[("http.adr", Some("x"))][..],
            "http.adr in config.yml is not a setting; did you mean http.addr?",
        ),
        (
            &[("HTTP.Adr", Some("x"))],
            "HTTP.Adr in config.yml is not a setting; did you mean http.addr?",
        ),
        (
            &[("http.drainTimeout", Some("x"))],
            "http.drainTimeout: \"x\": must be a duration such as 500ms, 30s, 5m or 1h",
        ),
        (
            &[("http.maxrequests", Some("0"))],
            "http.maxrequests: \"0\": must be a number from 1 to 4096",
        ),
        (
            &[("tls.certificate", Some("x"))],
            "tls.certificate in config.yml is not a setting; did you mean http.tls.certificate?",
        ),
        (&[("url", Some("x"))], "url in config.yml is not a setting"),
        (&[("http", Some("x"))], "http in config.yml is not a setting; did you mean http.addr?"),
        (
            &[("http.addr.x", Some("x"))],
            "http.addr.x in config.yml is not a setting; did you mean http.addr?",
        ),
        (
            &[("auth.rules.team", Some("x"))],
            "auth.rules.team in config.yml is not a setting; did you mean auth.rules, which is a \
             list?",
        ),
        // The key of a variable is not that of a file.
        (
            &[("http_addr", Some("x"))],
            "http_addr in config.yml is not a setting; did you mean http.addr?",
        ),
        (&[("http.tls.certificate", Some("a"))], "http.tls.certificate needs http.tls.key too"),
        (
            &[("auth.token.Realm", Some("a"))],
            "auth.token needs either auth.htpasswd.path, the file of users that this registry \
             issues tokens to (roadstead htpasswd -Bbn USER PASSWORD > FILE makes one), or \
             auth.token.rootcertbundle or auth.token.jwks, the keys of another token service",
        ),
        (&[("auth", Some("ldap"))], "auth: \"ldap\": must be htpasswd, token or none"),
        (
            &[("auth", Some("htpasswd"))],
            "auth: htpasswd needs auth.htpasswd.path, the file of users; roadstead htpasswd -Bbn \
             USER PASSWORD > FILE makes one",
        ),
        (
            &[("auth.rules[0]", Some("alice write a"))],
            "auth.rules: \"alice write a\": \"write\" is not an action: pull, push, delete, \
             catalog or all",
        ),
        (
            &[("auth.silly.realm", Some("a")), ("auth.silly.service", Some("b"))],
            "auth.silly in config.yml is not supported: it accepts any credentials; use \
             auth.htpasswd.path, or remove it",
        ),
        (
            &[("http.addr", Some(":5000")), ("http.Addr", Some(":5001"))],
            "http.addr and http.Addr in config.yml are the same setting; keep one of them",
        ),
    ] {
        assert_eq!(problem(keys), expected);
    }
}

/// Names in a message are like the one that is wrong, of those that were given.
#[test]
fn both_kinds_of_names() {
    let settings = given(
        &[("storage.s3.bucket", Some("images")), ("storage.s3.region", Some("a"))],
        &[("STORAGE_S3_SECRETKEY", "tell-nobody"), ("AUTH", "token")],
    );
    let problems = settings.config().unwrap_err().to_string();
    let problems: Vec<_> = problems.lines().collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("REGISTRY_AUTH=token needs either REGISTRY_AUTH_HTPASSWD_"));
    assert_eq!(
        problems[1],
        "storage.s3 needs both storage.s3.accesskey and REGISTRY_STORAGE_S3_SECRETKEY; set neither \
         of them, and no storage.s3.sessiontoken, to use the platform's credentials"
    );
}

#[test]
fn variables_override_keys() {
    let proxies = |keys: &[(&str, Option<&str>)], variables: &[(&str, &str)]| -> Vec<String> {
        let file = Arc::from("config.yml");
        let keys: Vec<_> = keys
            .iter()
            .map(|(key, value)| Given::key(&file, path(key), value.map(Into::into)))
            .collect();
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| Given::variable(format!("REGISTRY_{name}"), *value))
            .collect();
        // In whatever order they come.
        let forth = Settings::gather(keys.iter().chain(&variables).cloned()).config().unwrap();
        let back = Settings::gather(variables.iter().chain(&keys).cloned()).config().unwrap();
        assert_eq!(forth, back);
        forth.trusted_proxies.iter().map(|network| network.addr().to_string()).collect()
    };
    let list = [
        ("http.trustedproxies[0]", Some("10.0.0.0")),
        ("http.trustedproxies[1]", Some("10.0.0.1")),
    ];
    let text = [("http.trustedproxies", Some("10.0.0.0,10.0.0.1"))];
    for keys in [&list[..], &text] {
        assert_eq!(proxies(keys, &[]), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(proxies(keys, &[("HTTP_TRUSTEDPROXIES", "10.0.0.9")]), ["10.0.0.9"]);
        assert_eq!(proxies(keys, &[("HTTP_TRUSTEDPROXIES", "")]), [""; 0]);
        let more = [("HTTP_TRUSTEDPROXIES_2", "10.0.0.9")];
        assert_eq!(proxies(keys, &more), ["10.0.0.0", "10.0.0.1", "10.0.0.9"]);
    }
    let first = [("HTTP_TRUSTEDPROXIES_0", "10.0.0.9")];
    assert_eq!(proxies(&list, &first), ["10.0.0.9", "10.0.0.1"]);
    let settings = given(&[("http.addr", Some("nonsense"))], &[("HTTP_ADDR", "127.0.0.1:1")]);
    assert_eq!(settings.config().unwrap().address, "127.0.0.1:1");
    let told = given(
        &[("http.host", Some("https://a.example")), ("auth.rules[0]", Some("a pull a"))],
        &[("HTTP_HOST", "https://b.example"), ("AUTH_RULES", "b pull b")],
    );
    let expected =
        [("REGISTRY_HTTP_HOST", "https://b.example"), ("REGISTRY_AUTH_RULES", "b pull b")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told.for_component(), expected);
}

/// Without a value, most keys are as good as none.
#[test]
fn keys_without_a_value() {
    let plain = read(&[]).unwrap();
    for key in [
        "auth",
        "auth.none",
        "http",
        "http.addr",
        "http.secret",
        "http.tls",
        "http.tls.clientcas",
        "http.tls.letsencrypt",
        "http.tls.letsencrypt.hosts",
        "http.trustedproxies",
        "http.headers",
        "http.debug",
        "log",
        "log.accesslog",
        "log.hooks",
        "storage",
        "storage.cache",
        "storage.delete",
        "storage.delete.enabled",
        "storage.filesystem",
        "storage.filesystem.rootdirectory",
        "storage.maintenance",
        "storage.maintenance.uploadpurging",
        "storage.redirect",
        "validation",
        "proxy",
        "proxy.remoteurl",
        "redis",
        "notifications.endpoints",
        "middleware.storage",
        "health",
        "health.file",
        "catalog",
        "policy.repository.classes",
        "version",
    ] {
        let config = given(&[(key, EMPTY)], &[]).config();
        assert_eq!(config.unwrap_or_else(|error| panic!("{key}: {error}")), plain, "{key}");
    }
    for (key, expected) in [
        ("foo", "foo in config.yml is not a setting"),
        ("http.adr", "http.adr in config.yml is not a setting; did you mean http.addr?"),
        ("auth.ldap", "auth.ldap in config.yml is not a setting; did you mean auth?"),
        ("http.trustedproxies[0]", "http.trustedproxies[0] in config.yml has no value"),
        ("http.tls.clientcas[1]", "http.tls.clientcas[1] in config.yml has no value"),
    ] {
        assert!(problem(&[(key, EMPTY)]).starts_with(expected), "{}", problem(&[(key, EMPTY)]));
    }
}

/// Some mean something: to leave them out would serve another directory, let
/// everyone in, or let everyone write.
#[test]
fn keys_that_need_a_value() {
    for (keys, expected) in [
        (
            &[("storage.inmemory", EMPTY)][..],
            "storage.inmemory in config.yml is not supported: content is always kept",
        ),
        (&[("storage.inmemory.x", EMPTY)], "storage.inmemory in config.yml is not supported: "),
        (
            &[("storage.swift", EMPTY)],
            "storage.swift in config.yml is not supported: there is no such driver",
        ),
        (&[("storage.oss", EMPTY)], "storage.oss in config.yml is not supported: "),
        (&[("auth.silly", EMPTY)], "auth.silly in config.yml is not supported: "),
        (
            &[("storage.s3", EMPTY)],
            "storage.s3 in config.yml holds nothing: name the bucket with storage.s3.bucket",
        ),
        (&[("storage.s3.bucket", EMPTY)], "storage.s3 in config.yml holds nothing: "),
        (&[("storage.S3.bucket", Some(""))], "storage.S3 in config.yml holds nothing: "),
        (&[("storage.s3.loglevel", Some("debug"))], "storage.s3 in config.yml holds nothing: "),
        (&[("storage.gcs", EMPTY)], "storage.gcs in config.yml holds nothing: "),
        (&[("storage.azure", EMPTY)], "storage.azure in config.yml holds nothing: "),
        (
            &[("auth.htpasswd", EMPTY)],
            "auth.htpasswd in config.yml holds nothing: name the file of users with auth.htpasswd.path",
        ),
        (&[("auth.htpasswd.path", EMPTY)], "auth.htpasswd in config.yml holds nothing: "),
        (&[("auth.htpasswd.path", Some(" "))], "auth.htpasswd in config.yml holds nothing: "),
        (&[("auth.token", EMPTY)], "auth.token in config.yml holds nothing: "),
        (&[("auth.oidc", EMPTY)], "auth.oidc in config.yml holds nothing: "),
        (&[("auth.rules", EMPTY)], "auth.rules in config.yml holds nothing: write rules"),
        (
            &[("policy.immutable", EMPTY)],
            "policy.immutable in config.yml holds nothing: write rules",
        ),
        (&[("policy.quotas", EMPTY)], "policy.quotas in config.yml holds nothing: write rules"),
        (&[("auth.rules", Some(""))], "auth.rules in config.yml holds nothing: write rules"),
        (&[("auth.rules[0]", Some(" "))], "auth.rules in config.yml holds nothing: write rules"),
        (
            &[("storage.maintenance.readonly", EMPTY)],
            "storage.maintenance.readonly in config.yml holds nothing: ",
        ),
    ] {
        let problems = given(keys, &[]).config().unwrap_err().to_string();
        let first = problems.lines().next().unwrap();
        assert!(first.starts_with(expected), "{keys:?}: {problems}");
    }
    // The whole of a configuration that would have served the user's home.
    let keys =
        [("version", Some("0.1")), ("storage.inmemory", EMPTY), ("http.addr", Some(":5000"))];
    assert!(given(&keys, &[]).config().is_err());
    assert!(given(&[("storage", Some("inmemory"))], &[]).config().is_err());
    assert!(read(&[("STORAGE", "inmemory")]).is_err());
    assert!(read(&[("STORAGE_INMEMORY", "")]).is_err());
    assert!(read(&[("STORAGE_INMEMORY_X", "")]).is_err());
}

#[test]
fn a_variable_can_be_the_value() {
    for (key, variables) in [
        ("auth.htpasswd", &[("AUTH_HTPASSWD_PATH", "/auth/htpasswd")][..]),
        ("auth.htpasswd.path", &[("AUTH_HTPASSWD_PATH", "/auth/htpasswd")]),
        ("auth.htpasswd", &[("AUTH", "none")]),
        ("auth.rules", &[("AUTH_RULES", "anonymous pull **")]),
        ("storage.s3", &[("STORAGE", "filesystem")]),
        ("storage.maintenance.readonly", &[("STORAGE_MAINTENANCE_READONLY_ENABLED", "true")]),
    ] {
        let found = given(&[(key, EMPTY)], variables).config();
        let expected = read(variables).unwrap();
        assert_eq!(found.unwrap_or_else(|error| panic!("{key}: {error}")), expected, "{key}");
    }
}

/// Keys and variables of the same settings give the same.
#[test]
fn files_are_like_environments() {
    const PIECES: [&str; 14] = [
        "",
        " ",
        ",",
        "[",
        "]",
        "true",
        "0",
        "5m",
        "https://",
        "a",
        "::1",
        "tls1.3",
        "alice pull a",
        "ü",
    ];
    let used: Vec<_> = rows().filter(|row| row.is_used()).collect();
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..ROUNDS / 5 {
        let file = Arc::from("config.yml");
        let (mut keys, mut variables) = (Vec::new(), Vec::new());
        let mut seen = Vec::new();
        for _ in 0..=random.below(3) {
            let row = used[random.below(used.len())];
            // No text is no value of a file's section, and no setting of a variable.
            let text = random.text(&PIECES, 2);
            let text = if text.trim().is_empty() { "true".to_owned() } else { text };
            let mut key = path(&row.key_of(Some(0)));
            let mut name = row.variable();
            if row.shape == Shape::List && random.below(2) == 0 {
                key.push(Step::Item(3));
                name += "_3";
            }
            if seen.contains(&name) {
                continue;
            }
            seen.push(name.clone());
            keys.push(Given::key(&file, key, Some(text.clone())));
            variables.push(Given::variable(name, text));
        }
        let [keys, variables] = [keys, variables].map(Settings::gather);
        assert_eq!(keys.for_component(), variables.for_component());
        match (keys.config(), variables.config()) {
            (Ok(mut of_file), Ok(mut of_environment)) => {
                // These name the settings as they were given.
                let [in_file, in_environment] = [&mut of_file, &mut of_environment]
                    .map(|config| std::mem::take(&mut config.warnings).len());
                assert_eq!(in_file, in_environment);
                assert_eq!(of_file, of_environment);
                accepted += 1;
            }
            (Err(of_file), Err(of_environment)) => {
                let [of_file, of_environment] = [of_file, of_environment].map(|e| e.to_string());
                assert_eq!(
                    of_file.lines().count(),
                    of_environment.lines().count(),
                    "{of_file}\n{of_environment}"
                );
                assert!(!of_file.contains("REGISTRY_"), "{of_file}");
            }
            (of_file, of_environment) => panic!("{of_file:?}\n{of_environment:?}"),
        }
    }
    assert!((ROUNDS / 500..ROUNDS / 5).contains(&accepted), "{accepted}");
}

/// Whatever a file holds, it is read or refused, and nothing else.
#[test]
fn any_keys() {
    const PARTS: [&str; 22] = [
        "http",
        "HTTP",
        "tls",
        "addr",
        "auth",
        "rules",
        "htpasswd",
        "path",
        "token",
        "storage",
        "s3",
        "bucket",
        "inmemory",
        "filesystem",
        "proxy",
        "health",
        "",
        ".",
        "a.b",
        "ü",
        "credentials",
        "private_key",
    ];
    let mut random = Random::new();
    let mut accepted = 0;
    for _ in 0..ROUNDS / 25 {
        let file = Arc::from("config.yml");
        let given: Vec<_> = (0..=random.below(2))
            .map(|_| {
                let steps = (0..=random.below(4)).map(|_| match random.below(8) {
                    0 => Step::Item(u32::try_from(random.below(3)).unwrap()),
                    _ => Step::Key(PARTS[random.below(PARTS.len())].to_owned()),
                });
                let steps = steps.collect();
                let value = ["x", "", "true"].get(random.below(4)).map(|text| (*text).to_owned());
                Given::key(&file, steps, value)
            })
            .collect();
        let settings = Settings::gather(given.iter().cloned());
        for (name, _) in settings.for_component() {
            assert!(rows().any(|row| name.starts_with(&row.variable())), "{name}");
        }
        match settings.config() {
            Ok(Config { .. }) => accepted += 1,
            Err(problems) => assert!(!problems.to_string().is_empty(), "{given:?}"),
        }
    }
    assert!(accepted > 0);
}
