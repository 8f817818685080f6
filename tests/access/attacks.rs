//! Attacks on registries, one test each: reads across repositories, forged paths
//! and headers, floods.

use crate::{ALICE, ANONYMOUS, BOB, DELETE, PASSWORDS, TOKENS, push, push_blob, with};
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::{
    Registry, basic, delete, digest, everywhere, get, head, post, put, send, send_from,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tempfile::TempDir;

/// Blobs and manifests of a repository that a user may not pull cannot be read
/// through one that they may push to (CVE-2024-39897).
#[tokio::test]
async fn reads_across_repositories() {
    let settings = with(&with(&PASSWORDS, &TOKENS), &[ANONYMOUS, DELETE]);
    everywhere("reads_across_repositories", &settings, || {
        let bob = |step: roadstead_tests::Step| step.login("bob", "pass:word");
        let secret = digest(b"secret bytes");
        let manifest = digest(crate::INDEX.as_bytes());
        vec![
            push_blob("secret", b"secret bytes", ALICE).status(201),
            push("secret", "1", ALICE).status(201),
            push_blob("team/a", b"other bytes", BOB).status(201),
            // As if the blob did not exist: an upload begins.
            bob(post(format!("/v2/team/a/blobs/uploads/?mount={secret}&from=secret"))).status(202),
            bob(post(format!("/v2/team/a/blobs/uploads/?mount={secret}"))).status(202),
            bob(post(format!("/v2/team/a/blobs/uploads/?mount={secret}&from=nowhere"))).status(202),
            bob(head(format!("/v2/team/a/blobs/{secret}"))).status(404),
            bob(get(format!("/v2/team/a/blobs/{secret}"))).error(404, "BLOB_UNKNOWN"),
            bob(get(format!("/v2/team/a/manifests/{manifest}"))).error(404, "MANIFEST_UNKNOWN"),
            bob(get(format!("/v2/team/a/blobs/{manifest}"))).error(404, "BLOB_UNKNOWN"),
            // An image that references it does not give access to it.
            bob(put("/v2/team/a/manifests/1"))
                .header("content-type", "application/vnd.oci.image.manifest.v1+json")
                .body(format!(
                    r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{secret}","size":12}},"layers":[]}}"#
                ))
                .error(400, "MANIFEST_BLOB_UNKNOWN"),
            bob(delete(format!("/v2/secret/blobs/{secret}"))).error(403, "DENIED"),
            // A user who may pull it may mount it where they may push.
            post(format!("/v2/team/a/blobs/uploads/?mount={secret}&from=secret"))
                .login("alice", "secret")
                .status(201),
            bob(head(format!("/v2/team/a/blobs/{secret}"))),
        ]
    })
    .await;
}

/// An upload belongs to its repository: its ID is not valid in another one.
#[tokio::test]
async fn uploads_of_others() {
    let rules = ("REGISTRY_AUTH_RULES", "alice all **; bob pull,push team/**");
    everywhere("uploads_of_others", &with(&PASSWORDS, &[rules]), || {
        let id = "{location}";
        vec![
            post("/v2/secret/blobs/uploads/").login("alice", "secret").status(202),
            get(id).login("bob", "pass:word").error(403, "DENIED"),
            roadstead_tests::patch(id).login("bob", "pass:word").body("x").error(403, "DENIED"),
            put(format!("{id}?digest={}", digest(b"x")))
                .login("bob", "pass:word")
                .error(403, "DENIED"),
            delete(id).login("bob", "pass:word").error(403, "DENIED"),
            get(id).error(401, "UNAUTHORIZED"),
            get(id).login("alice", "secret").status(204),
        ]
    })
    .await;
    // The same id below a repository that bob may push to.
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path(), &with(&PASSWORDS, &[rules]), &[]).unwrap();
    let begun = ask(&registry.address, "POST", "/v2/secret/blobs/uploads/", &[], ALICE).await;
    let location = begun.headers()["location"].to_str().unwrap().replace("/secret/", "/team/a/");
    let answer = ask(&registry.address, "GET", &location, &[], BOB).await;
    assert_eq!(answer.status(), 404);
}

async fn ask(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    (user, password): (&str, &str),
) -> roadstead_tests::Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !user.is_empty() {
        request = request.header("authorization", basic(user, password));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(address, request.body(Bytes::new()).unwrap()).await.unwrap()
}

/// No spelling of a path gives access to another user's repository.
#[tokio::test]
async fn tricks_with_paths() {
    let rules = ("REGISTRY_AUTH_RULES", "alice all **; bob all team/**; anonymous pull public/**");
    let settings = with(&with(&PASSWORDS, &TOKENS), &[rules, DELETE]);
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path(), &settings, &[]).unwrap();
    let pushed = roadstead_tests::Target::Server(registry.address.clone());
    roadstead_tests::run(&pushed, &[push("secret/a", "1", ALICE).status(201)]).await;
    let digest = digest(crate::INDEX.as_bytes());
    for path in [
        "/v2/team/../secret/a/manifests/1",
        "/v2/team/%2e%2e/secret/a/manifests/1",
        "/v2/team%2F..%2Fsecret%2Fa/manifests/1",
        "/v2/public/../secret/a/manifests/1",
        "/v2//secret/a/manifests/1",
        "/v2/secret//a/manifests/1",
        "/v2/./secret/a/manifests/1",
        "/v2/secret/a/manifests/1%00",
        "/v2/secret/a/manifests/../manifests/1",
        "/v2/secret%2Fa/manifests/1",
        "/v2/SECRET/a/manifests/1",
        "/v2/secret/a/manifests/1/../../../../team/a/manifests/1",
        "/v2/team/a/manifests/..%2F..%2F..%2Fsecret%2Fa%2Fmanifests%2F1",
        "/v2/team/a/blobs/uploads/..%2F..%2F..%2F..%2Fsecret%2Fa",
        "/v2/secret/a/tags/list?/v2/team/a/tags/list",
        "/v2/secret/a/tags/list#/v2/public/a/tags/list",
        "//v2/secret/a/tags/list",
        "/v2/secret/a/_manifests/tags/1/current/link",
        "/V2/secret/a/tags/list",
    ] {
        for method in ["GET", "HEAD", "DELETE", "PUT", "PATCH", "POST"] {
            for who in [("", ""), BOB] {
                let Ok(request) = Request::builder().method(method).uri(path).body(()) else {
                    continue;
                };
                drop(request);
                let answer = ask(&registry.address, method, path, &[], who).await;
                assert!(answer.status().is_client_error(), "{method} {path}: {answer:?}");
                assert!(!String::from_utf8_lossy(answer.body()).contains(&digest), "{path}");
            }
        }
    }
}

/// Headers of a proxy or of the host are ignored if a client sends them; of two
/// credentials, neither is used.
#[tokio::test]
async fn forged_headers() {
    let rules =
        ("REGISTRY_AUTH_RULES", "cert:admin all **; alice all **; anonymous pull public/**");
    let settings = with(&PASSWORDS, &[rules]);
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path(), &settings, &[]).unwrap();
    for (name, value) in [
        ("x-roadstead-certificate", "admin"),
        ("X-Roadstead-Certificate", "admin"),
        ("x-forwarded-user", "alice"),
        ("x-remote-user", "alice"),
        ("roadstead-question", "{}"),
        ("roadstead-answer", "{}"),
        ("x-original-url", "/v2/public/a/tags/list"),
        ("x-http-method-override", "GET"),
        ("cookie", "user=alice"),
        ("proxy-authorization", "Basic YWxpY2U6c2VjcmV0"),
    ] {
        let headers = [(name, value)];
        let answer =
            ask(&registry.address, "GET", "/v2/secret/tags/list", &headers, ("", "")).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
    }
    let two = [("authorization", "Bearer x")];
    let answer = ask(&registry.address, "GET", "/v2/", &two, ALICE).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    // A forged scheme does not change the realm's URL.
    let forged = [("x-roadstead-scheme", "https"), ("x-forwarded-proto", "https")];
    let answer = ask(&registry.address, "GET", "/v2/", &forged, ("", "")).await;
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer realm=\"http://127.0.0.1:"), "{challenge}");
}

/// More than a thousand requests, sent while the first ones are refused.
const FLOOD: usize = 1200;

/// A registry that has the tag `1` in `team/a`, pushed by Alice: her password is cached,
/// so that her pulls need no bcrypt.
async fn with_an_image(settings: &[(&str, &str)]) -> (TempDir, Registry) {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path(), settings, &[]).unwrap();
    let target = roadstead_tests::Target::Server(registry.address.clone());
    roadstead_tests::run(&target, &[push("team/a", "1", ALICE).status(201)]).await;
    (root, registry)
}

/// Wrong passwords from one address cost a bounded number of bcrypt runs, and do
/// not affect pulls with a password that is cached, nor logins from other addresses.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_passwords() {
    let rules = ("REGISTRY_AUTH_RULES", "* all **; anonymous pull public/**");
    // All of it reaches the passwords: by default, a client has fewer connections and
    // requests at a time, and how many of these would be refused depends on the machine.
    let more = [
        ("REGISTRY_HTTP_MAXCONNECTIONSPERCLIENT", "2048"),
        ("REGISTRY_HTTP_MAXREQUESTS", "2048"),
        ("REGISTRY_HTTP_MAXREQUESTSPERCLIENT", "2048"),
    ];
    let (_root, registry) = with_an_image(&with(&with(&PASSWORDS, &[rules]), &more)).await;
    let address = registry.address.clone();
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| {
            let address = address.clone();
            tokio::spawn(async move {
                let user = format!("user{number}");
                let answer = ask(&address, "GET", "/v2/", &[], (&user, "guess")).await;
                if answer.status() == 429 {
                    assert!(answer.headers().contains_key("retry-after"));
                }
                answer.status().as_u16()
            })
        })
        .collect();
    let mut pulls = 0;
    while flood.iter().any(|task| !task.is_finished()) {
        let answer = ask(&address, "GET", "/v2/team/a/manifests/1", &[], ALICE).await;
        assert_eq!(answer.status(), 200);
        pulls += 1;
    }
    assert!(pulls > 0);
    let mut statuses = BTreeMap::new();
    for task in flood {
        *statuses.entry(task.await.unwrap()).or_insert(0_usize) += 1;
    }
    let verified = statuses.get(&401).copied().unwrap_or(0);
    assert_eq!(verified + statuses.get(&429).copied().unwrap_or(0), FLOOD, "{statuses:?}");
    // As many as an address may get wrong, plus those in flight at that time.
    assert!((1..=30).contains(&verified), "{statuses:?}");
    // This address has to wait; another one does not.
    lock_out(&address).await;
    let answer = ask(&address, "GET", "/v2/", &[], BOB).await;
    assert_eq!(answer.status(), 429);
    let elsewhere: IpAddr = "127.0.0.2".parse().unwrap();
    let request = Request::get("/v2/").header("authorization", basic(BOB.0, BOB.1));
    let answer = send_from(elsewhere, &address, request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    // Bob's credentials are cached now, for every address.
    let answer = ask(&address, "GET", "/v2/", &[], BOB).await;
    assert_eq!(answer.status(), 200);
}

/// With the limits that a registry has by default, some of a flood are refused before
/// their passwords are looked at. Clients at other addresses notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_beside_other_clients() {
    let (_root, registry) = with_an_image(&PASSWORDS).await;
    let address = registry.address.clone();
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| {
            let address = address.clone();
            let guess = basic(&format!("user{number}"), "guess");
            let request = Request::get("/v2/").header("authorization", guess);
            // Its connection may be refused.
            tokio::spawn(async move { send(&address, request.body(Bytes::new()).unwrap()).await })
        })
        .collect();
    let elsewhere: IpAddr = "127.0.0.2".parse().unwrap();
    let mut pulls = 0;
    while flood.iter().any(|task| !task.is_finished()) {
        let pull =
            Request::get("/v2/team/a/manifests/1").header("authorization", basic(ALICE.0, ALICE.1));
        let answer =
            send_from(elsewhere, &address, pull.body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        pulls += 1;
    }
    assert!(pulls > 0);
    for task in flood {
        assert!(!task.await.unwrap().is_ok_and(|answer| answer.status().is_success()));
    }
}

/// Guesses until the address has to wait longer than a slow machine takes for
/// the test: each pause is twice the one before.
async fn lock_out(address: &str) {
    /// Seconds.
    const LONG: u64 = 3;
    for number in 0_u32.. {
        let user = format!("late{number}");
        let answer = ask(address, "GET", "/v2/", &[], (&user, "guess")).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            if wait >= LONG {
                return;
            }
            tokio::time::sleep(Duration::from_secs(wait)).await;
        } else {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
    }
}

/// Concurrent requests with the same new password run bcrypt once.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_one_password() {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path(), &PASSWORDS, &[]).unwrap();
    let burst: Vec<_> = (0..64)
        .map(|_| {
            let address = registry.address.clone();
            tokio::spawn(async move { ask(&address, "GET", "/v2/", &[], ALICE).await.status() })
        })
        .collect();
    for task in burst {
        assert_eq!(task.await.unwrap(), 200);
    }
}

/// A forged client address does not have to wait instead of the real one; an
/// address from a trusted proxy does.
#[tokio::test]
async fn forged_addresses() {
    for (trusted, expected) in [("", 429), ("127.0.0.0/8", 401)] {
        let settings = with(&PASSWORDS, &[("REGISTRY_HTTP_TRUSTEDPROXIES", trusted)]);
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::start(root.path(), &settings, &[]).unwrap();
        let mut last = 0;
        for number in 0..25 {
            let from = format!("192.0.2.{number}");
            let headers = [("x-forwarded-for", from.as_str())];
            let user = format!("user{number}");
            let answer = ask(&registry.address, "GET", "/v2/", &headers, (&user, "guess")).await;
            last = answer.status().as_u16();
        }
        assert_eq!(last, expected, "trusted proxies: {trusted:?}");
    }
}
