//! Tests that span several files: which passwords, tokens and CI jobs' tokens
//! are accepted.

mod external;
mod issued;
mod jobs;
mod passwords;
mod random;

use crate::{
    Answer, Auth, Authority, Caller, DEFAULT_SERVICE, DEFAULT_TOKEN_EXPIRATION, External, Issuer,
    Oidc, Question, Realm, Refusal, Rules, Scheme, Secret, Subject, Users,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, SecretDocument};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const JWKS: &str = include_str!("data/jwks.json");

/// A private key and its certificate; see `data/README.md`.
macro_rules! pair {
    ($name:literal) => {
        (
            include_str!(concat!("data/", $name, ".key")),
            include_str!(concat!("data/", $name, ".crt")),
        )
    };
}

const RSA: (&str, &str) = pair!("rsa");
const P256: (&str, &str) = pair!("p256");
const P384: (&str, &str) = pair!("p384");
const ED25519: (&str, &str) = pair!("ed25519");
const OTHER: (&str, &str) = pair!("other");

/// An authority with these settings, given without their prefix.
fn open(settings: &[(&str, &str)]) -> Result<Authority, String> {
    Authority::open(auth(settings), true)
}

/// The settings of authentication, out of as much of the configuration as these
/// tests use.
fn auth(settings: &[(&str, &str)]) -> Auth {
    let get = |wanted: &str| {
        let found = settings.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    let expiration = match get("AUTH_TOKEN_EXPIRATION").as_deref() {
        None => DEFAULT_TOKEN_EXPIRATION,
        Some("1h") => Duration::from_hours(1),
        Some(other) => panic!("{other}"),
    };
    let algorithms = settings.iter().filter(|(name, _)| name.contains("SIGNINGALGORITHMS"));
    let (certificates, jwks) = (get("AUTH_TOKEN_ROOTCERTBUNDLE"), get("AUTH_TOKEN_JWKS"));
    let scheme = match get("AUTH").as_deref() {
        None => Scheme::None,
        Some("htpasswd") => Scheme::Htpasswd,
        Some("token") if certificates.is_some() || jwks.is_some() => {
            Scheme::External(Box::new(External {
                realm: Realm::Url(get("AUTH_TOKEN_REALM").unwrap()),
                service: get("AUTH_TOKEN_SERVICE").unwrap(),
                issuer: get("AUTH_TOKEN_ISSUER").unwrap(),
                certificates,
                jwks,
                algorithms: algorithms.map(|(_, value)| (*value).to_owned()).collect(),
            }))
        }
        Some("token") => Scheme::Token(Issuer {
            realm: None,
            service: get("AUTH_TOKEN_SERVICE").unwrap_or_else(|| DEFAULT_SERVICE.to_owned()),
            expiration,
        }),
        Some(other) => panic!("{other}"),
    };
    let users = get("AUTH_HTPASSWD_PATH").map(|path| Users::File(path.into()));
    let oidc = get("AUTH_OIDC_ISSUER").map(|issuer| Oidc {
        issuer,
        audience: get("AUTH_OIDC_AUDIENCE").unwrap(),
        jwks: get("AUTH_OIDC_JWKS"),
    });
    Auth {
        scheme,
        users: users.or_else(|| get("AUTH_HTPASSWD_ENTRIES").map(Users::Entries)),
        rules: get("AUTH_RULES").map(|text| Rules::parse(&text).unwrap()),
        oidc,
        secret: get("HTTP_SECRET").map(Secret),
        ..Auth::default()
    }
}

/// A private key for an algorithm.
fn signer(private: &str, algorithm: Algorithm) -> EncodingKey {
    let (_, der) = SecretDocument::from_pem(private).unwrap();
    match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_der(der.as_bytes()),
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(der.as_bytes()),
        _ => {
            let key = RsaPrivateKey::from_pkcs8_der(der.as_bytes()).unwrap();
            EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes())
        }
    }
}

/// A token with any header, claims and signature.
fn token(header: &Value, claims: &Value, signed: impl FnOnce(&[u8]) -> String) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let signature = signed(message.as_bytes());
    format!("{message}.{signature}")
}

fn sign(key: &EncodingKey, algorithm: Algorithm) -> impl FnOnce(&[u8]) -> String {
    move |message| jsonwebtoken::crypto::sign(message, key, algorithm).unwrap()
}

/// The part of a token: 0 is its header, 1 its claims.
fn part(token: &str, number: usize) -> Value {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn password(user: &str, password: &str) -> Question {
    Question::Password { user: user.to_owned(), password: password.to_owned(), client: None }
}

fn bearer(authority: &Authority, token: &str) -> Answer {
    authority.answer(&Question::Bearer { token: token.to_owned() }, SystemTime::now())
}

fn user(name: &str) -> Subject {
    Subject { user: Some(name.to_owned()), ..Subject::default() }
}

/// The authority's answer to a user's correct password.
fn known(name: &str) -> Answer {
    Answer::Caller(Caller { subject: user(name), ..Caller::default() })
}

const WRONG: Answer = Answer::Refused(Refusal::Credentials);

/// The authority's answer to a token that it does not accept.
fn refused(reason: crate::TokenError) -> Answer {
    Answer::Refused(Refusal::Token(reason.to_string()))
}
