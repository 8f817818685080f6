//! What someone meets who tries the registry for the first time.

use crate::start::{assert_says, refusal, serve};
use crate::support::{TEST_LIMIT, logged, within};
use roadstead_tests::{
    Registry, SmallImage, Target, binary, binary_named, command, run, send, skip,
};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
const LOOPBACK: (&str, &str) = ("REGISTRY_HTTP_ADDR", "127.0.0.1:0");
const EVERYWHERE: (&str, &str) = ("REGISTRY_HTTP_ADDR", "0.0.0.0:0");
const USERS: &str = "REGISTRY_AUTH_HTPASSWD_PATH";
const ALICE: &str = "alice:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni\n";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A registry that anyone can reach and nobody has to log in to says so, and how to change it.
#[tokio::test]
async fn an_open_registry_says_so() {
    const WARNING: &str = "WARN there is no authentication: anyone who can connect";
    within(TEST_LIMIT, async {
        let root = tempfile::tempdir().unwrap();
        let there = (ROOT, text(root.path()));
        let open = Registry::serve(serve(&[there, EVERYWHERE], &[])).unwrap();
        let log = open.log();
        assert_eq!(log.matches(WARNING).count(), 1, "{log}");
        let expected =
            ["REGISTRY_AUTH=htpasswd", "REGISTRY_HTTP_ADDR=127.0.0.1:", "serving http://"];
        assert_says(&log, &expected);
        drop(open);
        let closed = Registry::serve(serve(&[there, LOOPBACK], &[])).unwrap();
        assert!(!closed.log().contains("WARN"), "{}", closed.log());
    })
    .await;
}

/// Users that nobody can be, at the start and after a change.
#[tokio::test]
async fn users_who_are_missing_are_named() {
    within(TEST_LIMIT, async {
        let root = tempfile::tempdir().unwrap();
        let users = root.path().join("users");
        fs::write(&users, "").unwrap();
        let data = root.path().join("data");
        let variables = [
            (ROOT, text(&data)),
            LOOPBACK,
            (USERS, text(&users)),
            ("REGISTRY_AUTH_RULES", "@team = alice, bob; @team pull,push **"),
        ];
        let host = Registry::serve(serve(&variables, &[])).unwrap();
        let log = host.log();
        assert_says(
            &log,
            &["INFO 0 users can log in", "WARN REGISTRY_AUTH_HTPASSWD_PATH has no user"],
        );
        assert_says(&log, &["does not have: alice, bob; correct the names"]);
        fs::write(&users, ALICE).unwrap();
        logged(&host, "reloaded the users; 1 user can log in").await;
        logged(&host, "does not have: bob; correct the names").await;
        drop(host);
        let rules = [variables[0], variables[1], variables[3]];
        let host = Registry::serve(serve(&rules, &[])).unwrap();
        let said = "WARN REGISTRY_AUTH_RULES has rules for users, but no user can log in";
        assert_says(&host.log(), &[said]);
    })
    .await;
}

/// Addresses are no URLs.
#[test]
fn a_url_is_no_address() {
    let root = tempfile::tempdir().unwrap();
    for address in ["http://localhost:5000", "https://:5000", "http://127.0.0.1:5000/"] {
        let variables = [(ROOT, text(root.path())), ("REGISTRY_HTTP_ADDR", address)];
        let said = refusal(serve(&variables, &[]));
        assert_says(&said, &["REGISTRY_HTTP_ADDR", "without a scheme and a path"]);
    }
}

/// The reader of a pipe may have seen enough, as `head` has: the command does its work, and ends
/// with its own status.
#[test]
fn pipes_that_nobody_reads() {
    let root = tempfile::tempdir().unwrap();
    let [data, certs] = ["data", "certs"].map(|name| root.path().join(name));
    drop(Registry::start(&data, &[], &[]).unwrap());
    for (arguments, status) in [
        (&["component"][..], 0),
        (&["--help"], 0),
        (&["serve", "--help"], 0),
        (&["cert", "--output", text(&certs), "registry.example"], 0),
        (&["htpasswd", "-nbBC", "4", "alice", "secret"], 0),
        (&["gc", "--json", "--dry-run", text(&data)], 0),
        (&["gc", text(&data), "--usage"], 0),
        (&["du", text(&data), "--depth", "1"], 0),
        (&["scrub", text(&data)], 0),
        (&["rm", "--directory", text(&data), "team/app:1.2"], 3),
        (&["rescue", text(&data)], 0),
        (&["doctor", "--timeout", "1", "127.0.0.1:1"], 1),
    ] {
        for with_errors in [false, true] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = command(arguments);
            if with_errors {
                command.stderr(writer.try_clone().unwrap());
            }
            let Output { status: found, stderr, .. } = command.stdout(writer).output().unwrap();
            let said = String::from_utf8(stderr).unwrap();
            assert_eq!(found.code(), Some(status), "{arguments:?}: {said}");
            assert!(!said.contains("pipe"), "{arguments:?}: {said}");
        }
    }
    assert!(certs.join("server.crt").is_file());
}

/// The lines of `docs/operations.md` that delete an image with curl.
#[tokio::test]
async fn an_image_is_deleted_by_the_documented_lines() {
    const DOCUMENT: &str = include_str!("../../docs/operations.md");
    if binary_named(&["curl"]).is_none() {
        skip("an_image_is_deleted_by_the_documented_lines", "no curl");
        return;
    }
    let start = DOCUMENT.find("registry=http://localhost:5000").unwrap();
    let lines = DOCUMENT[start..].split("```").next().unwrap();
    within(
        TEST_LIMIT,
        Box::pin(async {
            let root = tempfile::tempdir().unwrap();
            let deletes = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");
            let host = Registry::start(root.path(), &[deletes], &[]).unwrap();
            let image = SmallImage::new("1.2", 10);
            run(&Target::Server(host.address.clone()), &image.pushed()).await;
            let lines = lines.replace("localhost:5000", &host.address);
            let output = Command::new("sh").args(["-euc", &lines]).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{lines}: {errors}");
            let said: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(said["status"].is_string(), "{said}");
            let request = http::Request::get(image.path()).body(bytes::Bytes::new()).unwrap();
            assert_eq!(send(&host.address, request).await.unwrap().status(), 404);
        }),
    )
    .await;
}

/// A file of users that exists and cannot be read is not to be created again.
#[cfg(unix)]
#[test]
fn an_unreadable_file_is_not_to_be_replaced() {
    use roadstead_tests::unprivileged;
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let Some(mut command) = unprivileged(root.path(), &binary().unwrap()).unwrap() else {
        skip("an_unreadable_file_is_not_to_be_replaced", "no setpriv");
        return;
    };
    let [users, data] = ["users", "data"].map(|name| root.path().join(name));
    fs::write(&users, ALICE).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o0)).unwrap();
    command.arg("serve").envs([(ROOT, text(&data)), LOOPBACK, (USERS, text(&users))]);
    let said = refusal(command);
    assert_says(
        &said,
        &[USERS, "Permission denied", "let the user that the registry runs as read"],
    );
    assert!(!said.contains("roadstead htpasswd"), "{said}");
}
