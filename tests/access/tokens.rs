//! The built-in token service, as Docker's clients use it.

use crate::{ALICE, ANONYMOUS, BOB, DELETE, PASSWORDS, TOKENS, push, with};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::{
    Answer, Registry, Step, Target, Wasmtime, basic, digest, everywhere, get, post,
};
use serde_json::{Value, json};

const REALM: &str = "Bearer realm=\"https://registry.example/v2/token\",service=\"roadstead\"";

#[tokio::test]
async fn challenges() {
    let tokens = with(&PASSWORDS[1..], &[("REGISTRY_AUTH", "token"), TOKENS[0], TOKENS[1]]);
    let both = with(&with(&PASSWORDS, &TOKENS), &[ANONYMOUS]);
    for settings in [tokens, both] {
        everywhere("challenges", &settings, || {
            let challenge = |step: Step, rest: &str| {
                step.error(401, "UNAUTHORIZED").expect("www-authenticate", format!("{REALM}{rest}"))
            };
            vec![
                challenge(get("/v2/"), ""),
                challenge(get("/v2/").login("alice", "wrong"), ""),
                challenge(get("/v2/a/manifests/1"), ",scope=\"repository:a:pull\""),
                challenge(post("/v2/a/b/blobs/uploads/"), ",scope=\"repository:a/b:pull,push\""),
                // With a token for this scope, the mount works.
                challenge(
                    post(format!("/v2/a/b/blobs/uploads/?mount={}&from=c/d", digest(b"x"))),
                    ",scope=\"repository:a/b:pull,push repository:c/d:pull\"",
                ),
                challenge(
                    get("/v2/").header("authorization", "Bearer x"),
                    ",error=\"invalid_token\"",
                ),
                // A password is accepted too.
                get("/v2/").login("alice", "secret"),
            ]
        })
        .await;
    }
}

/// The forms of the registry that serve on an address, with their names.
fn servers(settings: &[(&str, &str)]) -> Vec<(tempfile::TempDir, Target)> {
    let mut targets = Vec::new();
    let root = tempfile::tempdir().unwrap();
    targets.push((Target::native(root.path(), settings).unwrap(), root));
    let root = tempfile::tempdir().unwrap();
    let host = Registry::start(root.path(), settings, &[]).unwrap();
    targets.push((Target::Process(host), root));
    let root = tempfile::tempdir().unwrap();
    if let Some(wasmtime) = Wasmtime::start_with(root.path(), settings).unwrap() {
        targets.push((Target::Process(wasmtime), root));
    }
    targets.into_iter().map(|(target, root)| (root, target)).collect()
}

async fn ask(target: &Target, method: &str, path: &str, authorization: &str, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    if method == "PUT" {
        request = request.header("content-type", "application/vnd.oci.image.index.v1+json");
    }
    target.send(request.body(Bytes::from(body.to_owned())).unwrap()).await.unwrap()
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
    assert_eq!(answer.headers()["cache-control"], "no-store");
    serde_json::from_slice(answer.body()).unwrap()
}

fn claims(token: &Value) -> Value {
    let part = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn tokens_grant_what_rules_grant() {
    let settings = with(&with(&PASSWORDS, &TOKENS), &[ANONYMOUS, DELETE]);
    for (_root, target) in servers(&settings) {
        for (who, scope, granted) in [
            ("", "repository:public/a:pull,push", json!([["public/a", "pull"]])),
            ("", "repository:team/a:pull", json!([])),
            ("bob", "repository:team/a:pull,push,delete", json!([["team/a", "pull,push,delete"]])),
            (
                "bob",
                "repository:secret:pull repository:public/x:pull",
                json!([["public/x", "pull"]]),
            ),
            ("bob", "registry:catalog:*", json!([["catalog", "*"]])),
            ("bob", "repository:UPPER:pull repository:team/a:* other:x:y", json!([])),
            ("alice", "repository:any/thing:push,nonsense", json!([["any/thing", "push"]])),
        ] {
            let authorization = match who {
                "alice" => basic(ALICE.0, ALICE.1),
                "bob" => basic(BOB.0, BOB.1),
                _ => String::new(),
            };
            let scope = scope.replace(' ', "%20");
            let path = format!("/v2/token?account={who}&service=roadstead&scope={scope}");
            let answer = json(&ask(&target, "GET", &path, &authorization, "").await);
            assert_eq!(answer["token"], answer["access_token"]);
            assert_eq!(answer["expires_in"], 300);
            let claims = claims(&answer["token"]);
            assert_eq!((&claims["aud"], &claims["sub"]), (&json!("roadstead"), &json!(who)));
            let access = claims["access"].as_array().cloned().unwrap_or_default();
            let access: Vec<_> = access
                .iter()
                .map(|access| {
                    let actions = access["actions"].as_array().unwrap();
                    let actions: Vec<_> = actions.iter().map(|a| a.as_str().unwrap()).collect();
                    json!([access["name"], actions.join(",")])
                })
                .collect();
            assert_eq!(json!(access), granted, "{who} {scope}");
        }
        for (path, authorization, status) in [
            ("/v2/token?service=other", basic("bob", "pass:word"), 400),
            ("/v2/token?service=roadstead", basic("bob", "wrong"), 401),
        ] {
            let answer = ask(&target, "GET", path, &authorization, "").await;
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}

#[tokio::test]
async fn a_token_allows_what_it_says_and_no_more() {
    let settings = with(&with(&PASSWORDS, &TOKENS), &[ANONYMOUS, DELETE]);
    for (_root, target) in servers(&settings) {
        roadstead_tests::run(
            &target,
            &[
                push("team/a", "1", BOB).status(201),
                push("team/b", "1", BOB).status(201),
                push("public/a", "1", ALICE).status(201),
            ],
        )
        .await;
        let token = async |authorization: &str, scope: &str| {
            let path = format!("/v2/token?service=roadstead&scope={scope}");
            let answer = json(&ask(&target, "GET", &path, authorization, "").await);
            format!("Bearer {}", answer["token"].as_str().unwrap())
        };
        let bob = basic(BOB.0, BOB.1);
        let pull = token(&bob, "repository:team/a:pull").await;
        let push = token(&bob, "repository:team/a:pull,push").await;
        let list = token(&bob, "registry:catalog:*").await;
        let anonymous = token("", "repository:public/a:pull,push").await;
        let both = token(&bob, "repository:team/a:pull,push%20repository:team/b:pull").await;
        let mount = format!("/v2/team/a/blobs/uploads/?mount={}&from=", digest(b"x"));
        let [mount, of_others] = ["team/b", "secret"].map(|from| format!("{mount}{from}"));
        for (method, path, token, status) in [
            ("GET", "/v2/", &pull, 200),
            ("GET", "/v2/", &anonymous, 200),
            ("GET", "/v2/team/a/manifests/1", &pull, 200),
            ("GET", "/v2/team/b/manifests/1", &pull, 401),
            ("GET", "/v2/public/a/manifests/1", &pull, 401),
            ("PUT", "/v2/team/a/manifests/2", &pull, 401),
            ("DELETE", "/v2/team/a/manifests/1", &push, 401),
            ("PUT", "/v2/team/a/manifests/2", &push, 201),
            ("GET", "/v2/_catalog", &push, 401),
            ("GET", "/v2/_catalog", &list, 200),
            ("GET", "/v2/team/a/manifests/1", &list, 401),
            ("GET", "/v2/public/a/manifests/1", &anonymous, 200),
            ("PUT", "/v2/public/a/manifests/2", &anonymous, 401),
            // Another token would help; for what bob may not pull, none would.
            ("POST", &mount, &push, 401),
            ("POST", &mount, &both, 202),
            ("POST", &of_others, &push, 202),
            // A token is not accepted as a password for another token.
            ("GET", "/v2/token?service=roadstead", &pull, 400),
        ] {
            let answer = ask(&target, method, path, token, crate::INDEX).await;
            assert_eq!(answer.status(), status, "{method} {path}: {:?}", answer.body());
            if status == 401 {
                let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                assert!(challenge.ends_with("error=\"insufficient_scope\""), "{challenge}");
            }
        }
        // Changed by one bit, by its claims, or without a signature.
        let (body, signature) = pull.rsplit_once('.').unwrap();
        let other = if signature[3..].starts_with('_') { "-" } else { "_" };
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let claims = body.split('.').nth(1).unwrap();
        for forged in [
            format!("{body}.{}", signature.replace(&signature[3..4], other)),
            format!("{body}."),
            format!("Bearer {head}.{claims}."),
            format!("Bearer {head}.{claims}.{signature}"),
            "Bearer ".to_owned(),
            format!("Bearer {}", "x".repeat(20_000)),
            // Longer than any token's header.
            format!("Bearer {}", "x".repeat(30_000)),
        ] {
            let answer = ask(&target, "GET", "/v2/team/a/manifests/1", &forged, "").await;
            assert_eq!(answer.status(), 401, "{forged}");
        }
    }
}

/// What is longer than any request of a client, or has characters of no
/// credentials, is the client's mistake, and the response is short.
#[tokio::test]
async fn token_requests_are_limited() {
    let settings = with(&with(&PASSWORDS[1..], &TOKENS), &[("REGISTRY_AUTH", "token")]);
    for (_root, target) in servers(&settings) {
        let bob = basic(BOB.0, BOB.1);
        let actions: Vec<String> = (0..6_000).map(|i| format!("a{i}")).collect();
        let actions = format!("repository:a:{},pull", actions.join(","));
        let scopes = "repository:a:pull%20".repeat(70) + "repository:b:pull";
        let names =
            (0..70).map(|i| format!("&scope=repository:n{i}:pull")).collect::<Vec<_>>().concat();
        let few = |scope: &str| format!("/v2/token?service=roadstead&scope={scope}");
        for (path, granted) in [
            (few("repository:a:push,pull"), 1),
            // An action beyond the limit is not granted.
            (few(&actions[..30_000]), 0),
            (few(&scopes), 64),
            (format!("/v2/token?service=roadstead{names}"), 64),
        ] {
            let answer = json(&ask(&target, "GET", &path, &bob, "").await);
            let claims = claims(&answer["token"]);
            assert_eq!(claims["access"].as_array().map_or(0, Vec::len), granted, "{path:.80}");
        }
        let [control, long] = ["%01".repeat(20_000), "x".repeat(60_000)];
        let password = |user: &str, word: &str| {
            format!("service=roadstead&grant_type=password&username={user}&password={word}")
        };
        for (method, path, body) in [
            ("GET", few(&actions), String::new()),
            ("POST", "/v2/token".to_owned(), "\u{1}".repeat(64 * 1024)),
            ("POST", "/v2/token".to_owned(), password(&control, "x")),
            ("POST", "/v2/token".to_owned(), password("bob", &control)),
            ("POST", "/v2/token".to_owned(), password("bob", &"\u{1}".repeat(60_000))),
            ("POST", "/v2/token".to_owned(), password(&long, "x")),
            ("POST", "/v2/token".to_owned(), password("bob", &long)),
            ("POST", "/v2/token".to_owned(), format!("{}{control}", password("bob", "x"))),
            (
                "POST",
                "/v2/token".to_owned(),
                format!("grant_type=refresh_token&refresh_token={control}"),
            ),
        ] {
            let answer = ask(&target, method, &path, "", &body).await;
            assert_eq!(answer.status(), 400, "{method} {path:.60} {body:.60}: {answer:?}");
            assert!(answer.body().len() < 1000, "{answer:?}");
            let error: Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(error["errors"][0]["code"], "UNSUPPORTED");
        }
        for authorization in
            [basic(&"x".repeat(12_000), "y"), basic("bob", &"\u{1}".repeat(12_000))]
        {
            let answer = ask(&target, "GET", "/v2/", &authorization, "").await;
            assert_eq!(answer.status(), 401, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn refresh_tokens() {
    let settings = with(&with(&PASSWORDS[1..], &TOKENS), &[("REGISTRY_AUTH", "token")]);
    for (_root, target) in servers(&settings) {
        let bob = basic(BOB.0, BOB.1);
        let path = "/v2/token?account=bob&client_id=docker&offline_token=true&service=roadstead";
        let login = json(&ask(&target, "GET", path, &bob, "").await);
        let refresh = login["refresh_token"].as_str().expect("a refresh token");
        let form = |fields: &str| format!("service=roadstead&client_id=docker&{fields}");
        let exchange = form(&format!(
            "grant_type=refresh_token&refresh_token={refresh}&scope=repository%3Aa%3Apull"
        ));
        let answer = json(&ask(&target, "POST", "/v2/token", "", &exchange).await);
        let access = claims(&answer["access_token"]);
        assert_eq!(access["access"][0]["name"], "a");
        assert_eq!(access["sub"], "bob");
        assert!(answer.get("refresh_token").is_none());
        let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        assert_eq!(ask(&target, "GET", "/v2/", &token, "").await.status(), 200);
        // A refresh token is not accepted elsewhere, nor other tokens as one.
        let misused = format!("Bearer {refresh}");
        assert_eq!(ask(&target, "GET", "/v2/", &misused, "").await.status(), 401);
        let password =
            form("grant_type=password&username=bob&password=pass%3Aword&access_type=offline");
        let answer = json(&ask(&target, "POST", "/v2/token", "", &password).await);
        assert!(answer.get("refresh_token").is_some());
        let access = login["token"].as_str().unwrap();
        for (fields, status) in [
            (format!("grant_type=refresh_token&refresh_token={access}"), 401),
            ("grant_type=password&username=bob&password=wrong".to_owned(), 401),
            ("grant_type=authorization_code&code=x".to_owned(), 400),
            (String::new(), 400),
            (format!("x={}", "y".repeat(70_000)), 400),
        ] {
            let answer = ask(&target, "POST", "/v2/token", "", &form(&fields)).await;
            assert_eq!(answer.status(), status, "{fields:.60}");
        }
    }
}
