//! Which settings can be used.

use super::{endpoint, start};
use crate::{Action, Notifications, Settings, Source};
use roadstead_config::{NotificationEndpoint, Notifications as Config};
use rustls::RootCertStore;

fn error(endpoint: NotificationEndpoint) -> String {
    let config = Config { endpoints: vec![endpoint], ..Config::default() };
    Settings::new(&config, RootCertStore::empty).err().unwrap()
}

#[test]
fn what_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let alice = || endpoint("alice", "https://alice.example/");
    let with_cas = |path| NotificationEndpoint { root_cas: Some(path), ..alice() };
    let header = |name: &str, value: &str| NotificationEndpoint {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..alice()
    };
    for (endpoint, expected) in [
        (endpoint("alice", "nonsense"), "alice: url: relative URL"),
        (endpoint("alice", "ftp://a"), "alice: url: must begin with http:// or https://"),
        (header("a b", "c"), "alice: headers: \"a b\" is not the name of a header"),
        (header("a", "tell\n"), "alice: headers: a has a value that cannot be sent"),
        (with_cas("/missing.pem".into()), "alice: rootcas: /missing.pem: No such file"),
        (with_cas(file("none.pem", b"none")), "none.pem: has no certificates in PEM"),
        (with_cas(file("large.pem", &vec![b' '; 1 << 21])), "is larger than 1048576 bytes"),
    ] {
        let error = error(endpoint);
        assert!(error.starts_with("notifications.endpoints, "), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("tell"), "{error}");
    }
    let many = |count: usize, name: fn(usize) -> String| {
        let endpoints = (0..count).map(|n| endpoint(&name(n), "http://a")).collect();
        let config = Config { endpoints, ..Config::default() };
        Settings::new(&config, RootCertStore::empty).map(|settings| settings.endpoints.len())
    };
    assert_eq!(many(64, |n| n.to_string()), Ok(64));
    assert!(many(65, |n| n.to_string()).unwrap_err().contains("more than 64 endpoints"));
    assert!(many(2, |_| "a".to_owned()).unwrap_err().contains("two are called \"a\""));
}

#[test]
fn addresses() {
    for (url, host, port, authority, target) in [
        ("http://a.example", "a.example", 80, "a.example", "/"),
        ("https://a.example:8443/x/y?z=1", "a.example", 8443, "a.example:8443", "/x/y?z=1"),
        ("https://[::1]/", "::1", 443, "[::1]", "/"),
        ("http://me:secret@a.example:80/x", "a.example", 80, "a.example", "/x"),
    ] {
        let config = Config { endpoints: vec![endpoint("a", url)], ..Config::default() };
        let settings = Settings::new(&config, RootCertStore::empty).unwrap();
        let address = &settings.endpoints[0].address;
        assert_eq!((address.server.host.as_str(), address.server.port), (host, port), "{url}");
        assert_eq!(
            (address.authority.to_str().unwrap(), address.target.to_string().as_str()),
            (authority, target)
        );
        assert!(!address.shown.contains("secret") && !address.shown.contains('?'));
        let credentials = settings.endpoints[0].headers.get("authorization");
        assert_eq!(credentials.is_some(), url.contains('@'));
    }
}

#[tokio::test]
async fn what_endpoints_ignore() {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = vec![
        NotificationEndpoint {
            ignored_actions: vec!["pull".to_owned(), "mount".to_owned()],
            ignored_media_types: vec!["a".to_owned()],
            ..endpoint("alice", "http://127.0.0.1:1/")
        },
        NotificationEndpoint {
            ignored_media_types: vec!["a".to_owned(), "b".to_owned()],
            ..endpoint("bob", "http://127.0.0.1:1/")
        },
    ];
    let notifications = start(endpoints, directory.path());
    for (action, media_type, expected) in [
        (Action::Push, "a", false),
        (Action::Push, "b", true),
        (Action::Pull, "b", false),
        (Action::Pull, "c", true),
        (Action::Delete, "", true),
    ] {
        assert_eq!(notifications.wants(action, media_type), expected, "{action:?} {media_type}");
    }
    // Another process has it.
    let log = super::Lines::default().log();
    let settings = super::settings(vec![endpoint("alice", "http://127.0.0.1:1/")], 64 << 20);
    let second = Notifications::start(settings, directory.path(), Source::default(), log);
    assert!(second.err().unwrap().contains("another process has it open"));
    notifications.stop(std::time::Duration::ZERO).await;
}
