//! A CI job that logs in with its platform's OIDC token, as in GitHub Actions. The
//! issuer is a server of the test.

use crate::docker::engine_with_image;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, Header};
use roadstead_tests::program::{run, run_failing};
use roadstead_tests::{Registry, rsa_key};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

const KEY: &str = include_str!("../../component/access/src/tests/data/rsa.key");
const JWKS: &str = include_str!("../../component/access/src/tests/data/jwks.json");

/// Serves an issuer's documents; returns its URL.
async fn issuer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let discovery = discovery.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let body = match request.uri().path() {
                    "/.well-known/openid-configuration" => discovery.clone(),
                    "/keys" => JWKS.to_owned(),
                    other => panic!("{other}"),
                };
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body)))) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

fn token(issuer: &str, changes: &[(&str, Value)]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({
        "iss": issuer,
        "sub": "repo:acme/app:ref:refs/heads/main",
        "aud": "registry.example",
        "exp": now + 300,
        "nbf": now - 300,
        "repository": "acme/app",
        "repository_owner": "acme",
        "ref": "refs/heads/main",
    });
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    let header = Header { kid: Some("rsa-1".to_owned()), ..Header::new(Algorithm::RS256) };
    let key = rsa_key(KEY).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

#[tokio::test]
async fn docker_logs_in_as_a_job() {
    let test = "docker_logs_in_as_a_job";
    let files = tempfile::tempdir().unwrap();
    let dockerd = Ok(Command::new("dockerd"));
    let Some((engine, id)) = engine_with_image(test, files.path(), dockerd).await else { return };
    let issuer = issuer().await;
    let settings = [
        ("REGISTRY_AUTH_OIDC_ISSUER", &*issuer),
        ("REGISTRY_AUTH_OIDC_AUDIENCE", "registry.example"),
        ("REGISTRY_AUTH_RULES", "claim:repository=acme/app&ref=refs/heads/main pull,push acme/app"),
    ];
    let registry = Registry::start(&files.path().join("registry"), &settings, &[]).unwrap();
    let login = |token: String| {
        let mut login = engine.docker();
        login.args(["login", "--username", "github", "--password", &token, &registry.address]);
        login
    };
    for changes in [
        [("aud", json!("https://github.com/acme"))],
        [("iss", json!("https://token.actions.githubusercontent.com"))],
        [("exp", json!(1_000_000_000))],
    ] {
        let said = run_failing(&mut login(token(&issuer, &changes))).await;
        assert!(said.contains("401") || said.contains("unauthorized"), "{said}");
    }

    let [app, other] = ["acme/app", "acme/other"].map(|n| format!("{}/{n}:1", registry.address));
    for image in [&app, &other] {
        run(engine.docker().args(["tag", &id, image])).await;
    }
    let denied = |said: String| {
        assert!(said.contains("denied") || said.contains("unauthorized"), "{said}");
    };
    // Another repository's job is authenticated, but has no access.
    let fork = [("repository", json!("mallory/app")), ("sub", json!("repo:mallory/app:x"))];
    run(&mut login(token(&issuer, &fork))).await;
    denied(run_failing(engine.docker().args(["push", &app])).await);
    run(&mut login(token(&issuer, &[("ref", json!("refs/pull/1/merge"))]))).await;
    denied(run_failing(engine.docker().args(["push", &app])).await);

    run(&mut login(token(&issuer, &[]))).await;
    run(engine.docker().args(["push", &app])).await;
    denied(run_failing(engine.docker().args(["push", &other])).await);
    run(engine.docker().args(["image", "rm", &app])).await;
    run(engine.docker().args(["pull", &app])).await;
    let log = registry.log();
    assert!(!log.contains("eyJ"), "a token: {log}");
}
