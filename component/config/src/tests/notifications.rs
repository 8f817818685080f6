//! `notifications`: a list of endpoints.

use super::{given, read};
use crate::{EventFormat, NotificationEndpoint, Notifications};
use std::time::Duration;

const NAME: &str = "notifications.endpoints[0].name";
const URL: &str = "notifications.endpoints[0].url";

fn of_file(keys: &[(&str, &str)], variables: &[(&str, &str)]) -> Notifications {
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, Some(*value))).collect();
    let config = given(&keys, variables).config();
    config.unwrap_or_else(|error| panic!("{error}")).notifications
}

fn alice() -> NotificationEndpoint {
    NotificationEndpoint {
        name: "alice".to_owned(),
        url: "https://alice.example/events".to_owned(),
        format: EventFormat::Distribution,
        headers: Vec::new(),
        secret: None,
        root_cas: None,
        timeout: Duration::from_secs(5),
        threshold: 10,
        backoff: Duration::from_secs(1),
        ignored_media_types: Vec::new(),
        ignored_actions: Vec::new(),
    }
}

#[test]
fn defaults() {
    let none = read(&[]).unwrap().notifications;
    assert_eq!(none.endpoints, []);
    assert_eq!((none.include_references, none.outbox_limit), (false, 256 * 1024 * 1024));
    let own = [(NAME, "alice"), (URL, "https://alice.example/events")];
    assert_eq!(of_file(&own, &[]).endpoints, [alice()]);
    // Zeros are the defaults, as for distribution.
    let zeros =
        ["timeout", "threshold", "backoff"].map(|key| format!("notifications.endpoints[0].{key}"));
    let zeros = zeros.iter().map(|key| (key.as_str(), "0"));
    assert_eq!(
        of_file(&own.into_iter().chain(zeros).collect::<Vec<_>>(), &[]).endpoints,
        [alice()]
    );
}

/// The same by a file and by variables.
#[test]
fn all_of_an_endpoint() {
    let expected = NotificationEndpoint {
        format: EventFormat::CloudEvents,
        headers: [
            ("authorization", "Bearer one"),
            ("authorization", "Bearer two"),
            ("x-a", "1: 2"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        secret: Some("key".to_owned()),
        root_cas: Some("/ca.pem".into()),
        timeout: Duration::from_millis(500),
        threshold: 3,
        backoff: Duration::from_mins(1),
        ignored_media_types: ["application/a", "application/b", "application/c"]
            .map(str::to_owned)
            .into(),
        ignored_actions: ["pull", "mount"].map(str::to_owned).into(),
        ..alice()
    };
    let rows = [
        ("name", "NAME", "alice"),
        ("url", "URL", "https://alice.example/events"),
        ("format", "FORMAT", "cloudevents"),
        ("headers.Authorization[0]", "HEADERS_AUTHORIZATION_0", "Bearer one"),
        ("headers.Authorization[1]", "HEADERS_AUTHORIZATION_1", "Bearer two"),
        ("headers.X-A", "HEADERS_X_A", "1: 2"),
        ("secret", "SECRET", "key"),
        ("rootcas", "ROOTCAS", "/ca.pem"),
        ("timeout", "TIMEOUT", "500ms"),
        ("threshold", "THRESHOLD", "3"),
        ("backoff", "BACKOFF", "1m"),
        ("ignoredmediatypes[0]", "IGNOREDMEDIATYPES_0", "application/a"),
        ("ignoredmediatypes[1]", "IGNOREDMEDIATYPES_1", "application/b"),
        ("ignore.mediatypes[0]", "IGNORE_MEDIATYPES", "application/c"),
        ("ignore.actions[0]", "IGNORE_ACTIONS_0", "pull"),
        ("ignore.actions[1]", "IGNORE_ACTIONS_1", "mount"),
    ];
    let keys = rows.map(|(key, ..)| format!("notifications.endpoints[2].{key}"));
    let keys: Vec<_> = keys.iter().zip(rows).map(|(key, row)| (key.as_str(), row.2)).collect();
    assert_eq!(of_file(&keys, &[]).endpoints, std::slice::from_ref(&expected));
    let names = rows.map(|(_, name, _)| format!("NOTIFICATIONS_ENDPOINTS_2_{name}"));
    let variables: Vec<_> = names.iter().zip(rows).map(|(n, row)| (n.as_str(), row.2)).collect();
    assert_eq!(of_file(&[], &variables).endpoints, std::slice::from_ref(&expected));
    let lines = "Authorization: Bearer one\nauthorization: Bearer two\n\nX-A: 1: 2";
    let mut variables: Vec<_> =
        variables.into_iter().filter(|(name, _)| !name.contains("HEADERS")).collect();
    variables.push(("NOTIFICATIONS_ENDPOINTS_2_HEADERS", lines));
    let mut found = of_file(&[], &variables).endpoints;
    for header in &mut found[0].headers {
        header.0.make_ascii_lowercase();
    }
    found[0].headers.sort();
    assert_eq!(found, [expected]);
}

#[test]
fn several_endpoints() {
    let keys = [
        (NAME, "alice"),
        (URL, "https://alice.example/events"),
        ("notifications.endpoints[1].name", "bob"),
        ("notifications.endpoints[1].url", "http://bob.example"),
        // What is disabled need not be complete.
        ("notifications.endpoints[2].disabled", "true"),
        ("notifications.endpoints[2].name", "alice"),
    ];
    let bob = ("NOTIFICATIONS_ENDPOINTS_1_URL", "http://bob.example:8080");
    let carol = ("NOTIFICATIONS_ENDPOINTS_10_NAME", "carol");
    let where_carol_is = ("NOTIFICATIONS_ENDPOINTS_10_URL", "http://carol.example");
    let found = of_file(&keys, &[carol, bob, where_carol_is]).endpoints;
    let found: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.url.as_str())).collect();
    assert_eq!(
        found,
        [
            ("alice", "https://alice.example/events"),
            ("bob", "http://bob.example:8080"),
            ("carol", "http://carol.example")
        ]
    );
    // A key without a value, and a mapping without a key.
    let empty = ["notifications.endpoints[3]", "notifications.endpoints[0].ignore"];
    for key in empty.into_iter().chain(["notifications.endpoints[0].headers"]) {
        let config =
            given(&[(NAME, Some("a")), (URL, Some("http://a")), (key, None)], &[]).config();
        assert_eq!(config.map(|it| it.notifications.endpoints.len()), Ok(1), "{key}");
    }
}

#[test]
fn what_is_wrong_with_endpoints() {
    let prefix = "notifications.endpoints[0]";
    for (key, value, expected) in [
        ("url", "ftp://a", "notifications.endpoints[0].url: must begin with http:// or https://"),
        ("timeout", "1", "notifications.endpoints[0].timeout: \"1\": must be a duration"),
        ("format", "xml", "must be distribution or cloudevents"),
        ("ignore.actions[0]", "create", "\"create\" must be pull, push, mount or delete"),
        ("nonsense", "1", "notifications.endpoints[0].nonsense in config.yml is not a setting"),
        ("headers", "tell", "notifications.endpoints[0].headers: must be lines such as"),
    ] {
        let key = format!("{prefix}.{key}");
        let mut keys = vec![(NAME, Some("alice")), (URL, Some("http://a"))];
        keys.retain(|(other, _)| *other != key);
        keys.push((&key, Some(value)));
        let problems = given(&keys, &[]).config().map(|_| ()).unwrap_err().to_string();
        assert!(problems.contains(expected), "{key}: {problems}");
        assert!(!problems.contains("tell"), "{problems}");
    }
    for (variables, expected) in [
        (&[("NAME", "a")][..], "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL is missing"),
        (&[("URL", "http://a")], "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME is missing"),
        (&[("URLS", "http://a")], "did you mean REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL?"),
    ] {
        let names: Vec<_> =
            variables.iter().map(|(n, v)| (format!("NOTIFICATIONS_ENDPOINTS_0_{n}"), *v)).collect();
        let variables: Vec<_> = names.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let problems = read(&variables).unwrap_err();
        assert!(problems.contains(expected), "{problems}");
    }
    let twice = [
        ("NOTIFICATIONS_ENDPOINTS_0_NAME", "alice"),
        ("NOTIFICATIONS_ENDPOINTS_0_URL", "http://a"),
        ("NOTIFICATIONS_ENDPOINTS_1_NAME", "alice"),
        ("NOTIFICATIONS_ENDPOINTS_1_URL", "http://b"),
    ];
    assert!(read(&twice).unwrap_err().contains("another endpoint is called \"alice\""));
    for size in ["1000", "68719476737"] {
        let problems = read(&[("NOTIFICATIONS_OUTBOX_MAXSIZE", size)]).unwrap_err();
        assert!(problems.contains("from 33554432 to 68719476736"), "{problems}");
    }
    // A list as text, as distribution takes it.
    let text = [("NOTIFICATIONS_ENDPOINTS", "- name: alice\n  url: http://a\n")];
    assert!(read(&text).unwrap_err().contains("is not a setting"));
}

/// `roadstead config show` writes what is read again as the same, but for secrets.
#[test]
fn reports_of_endpoints() {
    let keys = [
        (NAME, "alice"),
        (URL, "https://me:tell@alice.example/events"),
        ("notifications.endpoints[0].headers.Authorization[0]", "Bearer tell"),
        ("notifications.endpoints[0].secret", "tell"),
        ("notifications.endpoints[0].ignore.actions[0]", "pull"),
        ("notifications.endpoints[1].name", "bob"),
        ("notifications.endpoints[1].url", "http://bob.example"),
        ("notifications.endpoints[1].disabled", "true"),
    ];
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, Some(*value))).collect();
    let report = given(&keys, &[]).report();
    let yaml = report.yaml(false);
    let lines: Vec<_> = yaml.lines().map(|line| line.split("  # ").next().unwrap()).collect();
    assert_eq!(
        lines[2..].join("\n"),
        "notifications:\n  \
         endpoints:\n    \
         -\n      \
         name: alice\n      \
         url: \"https://********@alice.example/events\"\n      \
         headers:\n        \
         authorization:\n          \
         - \"********\"\n      \
         secret: \"********\"\n      \
         ignore:\n        \
         actions:\n          \
         - pull\n    \
         -\n      \
         name: bob\n      \
         disabled: true\n      \
         url: http://bob.example"
    );
    let variables = report.variables(true);
    for line in [
        "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_HEADERS='authorization: ********'",
        "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_IGNORE_ACTIONS_0=pull",
        "REGISTRY_NOTIFICATIONS_ENDPOINTS_1_NAME=bob",
    ] {
        assert!(variables.lines().any(|other| other == line), "{line}\n{variables}");
    }
    assert!(!(report.yaml(true) + &yaml + &variables).contains("tell"));
}
