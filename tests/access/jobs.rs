//! Tokens signed by others: those of CI jobs, whose issuer's keys are fetched from
//! a server here, and those of an external token service.

use crate::{INDEX, PASSWORDS, with};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::Algorithm;
use roadstead_tests::{Registry, basic, everywhere, get, put, rsa_key, send};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Test keys; see the README.md next to them.
const JWKS: &str = include_str!("../../component/access/src/tests/data/jwks.json");
const RSA: &str = include_str!("../../component/access/src/tests/data/rsa.key");
const OTHER: &str = include_str!("../../component/access/src/tests/data/other.key");

fn sign(key: &str, claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa-1" });
    let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let key = rsa_key(key).unwrap();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
    format!("{message}.{signature}")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An issuer with a discovery document and keys; counts the requests to it.
async fn issuer() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (base, asked) = (url.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (base, count) = (base.clone(), Arc::clone(&count));
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                count.fetch_add(1, Ordering::SeqCst);
                let body = match request.uri().path() {
                    "/.well-known/openid-configuration" => {
                        json!({ "issuer": base, "jwks_uri": format!("{base}/keys") }).to_string()
                    }
                    "/keys" => JWKS.to_owned(),
                    _ => String::new(),
                };
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body)))) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, asked)
}

#[tokio::test]
async fn ci_jobs() {
    let (url, asked) = issuer().await;
    let rules = "alice all **; claim:repository=acme/app&ref=refs/heads/* pull,push acme/app; \
                 claim:repository_owner=acme pull shared";
    let settings = [
        ("REGISTRY_AUTH_RULES", rules),
        ("REGISTRY_AUTH_OIDC_ISSUER", url.as_str()),
        ("REGISTRY_AUTH_OIDC_AUDIENCE", "registry.example"),
    ];
    let settings = with(&PASSWORDS, &settings);
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(root.path(), &settings, &[]).unwrap();
    let address = registry.address.as_str();
    // GitHub's claims.
    let job = json!({
        "iss": url,
        "aud": "registry.example",
        "sub": "repo:acme/app:ref:refs/heads/main",
        "repository": "acme/app",
        "repository_owner": "acme",
        "ref": "refs/heads/main",
        "environment": "production",
        "exp": now() + 300,
        "nbf": now() - 10,
    });
    let changed = |name: &str, value: Value| {
        let mut job = job.clone();
        job[name] = value;
        sign(RSA, &job)
    };
    let token = sign(RSA, &job);
    for (method, path, token, status) in [
        ("PUT", "/v2/acme/app/manifests/1", &token, 201),
        ("GET", "/v2/acme/app/manifests/1", &token, 200),
        ("GET", "/v2/", &token, 200),
        ("PUT", "/v2/shared/manifests/1", &token, 403),
        ("GET", "/v2/shared/manifests/1", &token, 404),
        ("GET", "/v2/other/manifests/1", &token, 403),
        ("DELETE", "/v2/acme/app/manifests/1", &token, 403),
        ("PUT", "/v2/acme/app/manifests/1", &changed("ref", json!("refs/tags/v1")), 403),
        ("PUT", "/v2/acme/app/manifests/1", &changed("repository", json!("evil/app")), 403),
        ("GET", "/v2/", &changed("aud", json!("other.example")), 401),
        ("GET", "/v2/", &changed("iss", json!("https://evil.example")), 401),
        ("GET", "/v2/", &changed("exp", json!(now() - 300)), 401),
        ("GET", "/v2/", &sign(OTHER, &job), 401),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/vnd.oci.image.index.v1+json")
            .header("authorization", basic("job", token));
        let answer = send(address, request.body(Bytes::from(INDEX)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}: {:?}", answer.body());
    }
    // The document and the keys are fetched once, for any number of tokens.
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // Users can still log in.
    let request = Request::get("/v2/").header("authorization", basic("alice", "secret"));
    assert_eq!(send(address, request.body(Bytes::new()).unwrap()).await.unwrap().status(), 200);
}

/// Tokens of an external service, as distribution accepts them.
#[tokio::test]
async fn another_service() {
    let settings = [
        ("REGISTRY_AUTH", "token"),
        ("REGISTRY_AUTH_TOKEN_REALM", "https://auth.example/token"),
        ("REGISTRY_AUTH_TOKEN_SERVICE", "registry.example"),
        ("REGISTRY_AUTH_TOKEN_ISSUER", "issuer.example"),
        ("REGISTRY_AUTH_TOKEN_JWKS", JWKS),
        ("REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS", "[RS256, ES256]"),
    ];
    everywhere("another_service", &settings, || {
        let claims = json!({
            "iss": "issuer.example",
            "aud": "registry.example",
            "sub": "alice",
            "exp": now() + 300,
            "access": [
                { "type": "repository", "name": "a", "actions": ["pull", "push"] },
                { "type": "registry", "name": "catalog", "actions": ["*"] },
            ],
        });
        let changed = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            format!("Bearer {}", sign(RSA, &claims))
        };
        let bearer = format!("Bearer {}", sign(RSA, &claims));
        let realm = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\"";
        let refused = |authorization: &str| {
            get("/v2/")
                .header("authorization", authorization)
                .error(401, "UNAUTHORIZED")
                .expect("www-authenticate", format!("{realm},error=\"invalid_token\""))
        };
        vec![
            get("/v2/").error(401, "UNAUTHORIZED").expect("www-authenticate", realm),
            get("/v2/").header("authorization", &bearer),
            put("/v2/a/manifests/1")
                .header("authorization", &bearer)
                .header("content-type", "application/vnd.oci.image.index.v1+json")
                .body(INDEX)
                .status(201),
            get("/v2/_catalog")
                .header("authorization", &bearer)
                .content(r#"{"repositories":["a"]}"#),
            get("/v2/b/manifests/1")
                .header("authorization", &bearer)
                .error(401, "UNAUTHORIZED")
                .expect(
                    "www-authenticate",
                    format!("{realm},scope=\"repository:b:pull\",error=\"insufficient_scope\""),
                ),
            refused(&changed("aud", json!("other.example"))),
            refused(&changed("iss", json!("other.example"))),
            refused(&changed("exp", json!(now() - 300))),
            refused(&changed("nbf", json!(now() + 300))),
            refused(&format!("Bearer {}", sign(OTHER, &claims))),
            // Passwords are not accepted here.
            get("/v2/").login("alice", "secret").error(401, "UNAUTHORIZED"),
        ]
    })
    .await;
}
