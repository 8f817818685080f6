//! Tokens of an external token service.

use super::{
    ED25519, JWKS, OTHER, P256, P384, RSA, bearer, now, open, refused, sign, signer, token, user,
};
use crate::{Access, Answer, Authority, Caller, Keys, Question, Refusal, TokenError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use std::fs;
use std::time::SystemTime;

const REALM: [(&str, &str); 4] = [
    ("AUTH", "token"),
    ("AUTH_TOKEN_REALM", "https://auth.example/token"),
    ("AUTH_TOKEN_SERVICE", "registry.example"),
    ("AUTH_TOKEN_ISSUER", "auth.example"),
];

/// Key IDs computed by other programs: RFC 7638 thumbprints, and those of
/// Docker's libtrust.
const RSA_NAMES: [&str; 2] = [
    "7lU_JO0uFUM8_ZTJbxiFDRDJUemjjRAfoQJFnAEI2nQ",
    "7GXF:IAVF:4NLK:FO5O:DS5O:DCX6:OBX6:FJKO:EYBI:CCPI:C2I3:PFNV",
];
const P256_NAMES: [&str; 2] = [
    "ybPtZ5Zsp-OLWbRrHUNHA-AG9GB5gZ7zvgnSOBJM7Uc",
    "XMAQ:6Y42:S3AC:JD6B:EDBU:VDVU:RLRY:PHOA:FIHP:H2J2:YNG6:EKAW",
];

/// An authority that accepts an external service's tokens, with more settings.
fn external(more: &[(&str, &str)]) -> Authority {
    let settings: Vec<_> = REALM.iter().chain(more).copied().collect();
    open(&settings).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "auth.example",
        "aud": "registry.example",
        "sub": "alice",
        "exp": now() + 300,
        "nbf": now(),
        "iat": now(),
        "jti": "x",
        "access": [{ "type": "repository", "name": "a/b", "actions": ["pull", "push"] }],
    })
}

fn header(algorithm: Algorithm, kid: &str) -> Value {
    json!({ "typ": "JWT", "alg": format!("{algorithm:?}"), "kid": kid })
}

/// An object with one member set.
fn with(mut base: Value, name: &str, value: Value) -> Value {
    base[name] = value;
    base
}

/// An object without one member.
fn without(mut base: Value, name: &str) -> Value {
    base.as_object_mut().unwrap().remove(name);
    base
}

/// A token signed with the algorithm in its header.
fn signed(algorithm: Algorithm, kid: &str, private: &str, claims: &Value) -> String {
    let key = signer(private, algorithm);
    token(&header(algorithm, kid), claims, sign(&key, algorithm))
}

/// A certificate in the format of `x5c`.
fn x5c(certificate: &str) -> Value {
    let lines = certificate.lines().filter(|line| !line.starts_with("-----"));
    json!([lines.collect::<String>()])
}

fn accepted(answer: &Answer) -> bool {
    matches!(answer, Answer::Caller(Caller { subject, access: Some(access), .. })
        if *subject == user("alice") && Access::allows(access, "repository", "a/b", "push"))
}

#[test]
fn keys_of_a_set() {
    let authority = external(&[("AUTH_TOKEN_JWKS", JWKS)]);
    for (kid, algorithm, private) in [
        ("rsa-1", Algorithm::RS256, RSA.0),
        ("rsa-1", Algorithm::RS384, RSA.0),
        ("rsa-1", Algorithm::RS512, RSA.0),
        ("rsa-1", Algorithm::PS256, RSA.0),
        (RSA_NAMES[0], Algorithm::RS256, RSA.0),
        ("p256-1", Algorithm::ES256, P256.0),
        (P256_NAMES[0], Algorithm::ES256, P256.0),
        ("p384-1", Algorithm::ES384, P384.0),
        ("ed25519-1", Algorithm::EdDSA, ED25519.0),
    ] {
        let answer = bearer(&authority, &signed(algorithm, kid, private, &claims()));
        assert!(accepted(&answer), "{kid} {algorithm:?}: {answer:?}");
    }
    let secret = EncodingKey::from_secret(b"a secret that is in the JSON Web Key Set");
    let octets = token(&header(Algorithm::HS256, "octets-1"), &claims(), {
        sign(&secret, Algorithm::HS256)
    });
    for (name, token, expected) in [
        ("encrypts", signed(Algorithm::RS256, "other-1", OTHER.0, &claims()), TokenError::Key),
        ("octets", octets, TokenError::Algorithm),
        ("another's name", signed(Algorithm::RS256, "rsa-1", OTHER.0, &claims()), {
            TokenError::Signature
        }),
        ("another kind's name", signed(Algorithm::RS256, "p256-1", RSA.0, &claims()), {
            TokenError::Key
        }),
        ("no key's name", signed(Algorithm::RS256, "rsa-2", RSA.0, &claims()), TokenError::Key),
        ("no name", signed(Algorithm::RS256, "", RSA.0, &claims()), TokenError::Key),
    ] {
        assert_eq!(bearer(&authority, &token), refused(expected), "{name}");
    }
    // A key must not be used with another curve.
    for (algorithm, kid, private) in
        [(Algorithm::ES256, "p384-1", P256.0), (Algorithm::ES384, "p256-1", P384.0)]
    {
        let answer = bearer(&authority, &signed(algorithm, kid, private, &claims()));
        assert!(matches!(answer, Answer::Refused(Refusal::Token(_))), "{kid}: {answer:?}");
    }
}

#[test]
fn keys_of_certificates() {
    let bundle = format!("{}{}{}{}", RSA.1, P256.1, P384.1, ED25519.1);
    let authority = external(&[("AUTH_TOKEN_ROOTCERTBUNDLE", &bundle)]);
    for (kid, algorithm, private) in [
        (RSA_NAMES[0], Algorithm::RS256, RSA.0),
        (RSA_NAMES[1], Algorithm::RS256, RSA.0),
        (P256_NAMES[0], Algorithm::ES256, P256.0),
        (P256_NAMES[1], Algorithm::ES256, P256.0),
    ] {
        let answer = bearer(&authority, &signed(algorithm, kid, private, &claims()));
        assert!(accepted(&answer), "{kid}: {answer:?}");
    }
    // The certificate in `x5c`, with an unknown `kid`.
    for (algorithm, (private, certificate)) in [
        (Algorithm::RS256, RSA),
        (Algorithm::ES256, P256),
        (Algorithm::ES384, P384),
        (Algorithm::EdDSA, ED25519),
    ] {
        let header = with(header(algorithm, "x"), "x5c", x5c(certificate));
        let key = signer(private, algorithm);
        let answer = bearer(&authority, &token(&header, &claims(), sign(&key, algorithm)));
        assert!(accepted(&answer), "{algorithm:?}: {answer:?}");
    }
    for (kid, expected) in [("", TokenError::Key), (&RSA_NAMES[1][1..], TokenError::Key)] {
        let token = signed(Algorithm::RS256, kid, RSA.0, &claims());
        assert_eq!(bearer(&authority, &token), refused(expected), "{kid:?}");
    }
}

#[test]
fn an_empty_file_has_no_certificates() {
    for text in ["", "\n", "\r\n\n", " "] {
        let problem = Keys::new(&[]).unwrap().add_certificates(text).unwrap_err();
        assert_eq!(problem, "no certificates in PEM: it is empty", "{text:?}");
    }
}

#[test]
fn one_key_needs_no_name() {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let one = json!({ "keys": [set["keys"][0]] }).to_string();
    for setting in [("AUTH_TOKEN_ROOTCERTBUNDLE", RSA.1), ("AUTH_TOKEN_JWKS", &one)] {
        let authority = external(&[setting]);
        let key = signer(RSA.0, Algorithm::RS256);
        let header = without(header(Algorithm::RS256, ""), "kid");
        let answer = bearer(&authority, &token(&header, &claims(), sign(&key, Algorithm::RS256)));
        assert!(accepted(&answer), "{answer:?}");
        let key = signer(OTHER.0, Algorithm::RS256);
        let other = bearer(&authority, &token(&header, &claims(), sign(&key, Algorithm::RS256)));
        assert_eq!(other, refused(TokenError::Signature));
    }
    // With several keys, the token must refer to one.
    let authority = external(&[("AUTH_TOKEN_JWKS", JWKS)]);
    let header = without(header(Algorithm::RS256, ""), "kid");
    let key = signer(RSA.0, Algorithm::RS256);
    let answer = bearer(&authority, &token(&header, &claims(), sign(&key, Algorithm::RS256)));
    assert_eq!(answer, refused(TokenError::Key));
}

/// An attacker signs with their own key, and refers to it in every possible way.
#[test]
fn keys_that_a_token_brings_are_not_used() {
    let authorities = [
        external(&[("AUTH_TOKEN_JWKS", JWKS)]),
        external(&[("AUTH_TOKEN_ROOTCERTBUNDLE", &format!("{}{}", RSA.1, P256.1))]),
        external(&[("AUTH_TOKEN_ROOTCERTBUNDLE", RSA.1)]),
    ];
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let mut jwk = set["keys"].as_array().unwrap().iter().find(|k| k["kid"] == "other-1").cloned();
    jwk.as_mut().unwrap()["use"] = json!("sig");
    let jwk = jwk.unwrap();
    let key = signer(OTHER.0, Algorithm::RS256);
    let base = without(header(Algorithm::RS256, ""), "kid");
    for header in [
        with(base.clone(), "jwk", jwk.clone()),
        with(base.clone(), "jku", json!("https://evil.example/jwks.json")),
        with(base.clone(), "x5u", json!("https://evil.example/cert.pem")),
        with(base.clone(), "x5c", x5c(OTHER.1)),
        with(with(base.clone(), "kid", json!("other-1")), "jwk", jwk.clone()),
        with(with(base.clone(), "kid", json!("rsa-1")), "jwk", jwk.clone()),
        with(with(base.clone(), "kid", json!(RSA_NAMES[1])), "jwk", jwk.clone()),
        with(with(base.clone(), "kid", json!(RSA_NAMES[1])), "x5c", x5c(OTHER.1)),
        // A configured certificate with another key's signature; a chain whose
        // second certificate is configured.
        with(base.clone(), "x5c", x5c(RSA.1)),
        with(base.clone(), "x5c", json!([x5c(OTHER.1)[0], x5c(RSA.1)[0]])),
        with(base.clone(), "x5c", json!([STANDARD.encode("no certificate")])),
        with(base.clone(), "x5c", json!(["not base 64"])),
        with(base.clone(), "x5c", json!([])),
        with(base.clone(), "kid", json!("../../../../dev/null")),
        with(with(base.clone(), "crit", json!(["jwk"])), "jwk", jwk.clone()),
    ] {
        for authority in &authorities {
            let forged = token(&header, &claims(), sign(&key, Algorithm::RS256));
            let answer = bearer(authority, &forged);
            assert!(matches!(answer, Answer::Refused(Refusal::Token(_))), "{header}: {answer:?}");
        }
    }
}

#[test]
fn public_keys_are_no_secrets() {
    let authority = external(&[("AUTH_TOKEN_ROOTCERTBUNDLE", RSA.1)]);
    let of_set = external(&[("AUTH_TOKEN_JWKS", JWKS)]);
    for secret in [RSA.1.as_bytes(), RSA.1.trim().as_bytes(), JWKS.as_bytes(), b""] {
        let key = EncodingKey::from_secret(secret);
        for kid in ["rsa-1", RSA_NAMES[0], RSA_NAMES[1]] {
            for (says, expected) in [
                (Algorithm::HS256, TokenError::Algorithm),
                (Algorithm::RS256, TokenError::Signature),
            ] {
                let forged = token(&header(says, kid), &claims(), sign(&key, Algorithm::HS256));
                for authority in [&authority, &of_set] {
                    let answer = bearer(authority, &forged);
                    let unknown = refused(TokenError::Key);
                    assert!(answer == refused(expected) || answer == unknown, "{kid}: {answer:?}");
                }
            }
        }
    }
    let none = with(header(Algorithm::RS256, RSA_NAMES[0]), "alg", json!("none"));
    for signature in ["", "AAAA"] {
        let forged = token(&none, &claims(), |_| signature.to_owned());
        assert_eq!(bearer(&authority, &forged), refused(TokenError::Malformed));
    }
}

#[test]
fn algorithms_can_be_pinned() {
    let pinned = [
        ("AUTH_TOKEN_JWKS", JWKS),
        ("AUTH_TOKEN_SIGNINGALGORITHMS_0", "RS512"),
        ("AUTH_TOKEN_SIGNINGALGORITHMS_1", "ES256"),
    ];
    let authority = external(&pinned);
    for (kid, algorithm, private, fits) in [
        ("rsa-1", Algorithm::RS512, RSA.0, true),
        ("p256-1", Algorithm::ES256, P256.0, true),
        ("rsa-1", Algorithm::RS256, RSA.0, false),
        ("rsa-1", Algorithm::PS512, RSA.0, false),
        ("ed25519-1", Algorithm::EdDSA, ED25519.0, false),
    ] {
        let answer = bearer(&authority, &signed(algorithm, kid, private, &claims()));
        let right = if fits { accepted(&answer) } else { answer == refused(TokenError::Algorithm) };
        assert!(right, "{algorithm:?}: {answer:?}");
    }
    for algorithm in ["HS256", "none", "rs256", "RS1", "ES512"] {
        let setting = ("AUTH_TOKEN_SIGNINGALGORITHMS", algorithm);
        let settings: Vec<_> =
            REALM.iter().copied().chain([("AUTH_TOKEN_JWKS", JWKS), setting]).collect();
        let problem = open(&settings).unwrap_err();
        assert!(problem.contains("REGISTRY_AUTH_TOKEN_SIGNINGALGORITHMS"), "{problem}");
        assert!(problem.contains(&format!("{algorithm:?} is not one of")), "{problem}");
    }
}

#[test]
fn claims_must_fit() {
    let authority = external(&[("AUTH_TOKEN_JWKS", JWKS)]);
    let ask =
        |claims: &Value| bearer(&authority, &signed(Algorithm::ES256, "p256-1", P256.0, claims));
    for (claims, expected) in [
        (with(claims(), "iss", json!("other.example")), TokenError::Issuer),
        (with(claims(), "iss", json!("auth.example.evil")), TokenError::Issuer),
        (with(claims(), "aud", json!("other.example")), TokenError::Audience),
        (with(claims(), "aud", json!(["a", "b"])), TokenError::Audience),
        (with(claims(), "aud", json!("")), TokenError::Audience),
        (with(claims(), "exp", json!(now() - 120)), TokenError::Expired),
        (with(claims(), "exp", json!(0)), TokenError::Expired),
        (with(claims(), "nbf", json!(now() + 120)), TokenError::Early),
        (without(claims(), "iss"), TokenError::Claims),
        (without(claims(), "aud"), TokenError::Claims),
        (without(claims(), "exp"), TokenError::Claims),
        (with(claims(), "exp", json!("tomorrow")), TokenError::Claims),
        (with(claims(), "exp", Value::Null), TokenError::Claims),
        (with(claims(), "exp", json!(-1)), TokenError::Claims),
        (with(claims(), "nbf", json!("yesterday")), TokenError::Claims),
        (with(claims(), "aud", json!({})), TokenError::Claims),
        (with(claims(), "access", json!("everything")), TokenError::Claims),
        (with(claims(), "sub", json!(7)), TokenError::Claims),
        (json!([]), TokenError::Claims),
    ] {
        assert_eq!(ask(&claims), refused(expected), "{claims}");
    }
    for claims in [
        with(claims(), "aud", json!(["other", "registry.example"])),
        // Clock differences of less than a minute.
        with(claims(), "exp", json!(now() - 30)),
        with(claims(), "nbf", json!(now() + 30)),
        without(claims(), "nbf"),
        with(claims(), "more", json!({ "x": [] })),
    ] {
        let answer = ask(&claims);
        assert!(accepted(&answer), "{claims}: {answer:?}");
    }
    let Answer::Caller(caller) = ask(&without(claims(), "access")) else { panic!() };
    assert_eq!(caller.access, Some(Vec::new()), "a token without access allows nothing");
    let Answer::Caller(caller) = ask(&with(claims(), "access", Value::Null)) else { panic!() };
    assert_eq!(caller.access, Some(Vec::new()));
    let Answer::Caller(caller) = ask(&with(claims(), "sub", json!(""))) else { panic!() };
    assert!(caller.subject.is_anonymous(), "such services issue tokens to anonymous users");
    // Some services send fractions of a second.
    let exact = now() + 300;
    let fraction: Value = serde_json::from_str(&format!("{exact}.5")).unwrap();
    let Answer::Caller(caller) = ask(&with(claims(), "exp", fraction)) else { panic!() };
    assert_eq!(caller.until, Some(exact));
}

#[test]
fn no_other_tokens_are_accepted_or_issued() {
    let authority = external(&[("AUTH_TOKEN_JWKS", JWKS)]);
    let issue = Question::Issue { subject: user("alice"), access: Vec::new(), refresh: true };
    for question in [issue, Question::Refresh { token: "a.b.c".to_owned() }] {
        let answer = authority.answer(&question, SystemTime::now());
        assert!(matches!(answer, Answer::Refused(Refusal::Token(_))), "{answer:?}");
    }
    assert_eq!(
        authority.answer(&super::password("alice", "a"), SystemTime::now()),
        Answer::Refused(Refusal::Credentials)
    );
}

#[test]
fn files_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let [bundle, jwks] = ["bundle.pem", "jwks.json"].map(|name| directory.path().join(name));
    fs::write(&bundle, P384.1).unwrap();
    fs::write(&jwks, JWKS).unwrap();
    let authority = external(&[
        ("AUTH_TOKEN_ROOTCERTBUNDLE", bundle.to_str().unwrap()),
        ("AUTH_TOKEN_JWKS", jwks.to_str().unwrap()),
    ]);
    assert_eq!(authority.settings.files(), [bundle.as_path(), jwks.as_path()]);
    let other = signed(Algorithm::RS256, "new", OTHER.0, &claims());
    let rsa = signed(Algorithm::RS256, "rsa-1", RSA.0, &claims());
    assert_eq!(bearer(&authority, &other), refused(TokenError::Key));
    assert!(accepted(&bearer(&authority, &rsa)));
    for (content, expected) in [
        ("{\"keys\":[]}", "no key in the JSON Web Key Set can verify signatures"),
        (
            "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
            "no key in the JSON Web Key Set can verify signatures",
        ),
        ("{}", "not a JSON Web Key Set"),
        ("nonsense", "not a JSON Web Key Set"),
    ] {
        fs::write(&jwks, content).unwrap();
        let problem = authority.reload().unwrap_err();
        assert!(problem.starts_with("REGISTRY_AUTH_TOKEN_JWKS: "), "{problem}");
        assert!(problem.contains(expected), "{problem}");
        assert!(accepted(&bearer(&authority, &rsa)), "the old keys stay");
    }
    fs::write(&jwks, JWKS.replace("other-1", "new").replace("\"enc\"", "\"sig\"")).unwrap();
    fs::write(&bundle, "no certificate").unwrap();
    let problem = authority.reload().unwrap_err();
    assert!(problem.starts_with("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE: "), "{problem}");
    fs::write(&bundle, P256.1).unwrap();
    authority.reload().unwrap();
    assert!(accepted(&bearer(&authority, &other)));
}
