//! The lines of requests: who asked for what, by which identifier, and never a secret.

use crate::support::{TEST_LIMIT, ask, build, code, eventually, logged, request, within};
use crate::trap;
use crate::wire::Wire;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use roadstead_tests::{PASSWORD, Registry, SmallImage, Target, USER, entry, run};
use serde_json::Value;
use std::path::Path;

/// What nobody may find in a log.
const WRONG: &str = "a-wrong-password";

/// A registry whose users are in a file, with more settings.
fn with_users(root: &Path, settings: &[(&str, &str)]) -> Registry {
    let file = root.join("htpasswd");
    std::fs::write(&file, entry().unwrap()).unwrap();
    let mut all = vec![
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", file.to_str().unwrap()),
    ];
    all.extend(settings);
    Registry::start(&root.join("data"), &all, &[]).unwrap()
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{password}")))
}

fn by(line: &str, password: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let agent = "docker/29.1 \"odd\"";
    let request = build(line).header("authorization", basic(password)).header("user-agent", agent);
    request.body(body.into()).unwrap()
}

/// The last line of a request for a URI, of a log of JSON objects.
async fn line(host: &Registry, uri: &str) -> Value {
    let field = format!("\"uri\":\"{uri}\"");
    logged(host, &field).await;
    let log = host.log();
    let line = log.lines().rfind(|line| line.contains(&field)).unwrap();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn what_is_logged_of_a_request() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    let host = with_users(root.path(), &[("REGISTRY_LOG_FORMATTER", "json")]);
    let image = SmallImage::new("1.2", 1);
    within(TEST_LIMIT, async {
        let pushed = image.pushed().into_iter().map(|step| step.login(USER, PASSWORD));
        run(&Target::Server(host.address.clone()), &pushed.collect::<Vec<_>>()).await;
        let path = "/v2/team/app/manifests/1.2";
        for cache in ["miss", "hit"] {
            let answer = ask(&host.address, by(&format!("GET {path}"), PASSWORD, ""), 200).await;
            let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
            logged(&host, &format!("\"request_id\":\"{id}\"")).await;
            let line = line(&host, path).await;
            let sent = answer.body().len();
            for (name, expected) in [
                ("level", Value::from("INFO")),
                ("message", Value::from("request")),
                ("method", Value::from("GET")),
                ("status", Value::from(200)),
                ("route", Value::from("manifest")),
                ("reference", Value::from("1.2")),
                ("sent", Value::from(sent)),
                ("cache", Value::from(cache)),
                ("client", Value::from("127.0.0.1")),
                ("user", Value::from(USER)),
                ("user_agent", Value::from("docker/29.1 \"odd\"")),
                ("protocol", Value::from("HTTP/1.1")),
                ("request_id", Value::from(id.clone())),
            ] {
                assert_eq!(line[name], expected, "{name}: {line}");
            }
            assert!(line["repository"] == "team/app" && line["microseconds"].is_u64(), "{line}");
        }
        // A body that was received, and an error.
        let start = "POST /v2/a/blobs/uploads/";
        let upload = ask(&host.address, by(start, PASSWORD, ""), 202).await;
        let upload = upload.headers()["location"].to_str().unwrap().to_owned();
        ask(&host.address, by(&format!("PATCH {upload}"), PASSWORD, "12345"), 202).await;
        // Whoever has all of the identifier can take part in the upload.
        let place = upload.split('?').next().unwrap();
        let (front, id) = place.rsplit_once('/').unwrap();
        let shown = format!("{front}/{}\u{2026}", &id[..8]);
        assert_eq!(line(&host, &shown).await["received"], 5);
        assert!(!host.log().contains(id));
        ask(&host.address, by("GET /v2/a/manifests/none", PASSWORD, ""), 404).await;
        assert_eq!(line(&host, "/v2/a/manifests/none").await["code"], "MANIFEST_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn logins_that_fail_are_logged() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    let host = with_users(root.path(), &[("REGISTRY_LOG_FORMATTER", "json")]);
    within(TEST_LIMIT, async {
        ask(&host.address, by("GET /v2/_catalog", WRONG, ""), 401).await;
        let line = line(&host, "/v2/_catalog").await;
        assert_eq!((&line["status"], &line["claimed_user"]), (&Value::from(401), &USER.into()));
        assert!(line["user"].is_null() && line["code"] == "UNAUTHORIZED", "{line}");
        let said = format!("login refused: user=\\\"{USER}\\\" client=127.0.0.1");
        logged(&host, &said).await;
        // Credentials in other places than the header.
        let odd = format!("GET /v2/_catalog?access_token={WRONG}&password={WRONG}&n=7");
        ask(&host.address, request(&odd, ""), 401).await;
        logged(&host, "/v2/_catalog?access_token=*&password=*&n=7").await;
        let token = format!("Bearer {WRONG}");
        let bearer = build("GET /v2/").header("authorization", token);
        ask(&host.address, bearer.body(Bytes::new()).unwrap(), 401).await;
    })
    .await;
    host.signal("TERM").unwrap();
    let mut host = host;
    host.wait().unwrap();
    let log = host.log();
    let coded = |password: &str| STANDARD.encode(format!("{USER}:{password}"));
    for secret in [WRONG.to_owned(), PASSWORD.to_owned(), coded(WRONG), coded(PASSWORD)] {
        assert!(!log.contains(&secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn apaches_format() {
    let root = tempfile::tempdir().unwrap();
    let settings = [("REGISTRY_LOG_ACCESSLOG_FORMATTER", "combined")];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        let request = build("GET /v2/").header("user-agent", "curl/8").header("referer", "r");
        ask(&host.address, request.body(Bytes::new()).unwrap(), 200).await;
        logged(&host, "\"GET /v2/ HTTP/1.1\" 200 2 \"r\" \"curl/8\"").await;
        let log = host.log();
        let line = log.lines().find(|line| line.contains("curl/8")).unwrap();
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    })
    .await;
}

/// The identifier of a request is in the response, in an error's body and in both lines of the log;
/// a trusted proxy's is kept, and nobody else's.
#[tokio::test]
async fn identifiers_of_requests() {
    let root = tempfile::tempdir().unwrap();
    let component = trap::build();
    let arguments = ["--component", component.to_str().unwrap()];
    let host = Registry::start(root.path(), &[], &arguments).unwrap();
    within(TEST_LIMIT, async {
        let forged = build("GET /trap").header("x-request-id", "forged");
        let answer = ask(&host.address, forged.body(Bytes::new()).unwrap(), 500).await;
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.len() == 16 && code(answer.body()) == "UNKNOWN");
        let error: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(error["errors"][0]["detail"]["request"], Value::from(id.clone()));
        logged(&host, &format!("request {id}: the component did not answer")).await;
        logged(&host, &format!("request_id={id}")).await;
        assert!(!host.log().contains("forged"));
    })
    .await;
    let settings = [("REGISTRY_HTTP_TRUSTEDPROXIES", "127.0.0.1")];
    let host = Registry::start(root.path(), &settings, &[]).unwrap();
    within(TEST_LIMIT, async {
        for _ in 0..2 {
            let given = build("GET /v2/").header("x-request-id", "of-the-proxy");
            let given = given.header("x-forwarded-for", "192.0.2.7");
            let answer = ask(&host.address, given.body(Bytes::new()).unwrap(), 200).await;
            assert_eq!(answer.headers()["x-request-id"], "of-the-proxy");
        }
        logged(&host, "cache=hit client=192.0.2.7").await;
    })
    .await;
}

/// SIGUSR1 has more logged, and the next one what the settings say.
#[cfg(unix)]
#[tokio::test]
async fn the_level_changes_while_it_runs() {
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), &[], &[]).unwrap();
    within(TEST_LIMIT, async {
        for (level, debugs) in [("debug", true), ("info", false), ("debug", true)] {
            let before = host.log().matches("SIGUSR1").count();
            host.signal("USR1").unwrap();
            let said = format!("SIGUSR1: the log's level is {level} now");
            eventually("the change is logged", async || {
                (host.log().matches("SIGUSR1").count() > before).then_some(())
            })
            .await;
            assert!(
                host.log().lines().rfind(|line| line.contains("SIGUSR1")).unwrap().contains(&said)
            );
            let before = host.log().matches("DEBUG").count();
            // A connection that ends within a request's head is a line at `debug`.
            let mut wire = Wire::connect(&host.address).await;
            wire.write(b"GET /v2/ HTTP/1.1\r\nho").await;
            drop(wire);
            ask(&host.address, request("GET /v2/", ""), 200).await;
            if debugs {
                eventually("a line at debug", async || {
                    (host.log().matches("DEBUG").count() > before).then_some(())
                })
                .await;
            } else {
                assert_eq!(host.log().matches("DEBUG").count(), before);
            }
        }
    })
    .await;
}
