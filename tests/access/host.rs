//! The native host's part of access control: reloads, and refused starts.

use crate::{ALICE, BOB, INDEX, PASSWORDS, USERS, with};
use bytes::Bytes;
use http::Request;
use roadstead_tests::{Answer, Registry, basic, send};
#[cfg(unix)]
use roadstead_tests::{binary, skip, unprivileged};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long a change of a file may take to have effect.
const LIMIT: Duration = Duration::from_secs(30);

async fn status(address: &str, (user, password): (&str, &str)) -> u16 {
    ask(address, "/v2/", &basic(user, password)).await.status().as_u16()
}

async fn ask(address: &str, path: &str, authorization: &str) -> Answer {
    let request = Request::get(path).header("authorization", authorization);
    send(address, request.body(Bytes::new()).unwrap()).await.unwrap()
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

/// A new file that the registry may not read, as editors and `mktemp` make them,
/// has effect once it may.
#[cfg(unix)]
#[tokio::test]
async fn users_change_when_their_file_can_be_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let Some(mut command) = unprivileged(root.path(), &binary().unwrap()).unwrap() else {
        skip("users_change_when_their_file_can_be_read", "no setpriv; Debian has it in util-linux");
        return;
    };
    let users = root.path().join("users");
    fs::write(&users, entry("alice") + &entry("bob")).unwrap();
    command
        .arg("serve")
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.path().join("data"))
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .env("REGISTRY_AUTH", "htpasswd")
        .env("REGISTRY_AUTH_HTPASSWD_PATH", &users);
    let registry = Registry::serve(command).unwrap();
    let address = registry.address.as_str();
    assert_eq!((status(address, ALICE).await, status(address, BOB).await), (200, 200));
    let new = root.path().join("new");
    fs::write(&new, entry("bob")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o000)).unwrap();
    fs::rename(&new, &users).unwrap();
    let told = async {
        while !registry.log().contains("the previous users stay in force") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, told).await.expect("it is logged");
    assert_eq!((status(address, ALICE).await, status(address, BOB).await), (200, 200));
    fs::set_permissions(&users, fs::Permissions::from_mode(0o644)).unwrap();
    eventually(address, ALICE, 401).await;
    assert_eq!(status(address, BOB).await, 200);
}

/// Neither the token nor what was kept for its requests outlives its user.
#[tokio::test]
async fn a_removed_users_token_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let users = root.path().join("users");
    fs::write(&users, entry("alice") + &entry("bob")).unwrap();
    let settings = [
        ("REGISTRY_AUTH", "token"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", users.to_str().unwrap()),
        ("REGISTRY_AUTH_TOKEN_EXPIRATION", "1h"),
    ];
    let registry = Registry::start(&root.path().join("data"), &settings, &[]).unwrap();
    let address = registry.address.as_str();
    let mut tokens = Vec::new();
    for (user, password) in [ALICE, BOB] {
        let path = "/v2/token?service=roadstead&scope=repository:a:pull,push";
        let answer = ask(address, path, &basic(user, password)).await;
        let answer: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        tokens.push(format!("Bearer {}", answer["token"].as_str().unwrap()));
    }
    let manifest = "/v2/a/manifests/1";
    let push = Request::put(manifest)
        .header("authorization", &tokens[0])
        .header("content-type", "application/vnd.oci.image.index.v1+json");
    let push = push.body(Bytes::from_static(INDEX.as_bytes())).unwrap();
    assert_eq!(send(address, push).await.unwrap().status(), 201);
    for token in &tokens {
        for _ in 0..2 {
            assert_eq!(ask(address, manifest, token).await.status(), 200);
        }
    }
    fs::write(&users, entry("bob")).unwrap();
    let refused = async {
        while ask(address, manifest, &tokens[0]).await.status() != 401 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("alice's token is refused");
    assert_eq!(ask(address, "/v2/", &tokens[0]).await.status(), 401);
    assert_eq!(ask(address, manifest, &tokens[1]).await.status(), 200);
}

#[test]
fn starts_that_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let users = root.path().join("users");
    let path = users.to_str().unwrap();
    for (content, settings, expected) in [
        (None, vec![("REGISTRY_AUTH", "htpasswd")], "needs REGISTRY_AUTH_HTPASSWD_PATH"),
        (None, vec![("REGISTRY_AUTH_HTPASSWD_PATH", path)], "create it with roadstead htpasswd -c"),
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
