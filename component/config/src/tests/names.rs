//! Which names are settings, and what is said of those that are none.

use super::distribution::in_files;
use super::random::{ROUNDS, Random};
use super::{full_names, path, problem, read};
use crate::given::{Name, Place};
use crate::settings::{Shape, TOP_LEVEL, rows, variable};
use std::sync::Arc;

/// The suggestion in a message.
fn suggested(message: &str) -> Option<&str> {
    Some(message.split_once("did you mean ")?.1.split_once('?')?.0)
}

#[test]
fn rows_have_names_of_their_own() {
    let file: Arc<str> = Arc::from("config.yml");
    for row in rows() {
        let (mut name, mut steps) = (row.variable(), path(&row.key_of(Some(0))));
        let mut place = Place { mapping: row.split().map(|_| 0), ..Place::default() };
        match row.shape {
            Shape::One | Shape::Tree | Shape::Each => {}
            Shape::List | Shape::EachList => {
                for (name, found) in [(row.variable(), None), (row.variable() + "_7", Some(7))] {
                    let (by_name, place) = Name::Variable(name).find().unwrap();
                    assert_eq!((by_name.key, place.item), (row.key, found));
                }
                name += "_12";
                steps.push(crate::Step::Item(12));
                place.item = Some(12);
            }
            Shape::EachMap => {
                name += "_X_NAME";
                steps.push(crate::Step::Key("X-Name".to_owned()));
                place.below = Some("x-name".to_owned());
            }
            Shape::Below => {
                name += "_SOMETHING";
                steps.push(crate::Step::Key("something".to_owned()));
            }
        }
        for name in [Name::Variable(name), Name::Key { file: Arc::clone(&file), path: steps }] {
            let (found, at) = name.find().unwrap_or_else(|| panic!("{name}"));
            assert_eq!((found.key, found.shape, &at), (row.key, row.shape, &place), "{name}");
        }
    }
}

#[test]
fn distributions_keys_are_known() {
    let file: Arc<str> = Arc::from("config.yml");
    for key in in_files() {
        let name = Name::Variable(variable(&key.replace("[]", ".0")));
        assert!(name.find().is_some(), "{name}");
        let key = key.replace("[]", "[0]");
        for key in [key.clone(), key.to_uppercase()] {
            let name = Name::Key { file: Arc::clone(&file), path: path(&key) };
            assert!(name.find().is_some(), "{name}");
        }
    }
}

#[test]
fn suggestions() {
    for (name, expected) in [
        // They begin alike.
        ("STORAGE_DELETE", Some("STORAGE_DELETE_ENABLED")),
        ("HTTP_TLS_CERT", Some("HTTP_TLS_CERTIFICATE")),
        ("HTTP_TLS", Some("HTTP_TLS_CERTIFICATE")),
        ("HTTP", Some("HTTP_ADDR")),
        ("HTTP_ADDRESS", Some("HTTP_ADDR")),
        ("HTTP_HOSTNAME", Some("HTTP_HOST")),
        ("HTTP_TLS_KEYFILE", Some("HTTP_TLS_KEY")),
        ("HTTP_TLS_CERTIFICATES", Some("HTTP_TLS_CERTIFICATE")),
        ("LOG", Some("LOG_LEVEL")),
        ("AUTH_HTPASSWD", Some("AUTH_HTPASSWD_PATH")),
        ("AUTH_RULE", Some("AUTH_RULES")),
        ("STORAGE_FILESYSTEM_ROOTDIR", Some("STORAGE_FILESYSTEM_ROOTDIRECTORY")),
        ("STORAGE_S3", Some("STORAGE_S3_BUCKET")),
        // A section is missing.
        ("TLS_CERT", Some("HTTP_TLS_CERTIFICATE")),
        ("DELETE_ENABLED", Some("STORAGE_DELETE_ENABLED")),
        ("S3_BUCKET", Some("STORAGE_S3_BUCKET")),
        ("SECRET", Some("HTTP_SECRET")),
        ("ADDR", Some("HTTP_ADDR")),
        // They are misspelt.
        ("HTTP_ADR", Some("HTTP_ADDR")),
        ("HTTP_ADDRR", Some("HTTP_ADDR")),
        ("STORAGE_DELETE_ENABLE", Some("STORAGE_DELETE_ENABLED")),
        ("STORGAE_DELETE_ENABLED", Some("STORAGE_DELETE_ENABLED")),
        ("LOGLEVL", Some("LOG_LEVEL")),
        // There is one beside it.
        ("AUTH_HTPASSWD_FILE", Some("AUTH_HTPASSWD_PATH")),
        ("STORAGE_S3_ACCESS_KEY", Some("STORAGE_S3_ACCESSKEY")),
        // Items are numbered.
        ("AUTH_RULES_TEAM", Some("AUTH_RULES_0")),
        // There is nothing like it.
        ("URL", None),
        ("USER", None),
        ("PASSWORD", None),
        ("TOKEN", None),
        ("IMAGE", None),
        ("", None),
        ("_", None),
    ] {
        let message = match read(&[(name, "x")]) {
            Ok(config) => config.warnings.concat(),
            Err(problems) => problems,
        };
        let expected = expected.map(|name| format!("REGISTRY_{name}"));
        assert!(message.starts_with(&format!("REGISTRY_{name} is ")), "{message}");
        assert_eq!(suggested(&message), expected.as_deref(), "{message}");
    }
}

/// An abbreviated name is completed in the suggestion.
#[test]
fn beginnings_are_continued() {
    let names: Vec<_> =
        rows().filter(|row| row.is_used()).map(|row| (row, row.variable())).collect();
    for (_, name) in &names {
        let prefix = "REGISTRY_".len();
        for end in prefix + 1..name.len() {
            let start = &name[prefix..end];
            let Name::Variable(full) = Name::Variable(format!("REGISTRY_{start}")) else {
                panic!()
            };
            if Name::Variable(full.clone()).find().is_some() {
                continue;
            }
            let message = match read(&[(start, "x")]) {
                Ok(config) => config.warnings.concat(),
                Err(problems) => problems,
            };
            let suggested = suggested(&message).unwrap_or_else(|| panic!("{message}"));
            let item = suggested.trim_end_matches("_0");
            assert!(suggested.starts_with(&full) || full.starts_with(item), "{full}: {message}");
        }
    }
}

/// What is suggested for a misspelt name is a setting, and no other one is
/// nearer.
#[test]
fn misspelt_names() {
    let names: Vec<_> = rows().filter(|row| row.is_used()).map(crate::Row::variable).collect();
    let mut random = Random::new();
    for _ in 0..ROUNDS / 25 {
        let right = &names[random.below(names.len())];
        // Not in its section: that makes it someone else's variable.
        let start = right.match_indices('_').nth(1).map_or(right.len(), |(at, _)| at);
        let mut letters: Vec<char> = right.chars().collect();
        let at = start + random.below(letters.len() - start + 1).min(letters.len() - start);
        match random.below(3) {
            0 if at < letters.len() => drop(letters.remove(at)),
            1 if at + 1 < letters.len() => letters.swap(at, at + 1),
            _ => letters.insert(at, char::from(b'A' + u8::try_from(random.below(26)).unwrap())),
        }
        let wrong: String = letters.into_iter().collect();
        if Name::Variable(wrong.clone()).find().is_some() {
            continue;
        }
        let message = match full_names(&[(&wrong, "x")]) {
            // A letter after a top-level name makes another one.
            Ok(config) => config.warnings.concat(),
            Err(problems) => problems,
        };
        let suggested = suggested(&message).unwrap_or_else(|| panic!("{message}"));
        let suggested = suggested.strip_suffix("_0").unwrap_or(suggested);
        assert!(names.iter().any(|name| name == suggested), "{message}");
        let begin_alike = suggested.starts_with(&wrong) || wrong.starts_with(suggested);
        let distance = |name: &str| strsim::damerau_levenshtein(name, &wrong);
        assert!(begin_alike || distance(suggested) <= distance(right), "{message}");
    }
}

/// Scripts use such names for themselves.
#[test]
fn variables_of_no_section() {
    let names =
        ["URL", "USER", "PASSWORD", "HOST", "IMAGE", "HTTPS_ADDR", "STORAGEX", "TAG", "_", ""];
    for name in names {
        let config = read(&[(name, "tell-nobody"), ("LOG_LEVEL", "debug")]).unwrap();
        assert_eq!(config.log_level, crate::LogLevel::Debug);
        let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
        let expected =
            format!("REGISTRY_{name} is ignored: it is in no section of the configuration");
        assert!(warning.starts_with(&expected), "{warning}");
        assert!(!warning.contains("tell-nobody"), "{warning}");
    }
    for section in TOP_LEVEL {
        if section == "version" || section == "loglevel" {
            continue;
        }
        let name = format!("{}_NONSENSE", section.to_ascii_uppercase());
        let known = Name::Variable(format!("REGISTRY_{name}")).find().is_some();
        match read(&[(&name, "x")]) {
            Ok(config) => assert!(known && !config.warnings.is_empty(), "{name}"),
            Err(problem) => {
                assert!(problem.starts_with(&format!("REGISTRY_{name} is not ")), "{problem}");
            }
        }
    }
    // Not distribution's prefix.
    let config = full_names(&[("REGISTRYURL", "x"), ("registry_url", "x"), ("XREGISTRY_URL", "x")]);
    assert_eq!(config.unwrap().warnings, [""; 0]);
}

#[test]
fn variables_of_kubernetes() {
    for name in [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_5000_TCP",
        "PORT_5000_TCP_ADDR",
        "PORT_5000_TCP_PORT",
        "PORT_5000_TCP_PROTO",
    ] {
        assert_eq!(read(&[(name, "x")]).unwrap().warnings, [""; 0], "{name}");
    }
    for name in ["PORT_", "PORT_X", "PORTS", "SERVICES"] {
        assert_eq!(read(&[(name, "x")]).unwrap().warnings.len(), 1, "{name}");
    }
}

/// One message for all variables that one row refuses.
#[test]
fn refusals_are_gathered() {
    let problem = problem(&[
        ("PROXY_REMOTEURL", "https://registry-1.docker.io"),
        ("PROXY_USERNAME", "a"),
        ("PROXY_PASSWORD", "tell-nobody"),
    ]);
    assert_eq!(
        problem,
        "REGISTRY_PROXY_REMOTEURL and 2 more are not supported: this registry is not a \
         pull-through cache; remove it"
    );
    // With the name of another setting.
    let problem = problem_of("AUTH_SILLY_REALM");
    assert!(problem.contains("use REGISTRY_AUTH_HTPASSWD_PATH"), "{problem}");
}

fn problem_of(name: &str) -> String {
    problem(&[(name, "x")])
}
