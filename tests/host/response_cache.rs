//! The host's cache of small responses: they equal the component's, are never
//! older than an acknowledged write, and never go to another user.

use crate::disk::Disk;
use crate::secure::{Authority, Secure};
use crate::support::{TEST_LIMIT, ask, build, eventually, request, within};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use roadstead_tests::{Answer, Registry, basic, digest, send};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const DELETE: (&str, &str) = ("REGISTRY_STORAGE_DELETE_ENABLED", "true");

/// With the password `secret`.
const ALICE: &str = "alice:$2y$04$otXFflgnRBs5/.9WB5WXoua48NmO/aSlvckSzhnCBf6fuoSZfGhni";

/// With the password `pass:word`.
const BOB: &str = "bob:$2y$04$8Aabr9tVLFOxbpaFoDbesez5OXfe.RHfMsIUMdoYXsqacRtu2oH3a";

/// How often each kind of write is followed by a read.
const ROUNDS: usize = 100;

/// The number of concurrent readers.
const READERS: usize = 4;

fn index(number: usize) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"number":"{number}"}}}}"#)
}

fn put(path: &str, number: usize) -> Request<Bytes> {
    let start = build(&format!("PUT {path}")).header("content-type", INDEX);
    start.body(Bytes::from(index(number))).unwrap()
}

fn number(answer: &Answer) -> usize {
    let manifest: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    manifest["annotations"]["number"].as_str().unwrap().parse().unwrap()
}

async fn get(address: &str, line: &str, headers: &[(&str, &str)]) -> Answer {
    let mut start = build(line);
    for (name, value) in headers {
        start = start.header(*name, *value);
    }
    send(address, start.body(Bytes::new()).unwrap()).await.unwrap()
}

/// The headers without those that differ between responses.
fn lasting(answer: &Answer) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = answer.headers().clone();
    headers.remove("date");
    headers.remove("x-request-id");
    (answer.status(), headers, answer.body().clone())
}

/// Responses from the cache and from the component are the same, and none has the
/// headers for the cache.
#[tokio::test]
async fn the_same_answers() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        ask(address, put("/v2/a/manifests/tag", 1), 201).await;
        let blob = b"0123456789".repeat(1000);
        let at = digest(&blob);
        let push = format!("POST /v2/a/blobs/uploads/?digest={at}");
        ask(address, request(&push, blob.clone()), 201).await;
        let empty = digest(b"");
        ask(address, request(&format!("POST /v2/a/blobs/uploads/?digest={empty}"), ""), 201).await;
        let manifest = digest(index(1).as_bytes());
        let etag = format!("\"{at}\"");
        let paths = [
            "/v2/a/manifests/tag".to_owned(),
            format!("/v2/a/manifests/{manifest}"),
            format!("/v2/a/blobs/{at}"),
            format!("/v2/a/blobs/{empty}"),
            "/v2/".to_owned(),
            "/v2/a/manifests/none".to_owned(),
            format!("/v2/a/manifests/{at}"),
            format!("/v2/a/blobs/{manifest}"),
            "/v2/a/tags/list".to_owned(),
        ];
        let headers: [&[(&str, &str)]; 12] = [
            &[],
            &[("range", "bytes=0-0")],
            &[("range", "bytes=10-99")],
            &[("range", "bytes=-5")],
            &[("range", "bytes=9000-")],
            &[("range", "bytes=10000-")],
            &[("range", "bytes=5-4")],
            &[("range", "bytes=0-1,3-4")],
            &[("range", "lines=1-2")],
            &[("if-none-match", etag.as_str())],
            &[("if-none-match", "W/\"x\", *")],
            &[("if-none-match", "\"x\""), ("accept", "text/html")],
        ];
        for path in &paths {
            // The whole response is cached now, if it can be.
            get(address, &format!("GET {path}"), &[]).await;
            for headers in headers {
                for method in ["GET", "HEAD"] {
                    let line = format!("{method} {path}");
                    let kept = lasting(&get(address, &line, headers).await);
                    let past = [headers, &[("cache-control", "no-cache")]].concat();
                    let asked = lasting(&get(address, &line, &past).await);
                    assert_eq!(kept, asked, "{line} {headers:?}");
                    assert!(!kept.1.keys().any(|name| name.as_str().starts_with("surrogate")));
                }
            }
        }
    })
    .await;
}

/// Cached responses do not need the storage, and changes by other processes are
/// noticed in time.
#[tokio::test]
async fn kept_for_its_time() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let path = "/v2/a/manifests/tag";
        ask(address, put(path, 1), 201).await;
        let link =
            root.path().join("docker/registry/v2/repositories/a/_manifests/tags/tag/current/link");
        // A slow machine may take longer than the cache time, but not always.
        eventually("an answer without the storage", async || {
            ask(address, request(&format!("GET {path}"), ""), 200).await;
            let content = std::fs::read(&link).unwrap();
            std::fs::remove_file(&link).unwrap();
            let answer = get(address, &format!("GET {path}"), &[]).await;
            std::fs::write(&link, content).unwrap();
            (answer.status() == 200).then_some(())
        })
        .await;
        std::fs::remove_file(&link).unwrap();
        eventually("it is gone", async || {
            (get(address, &format!("GET {path}"), &[]).await.status() == 404).then_some(())
        })
        .await;
    })
    .await;
}

/// A blob that no other one is, and its digest.
fn blob(number: usize) -> (String, String) {
    let bytes = format!("blob {number}");
    (digest(bytes.as_bytes()), bytes)
}

async fn assert_missing(address: &str, path: &str) {
    for method in ["HEAD", "GET", "HEAD"] {
        let answer = ask(address, request(&format!("{method} {path}"), ""), 404).await;
        assert_eq!(answer.body().is_empty(), method == "HEAD");
    }
}

async fn assert_stored(address: &str, path: &str) {
    ask(address, request(&format!("HEAD {path}"), ""), 200).await;
    ask(address, request(&format!("GET {path}"), ""), 200).await;
}

/// That content is missing is said without the storage too.
#[tokio::test]
async fn what_is_missing_is_kept_for_its_time() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let (address, disk) = (host.address.as_str(), Disk(root.path()));
    let numbers = AtomicUsize::new(0);
    within(TEST_LIMIT, async {
        eventually("an answer without the storage", async || {
            let (at, bytes) = blob(numbers.fetch_add(1, Ordering::Relaxed));
            let path = format!("/v2/a/blobs/{at}");
            assert_missing(address, &path).await;
            // Another process stores it.
            for (file, content) in [(disk.blob(&at), &bytes), (disk.layer_link("a", &at), &at)] {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, content).unwrap();
            }
            let kept = get(address, &format!("GET {path}"), &[]).await.status() == 404;
            eventually("it is found", async || {
                (get(address, &format!("GET {path}"), &[]).await.status() == 200).then_some(())
            })
            .await;
            kept.then_some(())
        })
        .await;
    })
    .await;
}

/// Whatever stores content ends what was kept of its absence.
#[tokio::test]
async fn what_is_missing_is_kept_until_it_is_stored() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        for round in 0..ROUNDS {
            let (at, bytes) = blob(round);
            let (here, there) = (format!("/v2/a/blobs/{at}"), format!("/v2/b/blobs/{at}"));
            assert_missing(address, &here).await;
            let upload = ask(address, request("POST /v2/a/blobs/uploads/", ""), 202).await;
            let session = upload.headers()["location"].to_str().unwrap().to_owned();
            ask(address, request(&format!("PATCH {session}"), bytes.clone()), 202).await;
            assert_missing(address, &here).await;
            ask(address, request(&format!("PUT {session}?digest={at}"), ""), 201).await;
            assert_stored(address, &here).await;
            assert_missing(address, &there).await;
            let mount = format!("POST /v2/b/blobs/uploads/?mount={at}&from=a");
            ask(address, request(&mount, ""), 201).await;
            assert_stored(address, &there).await;
            ask(address, request(&format!("DELETE {here}"), ""), 202).await;
            assert_missing(address, &here).await;
            ask(address, request(&format!("POST /v2/a/blobs/uploads/?digest={at}"), bytes), 201)
                .await;
            assert_stored(address, &here).await;

            let at = digest(index(round).as_bytes());
            let path = format!("/v2/a/manifests/{at}");
            assert_missing(address, &path).await;
            ask(address, put("/v2/a/manifests/tag", round), 201).await;
            assert_stored(address, &path).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_found_when_its_link_leads_to_it_again() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
    let (address, disk) = (host.address.as_str(), Disk(root.path()));
    within(TEST_LIMIT, async {
        // Another repository stores the content of a link again.
        let (at, bytes) = blob(0);
        let push = |name| format!("POST /v2/{name}/blobs/uploads/?digest={at}");
        ask(address, request(&push("a"), bytes.clone()), 201).await;
        std::fs::remove_file(disk.blob(&at)).unwrap();
        let path = format!("/v2/a/blobs/{at}");
        assert_missing(address, &path).await;
        ask(address, request(&push("b"), bytes), 201).await;
        assert_stored(address, &path).await;
        // A push of a manifest may link a blob again that a deletion took away.
        ask(address, request(&format!("DELETE {path}"), ""), 202).await;
        assert_missing(address, &path).await;
        let link = disk.layer_link("a", &at);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::fs::write(link, &at).unwrap();
        ask(address, put("/v2/a/manifests/other", ROUNDS), 201).await;
        assert_stored(address, &path).await;
    })
    .await;
}

#[tokio::test]
async fn writes_are_seen_at_once() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[DELETE], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let path = "/v2/a/b/manifests/tag";
        let read = format!("GET {path}");
        for round in 1..=ROUNDS {
            ask(address, put(path, round), 201).await;
            for _ in 0..2 {
                assert_eq!(number(&ask(address, request(&read, ""), 200).await), round);
            }
            let head = ask(address, request(&format!("HEAD {path}"), ""), 200).await;
            let at = digest(index(round).as_bytes());
            assert_eq!(head.headers()["docker-content-digest"], at);
            // By a `tag` parameter, in a push of another reference.
            let by_digest = format!("/v2/a/b/manifests/{}", digest(index(0).as_bytes()));
            ask(address, put(&format!("{by_digest}?tag=tag"), 0), 201).await;
            assert_eq!(number(&ask(address, request(&read, ""), 200).await), 0);
            if round % 2 == 0 {
                ask(address, request(&format!("DELETE {path}"), ""), 202).await;
                ask(address, request(&read, ""), 404).await;
                ask(address, request(&format!("HEAD {path}"), ""), 404).await;
            }
            let by_digest = format!("/v2/a/b/manifests/{at}");
            ask(address, request(&format!("GET {by_digest}"), ""), 200).await;
            ask(address, request(&format!("DELETE {by_digest}"), ""), 202).await;
            ask(address, request(&format!("GET {by_digest}"), ""), 404).await;

            let blob = format!("blob {round}");
            let at = digest(blob.as_bytes());
            let push = format!("POST /v2/a/b/blobs/uploads/?digest={at}");
            ask(address, request(&format!("HEAD /v2/a/b/blobs/{at}"), ""), 404).await;
            ask(address, request(&push, blob), 201).await;
            let blob = format!("/v2/a/b/blobs/{at}");
            ask(address, request(&format!("GET {blob}"), ""), 200).await;
            ask(address, request(&format!("DELETE {blob}"), ""), 202).await;
            ask(address, request(&format!("GET {blob}"), ""), 404).await;
            ask(address, request(&format!("HEAD {blob}"), ""), 404).await;
        }
    })
    .await;
}

/// Concurrent readers and a writer: a read that begins after an acknowledged
/// write never returns the old content.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_older_than_a_write() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        let path = "/v2/a/manifests/tag";
        ask(&host.address, put(path, 1), 201).await;
        let acknowledged = Arc::new(AtomicUsize::new(1));
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let (address, acknowledged) = (host.address.clone(), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    let mut reads = 0;
                    while acknowledged.load(Ordering::SeqCst) < ROUNDS {
                        let least = acknowledged.load(Ordering::SeqCst);
                        let answer = ask(&address, request(&format!("GET {path}"), ""), 200).await;
                        assert!(number(&answer) >= least, "{} after {least}", number(&answer));
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for round in 2..=ROUNDS {
            ask(&host.address, put(path, round), 201).await;
            acknowledged.store(round, Ordering::SeqCst);
        }
        for reader in readers {
            assert!(reader.await.unwrap() > 0);
        }
    })
    .await;
}

/// Writes whose clients disconnect early are visible as soon as they are done.
#[tokio::test]
async fn writes_that_nobody_waits_for() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let path = "/v2/a/manifests/tag";
        ask(address, put(path, 0), 201).await;
        for round in 1..=20 {
            ask(address, request(&format!("GET {path}"), ""), 200).await;
            let body = index(round);
            let head = format!(
                "PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {INDEX}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            drop(stream);
            // Reads past the cache show when the write was done, if it was: the
            // client may have disconnected before it was read.
            let past = [("cache-control", "no-cache")];
            for _ in 0..20 {
                let now = number(&get(address, &format!("GET {path}"), &past).await);
                if now == round {
                    // From then on, or a moment later: the response to the
                    // write may still be in the host.
                    eventually("the write is seen", async || {
                        let kept = get(address, &format!("GET {path}"), &[]).await;
                        (number(&kept) == round).then_some(())
                    })
                    .await;
                    break;
                }
            }
            ask(address, put(path, round), 201).await;
        }
    })
    .await;
}

/// Users with a password get cached responses too; and when users change, those
/// who lost access get none.
#[tokio::test]
async fn users_change() {
    let root = tempfile::tempdir().unwrap();
    let users = root.path().join("users");
    std::fs::write(&users, ALICE).unwrap();
    let settings = [("REGISTRY_AUTH_HTPASSWD_PATH", users.to_str().unwrap())];
    let data = root.path().join("data");
    let host = Registry::start(&data, &settings, &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let alice = basic("alice", "secret");
        let alice = [("authorization", alice.as_str())];
        let path = "/v2/a/manifests/1";
        let mut push = put(path, 1);
        push.headers_mut().insert("authorization", alice[0].1.parse().unwrap());
        ask(address, push, 201).await;
        let link = data.join("docker/registry/v2/repositories/a/_manifests/tags/1/current/link");
        eventually("an answer without the storage", async || {
            let read = get(address, &format!("GET {path}"), &alice).await;
            assert_eq!(read.status(), 200);
            let content = std::fs::read(&link).unwrap();
            std::fs::remove_file(&link).unwrap();
            let kept = get(address, &format!("GET {path}"), &alice).await;
            std::fs::write(&link, content).unwrap();
            (kept.status() == 200).then_some(())
        })
        .await;
        assert_eq!(get(address, "GET /v2/", &alice).await.status(), 200);
        std::fs::write(&users, BOB).unwrap();
        eventually("the users are read", async || {
            get(address, &format!("GET {path}"), &alice).await;
            host.log().contains("reloaded the users").then_some(())
        })
        .await;
        for path in [path, "/v2/"] {
            assert_eq!(get(address, &format!("GET {path}"), &alice).await.status(), 401);
        }
        let bob = basic("bob", "pass:word");
        let bob = [("authorization", bob.as_str())];
        assert_eq!(get(address, &format!("GET {path}"), &bob).await.status(), 200);
    })
    .await;
}

/// Responses to one user are not given to others.
#[tokio::test]
async fn never_across_users() {
    let root = tempfile::tempdir().unwrap();
    let users = format!("{ALICE}\n{BOB}");
    let settings = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_ENTRIES", users.as_str()),
        ("REGISTRY_AUTH_RULES", "alice all **; anonymous pull public/**"),
    ];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    let address = host.address.as_str();
    within(TEST_LIMIT, async {
        let alice = basic("alice", "secret");
        let wrong = basic("alice", "wrong");
        let bob = basic("bob", "pass:word");
        for name in ["secret", "public/a"] {
            let mut push = put(&format!("/v2/{name}/manifests/1"), 1);
            push.headers_mut().insert("authorization", alice.parse().unwrap());
            ask(address, push, 201).await;
        }
        for _ in 0..3 {
            for (path, authorization, status) in [
                ("/v2/secret/manifests/1", alice.as_str(), 200),
                ("/v2/secret/manifests/1", "", 401),
                ("/v2/secret/manifests/1", bob.as_str(), 403),
                ("/v2/public/a/manifests/1", bob.as_str(), 200),
                ("/v2/secret/manifests/1", wrong.as_str(), 401),
                ("/v2/public/a/manifests/1", "", 200),
                ("/v2/public/a/manifests/1", "", 200),
                // A request with credentials is authorised by them.
                ("/v2/public/a/manifests/1", wrong.as_str(), 401),
                ("/v2/public/a/manifests/1", "Bearer x", 401),
                ("/v2/public/a/manifests/1", alice.as_str(), 200),
                ("/v2/", alice.as_str(), 200),
                ("/v2/", "", 401),
                ("/v2/", bob.as_str(), 200),
                ("/v2/", wrong.as_str(), 401),
            ] {
                let headers = [("authorization", authorization)];
                let headers = if authorization.is_empty() { &[][..] } else { &headers };
                let answer = get(address, &format!("GET {path}"), headers).await;
                // Further wrong passwords have to wait.
                let status = if answer.status() == 429 { 429 } else { status };
                assert_eq!(answer.status(), status, "{path} {authorization:?}");
            }
        }
    })
    .await;
}

/// Responses to the holder of a certificate are not given to others.
#[tokio::test]
async fn never_across_certificates() {
    within(TEST_LIMIT, async {
        let authority = Authority::new("clients");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("clients.pem");
        std::fs::write(&file, authority.pem()).unwrap();
        let settings = [
            ("REGISTRY_AUTH_RULES", "cert:builder pull,push **; anonymous pull public"),
            ("REGISTRY_HTTP_TLS_CLIENTCAS_0", file.to_str().unwrap()),
            ("REGISTRY_HTTP_TLS_CLIENTAUTH", "verify-client-cert-if-given"),
        ];
        let secure = Secure::start(&settings, &[]);
        let address = &secure.host.address;
        let builder = secure.client().with(&authority.client(Some("builder"), &[]));
        let path = "/v2/a/manifests/1";
        let push = format!(
            "PUT {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {INDEX}\r\n\
             Content-Length: {}\r\n\r\n{}",
            index(1).len(),
            index(1)
        );
        let mut stream = builder.connect(address).await.unwrap();
        stream.write_all(push.as_bytes()).await.unwrap();
        let mut pushed = String::new();
        stream.read_to_string(&mut pushed).await.unwrap();
        assert!(pushed.starts_with("HTTP/1.1 201 "), "{pushed}");
        for _ in 0..3 {
            assert_eq!(builder.get(address, path).await.unwrap().status(), 200);
            assert_eq!(secure.client().get(address, path).await.unwrap().status(), 403);
        }
    })
    .await;
}
