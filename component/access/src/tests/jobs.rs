//! CI jobs that log in with their platform's OIDC token, as GitHub Actions does.

use super::{JWKS, OTHER, RSA, open, sign, signer, token};
use crate::{Action, Answer, Authority, Caller, Question, Refusal, Rules, Subject, TokenError};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use std::time::SystemTime;

const ISSUER: &str = "https://token.actions.githubusercontent.com";

const RULES: &str = "claim:repository=acme/app&ref=refs/heads/main pull,push acme/app";

/// An authority that accepts jobs whose tokens are signed with these keys.
fn accepts_jobs(jwks: Option<&str>) -> Authority {
    let mut settings = vec![
        ("AUTH_OIDC_ISSUER", ISSUER),
        ("AUTH_OIDC_AUDIENCE", "registry.example"),
        ("AUTH_RULES", RULES),
    ];
    settings.extend(jwks.map(|jwks| ("AUTH_OIDC_JWKS", jwks)));
    open(&settings).unwrap()
}

fn claims() -> Value {
    json!({
        "jti": "af5d2dd7-35c3-4d0e-9b9a-3a3d0c1c2f0e",
        "iss": ISSUER,
        "sub": "repo:acme/app:ref:refs/heads/main",
        "aud": "registry.example",
        "iat": super::now(),
        "nbf": super::now() - 300,
        "exp": super::now() + 300,
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "ref_type": "branch",
        "sha": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4",
        "repository": "acme/app",
        "repository_owner": "acme",
        "repository_id": "74",
        "environment": "production",
        "job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "run_number": 10,
        "runner_environment": "github-hosted",
    })
}

fn job(claims: &Value, private: &str, kid: &str) -> String {
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": kid });
    token(&header, claims, sign(&signer(private, Algorithm::RS256), Algorithm::RS256))
}

/// The answer to a job's login; the user name is ignored.
fn login(authority: &Authority, token: &str) -> Answer {
    let question = super::password("github", token);
    assert_eq!(authority.fingerprint(&question), None, "no bcrypt");
    authority.answer(&question, SystemTime::now())
}

fn caller(answer: Answer) -> Caller {
    match answer {
        Answer::Caller(caller) => caller,
        other => panic!("{other:?}"),
    }
}

#[test]
fn claims_arrive() {
    let authority = accepts_jobs(Some(JWKS));
    let claims = claims();
    let caller = caller(login(&authority, &job(&claims, RSA.0, "rsa-1")));
    assert_eq!((&caller.subject.user, &caller.subject.certificate), (&None, &None));
    assert_eq!((caller.access, caller.until), (None, claims["exp"].as_u64()));
    let expected = claims.as_object().unwrap().iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    });
    assert_eq!(caller.subject.claims, expected.collect());

    let rules = Rules::parse(RULES).unwrap();
    assert!(rules.permit(&caller.subject, Action::Push, "acme/app"));
    assert!(!rules.permit(&caller.subject, Action::Push, "acme/other"));
}

#[test]
fn claims_that_rules_could_misread_are_left_out() {
    let authority = accepts_jobs(Some(JWKS));
    let mut claims = claims();
    claims["aud"] = json!(["other", "registry.example"]);
    claims["list"] = json!(["acme/app"]);
    claims["object"] = json!({ "repository": "acme/app" });
    claims["nothing"] = Value::Null;
    claims["flag"] = json!(true);
    claims["number"] = json!(1.5);
    claims["long"] = json!("x".repeat(1025));
    claims["longest"] = json!("x".repeat(1024));
    let kept = caller(login(&authority, &job(&claims, RSA.0, "rsa-1"))).subject.claims;
    for name in ["aud", "list", "object", "nothing", "long"] {
        assert!(!kept.contains_key(name), "{name}");
    }
    assert_eq!((&*kept["flag"], &*kept["number"]), ("true", "1.5"));
    assert_eq!(kept["longest"].len(), 1024);

    for number in 0..200 {
        claims[format!("claim{number}")] = json!("x");
    }
    claims.as_object_mut().unwrap().retain(|name, _| !name.starts_with("long"));
    let answer = login(&authority, &job(&claims, RSA.0, "rsa-1"));
    assert!(caller(answer).subject.claims.len() <= 100);
}

#[test]
fn other_tokens_are_refused() {
    let authority = accepts_jobs(Some(JWKS));
    let with = |name: &str, value: Value| {
        let mut changed = claims();
        changed[name] = value;
        changed
    };
    let refused = |error: TokenError| Refusal::Token(error.to_string());
    let now = super::now();
    for (name, token, expected) in [
        ("audience", job(&with("aud", json!("https://github.com/acme")), RSA.0, "rsa-1"), {
            refused(TokenError::Audience)
        }),
        ("issuer", job(&with("iss", json!("https://gitlab.com")), RSA.0, "rsa-1"), {
            refused(TokenError::Issuer)
        }),
        ("issuer's end", job(&with("iss", json!(format!("{ISSUER}/"))), RSA.0, "rsa-1"), {
            refused(TokenError::Issuer)
        }),
        ("old", job(&with("exp", json!(now - 120)), RSA.0, "rsa-1"), refused(TokenError::Expired)),
        ("early", job(&with("nbf", json!(now + 120)), RSA.0, "rsa-1"), refused(TokenError::Early)),
        ("no end", job(&with("exp", Value::Null), RSA.0, "rsa-1"), refused(TokenError::Claims)),
        ("key", job(&claims(), OTHER.0, "rsa-1"), refused(TokenError::Signature)),
        ("key's use", job(&claims(), OTHER.0, "other-1"), Refusal::UnknownKey),
        ("new key", job(&claims(), OTHER.0, "rsa-2"), Refusal::UnknownKey),
        (
            "no signature",
            {
                let token = job(&claims(), RSA.0, "rsa-1");
                format!("{}.", token.rsplit_once('.').unwrap().0)
            },
            refused(TokenError::Signature),
        ),
        ("no token", "eyJ.eyJ.x".to_owned(), refused(TokenError::Malformed)),
    ] {
        assert_eq!(login(&authority, &token), Answer::Refused(expected), "{name}");
    }
    // As a bearer token it is refused: this registry did not issue it.
    let answer = super::bearer(&authority, &job(&claims(), RSA.0, "rsa-1"));
    assert_eq!(answer, super::refused(TokenError::Algorithm));
}

#[test]
fn keys_arrive_later_and_change() {
    for jwks in [None, Some("https://issuer.example/keys")] {
        let authority = accepts_jobs(jwks);
        assert_eq!(authority.keys_to_fetch().unwrap().issuer, ISSUER);
        let token = job(&claims(), RSA.0, "rsa-1");
        let new = job(&claims(), OTHER.0, "other-1");
        let unknown = Answer::Refused(Refusal::UnknownKey);
        assert_eq!(login(&authority, &token), unknown);
        authority.set_job_keys(JWKS).unwrap();
        assert!(matches!(login(&authority, &token), Answer::Caller(_)));
        assert_eq!(login(&authority, &new), unknown);
        for nonsense in ["", "{}", "{\"keys\":[]}", "<html>"] {
            assert!(authority.set_job_keys(nonsense).is_err(), "{nonsense:?}");
            assert!(matches!(login(&authority, &token), Answer::Caller(_)), "the old keys stay");
        }
        let renewed = JWKS.replace("rsa-1", "retired").replace("\"enc\"", "\"sig\"");
        authority.set_job_keys(&renewed).unwrap();
        assert!(matches!(login(&authority, &new), Answer::Caller(_)));
        assert_eq!(login(&authority, &token), unknown);
    }
    assert_eq!(accepts_jobs(Some(JWKS)).keys_to_fetch(), None);
    assert_eq!(open(&[]).unwrap().keys_to_fetch(), None);
    let settings = [
        ("AUTH_OIDC_ISSUER", ISSUER),
        ("AUTH_OIDC_AUDIENCE", "a"),
        ("AUTH_RULES", RULES),
        ("AUTH_OIDC_JWKS", "/nonexistent/jwks.json"),
    ];
    let problem = open(&settings).unwrap_err();
    assert!(problem.starts_with("REGISTRY_AUTH_OIDC_JWKS: cannot read "), "{problem}");
}

/// Users can log in as well where jobs do, and a job's token is exchanged for
/// one of the registry's.
#[test]
fn beside_users() {
    let entries = format!("alice:{}", crate::htpasswd::hash("eyJa.b.c.d", 4).unwrap());
    let authority = open(&[
        ("AUTH", "htpasswd"),
        ("AUTH_HTPASSWD_ENTRIES", &entries),
        ("AUTH_OIDC_ISSUER", ISSUER),
        ("AUTH_OIDC_AUDIENCE", "registry.example"),
        ("AUTH_OIDC_JWKS", JWKS),
        ("AUTH_RULES", &format!("{RULES}; anonymous pull public/*")),
    ])
    .unwrap();
    let right = authority.answer(&super::password("alice", "eyJa.b.c.d"), SystemTime::now());
    assert_eq!(right, super::known("alice"));
    // One token, as the claims contain the time.
    let token = job(&claims(), RSA.0, "rsa-1");
    let subject = caller(login(&authority, &token)).subject;
    let issue = Question::Issue { subject: subject.clone(), access: Vec::new(), refresh: true };
    let Answer::Issued(issued) = authority.answer(&issue, SystemTime::now()) else { panic!() };
    assert_eq!(issued.refresh_token, None, "a job has no password entry");
    assert_eq!(caller(super::bearer(&authority, &issued.token)).subject, subject);
    // A job is identified by its claims, not by the user name that it sends.
    let alice = super::password("alice", &token);
    assert_eq!(
        caller(authority.answer(&alice, SystemTime::now())).subject,
        Subject { claims: subject.claims, ..Subject::default() }
    );
    // Without OIDC, such a token is a password like any other.
    let users = open(&[("AUTH", "htpasswd"), ("AUTH_HTPASSWD_ENTRIES", &entries)]).unwrap();
    assert!(users.fingerprint(&super::password("alice", "eyJ.eyJ.x")).is_some());
}

#[test]
fn a_fraction_of_a_second_is_accepted() {
    let authority = accepts_jobs(Some(JWKS));
    let mut claims = claims();
    let end = super::now() + 300;
    claims["exp"] = serde_json::from_str(&format!("{end}.25")).unwrap();
    let caller = caller(login(&authority, &job(&claims, RSA.0, "rsa-1")));
    assert_eq!(caller.until, Some(end));
}
