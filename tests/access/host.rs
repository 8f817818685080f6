//! The native host's part of access control: reloads, and refused starts.

use crate::{ALICE, BOB, PASSWORDS, USERS, with};
use bytes::Bytes;
use http::Request;
use roadstead_tests::{Registry, basic, send};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long a change of a file may take to have effect.
const LIMIT: Duration = Duration::from_secs(30);

async fn status(address: &str, (user, password): (&str, &str)) -> u16 {
    let request = Request::get("/v2/").header("authorization", basic(user, password));
    send(address, request.body(Bytes::new()).unwrap()).await.unwrap().status().as_u16()
}

async fn eventually(address: &str, who: (&str, &str), expected: u16) {
    let seen = async {
        while status(address, who).await != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("{who:?}: not {expected}"));
}

fn start(root: &Path, users: &Path) -> anyhow::Result<Registry> {
    let settings =
        [("REGISTRY_AUTH", "htpasswd"), ("REGISTRY_AUTH_HTPASSWD_PATH", users.to_str().unwrap())];
    Registry::start(root, &settings, &[])
}

fn entry(user: &str) -> String {
    let line = USERS.lines().find(|line| line.starts_with(user)).unwrap();
    format!("{line}\n")
}

#[tokio::test]
async fn users_change_while_it_runs() {
    let root = tempfile::tempdir().unwrap();
    let users = root.path().join("users");
    fs::write(&users, entry("alice")).unwrap();
    let registry = start(&root.path().join("data"), &users).unwrap();
    let address = registry.address.as_str();
    assert_eq!((status(address, ALICE).await, status(address, BOB).await), (200, 401));
    // The instances have cached Alice's credentials; they are dropped too.
    fs::write(&users, entry("bob")).unwrap();
    eventually(address, BOB, 200).await;
    assert_eq!(status(address, ALICE).await, 401);
    // A broken file changes nothing, and the log names its line.
    fs::write(&users, format!("{}alice:plain text\n", entry("bob"))).unwrap();
    let told = async {
        while !registry.log().contains("line 2: the hash is plain text") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, told).await.expect("it is logged");
    assert!(registry.log().contains("the previous users stay in force"), "{}", registry.log());
    assert_eq!((status(address, ALICE).await, status(address, BOB).await), (401, 200));
    fs::remove_file(&users).unwrap();
    assert_eq!(status(address, BOB).await, 200);
    // Replaced by a rename, as many tools do.
    let new = root.path().join("new");
    fs::write(&new, entry("alice")).unwrap();
    fs::rename(&new, &users).unwrap();
    eventually(address, ALICE, 200).await;
    assert_eq!(status(address, BOB).await, 401);
    // On SIGHUP, files are read even if they look unchanged.
    let metadata = fs::metadata(&users).unwrap();
    let same = fs::File::options().write(true).open(&users).unwrap();
    std::io::Write::write_all(&mut &same, entry("alice").replace("otXF", "otXG").as_bytes())
        .unwrap();
    same.set_modified(metadata.modified().unwrap()).unwrap();
    registry.signal("HUP").unwrap();
    eventually(address, ALICE, 401).await;
}

#[test]
fn starts_that_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let users = root.path().join("users");
    let path = users.to_str().unwrap();
    for (content, settings, expected) in [
        (None, vec![("REGISTRY_AUTH", "htpasswd")], "needs REGISTRY_AUTH_HTPASSWD_PATH"),
        (None, vec![("REGISTRY_AUTH_HTPASSWD_PATH", path)], "roadstead htpasswd -Bbn"),
        (
            Some("# users\nbob:$apr1$x$y\n"),
            vec![("REGISTRY_AUTH_HTPASSWD_PATH", path)],
            "line 2: the hash is MD5 (htpasswd -m), and only bcrypt is accepted",
        ),
        (Some(USERS), vec![("REGISTRY_AUTH", "silly")], "must be htpasswd, token or none"),
        (Some(USERS), vec![("REGISTRY_AUTH_SILLY_REALM", "x")], "not supported"),
        (
            Some(USERS),
            with(&PASSWORDS, &[("REGISTRY_AUTH_RULES", "bob push")]),
            "REGISTRY_AUTH_RULES: \"bob push\": a rule says who, what and where",
        ),
        (Some(USERS), with(&PASSWORDS, &[("REGISTRY_HTTP_ADDR", ":0")]), "REGISTRY_AUTH_PLAINHTTP"),
        (
            Some(USERS),
            with(
                &PASSWORDS,
                &[
                    ("REGISTRY_AUTH_OIDC_ISSUER", "https://issuer.example"),
                    ("REGISTRY_AUTH_OIDC_AUDIENCE", "here"),
                ],
            ),
            "needs REGISTRY_AUTH_RULES",
        ),
    ] {
        match content {
            Some(content) => fs::write(&users, content).unwrap(),
            None => drop(fs::remove_file(&users)),
        }
        let error = Registry::start(&root.path().join("data"), &settings, &[]).unwrap_err();
        // It is preceded by the command, with its variables.
        let said = error.to_string();
        let said = said.split_once("ended:").map_or("", |(_, said)| said);
        assert!(said.contains(expected), "{settings:?}: {said}");
        assert!(!said.contains("$2y$"), "a hash is in the message: {said}");
    }
    let open =
        with(&PASSWORDS, &[("REGISTRY_HTTP_ADDR", ":0"), ("REGISTRY_AUTH_PLAINHTTP", "true")]);
    Registry::start(&root.path().join("data"), &open, &[]).unwrap();
}
