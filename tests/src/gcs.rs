//! A stand-in for Google Cloud Storage, written from its documentation: its XML
//! API, with generations and signatures, in memory.
//!
//! The emulators in package registries implement its JSON API, but not the XML
//! multipart uploads that `object_store` sends. So this shows that requests and
//! responses work as Google documents them, and not what Google's servers do
//! beyond that.
//! <https://cloud.google.com/storage/docs/xml-api/reference-methods>

use crate::rsa_key;
use crate::stand_in::{Answer, Asked, DENIED, Refusal, Server, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{AUTHORIZATION, HOST};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use roadstead_kit::requests::digest;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A service account's key, created for tests.
const KEY: &str = include_str!("../../component/access/src/tests/data/rsa.key");
const ACCOUNT: &str = "registry@project.iam.gserviceaccount.com";

/// The host in signed URLs: `object_store` signs for it, whatever the endpoint.
const SIGNED_HOST: &str = "storage.googleapis.com";

/// The server, stopped when dropped.
#[derive(Debug)]
pub struct Gcs {
    server: Server,
    /// Seconds by which its clock is ahead; negative if it is behind.
    ahead: Arc<AtomicI64>,
}

impl Gcs {
    /// Starts it. Buckets exist as soon as they are used.
    pub fn start() -> anyhow::Result<Self> {
        let key = rsa_key(KEY)?;
        let key = DecodingKey::from_jwk(&Jwk::from_encoding_key(&key, Algorithm::RS256)?)?;
        let ahead = Arc::new(AtomicI64::new(0));
        let state = State::new(Arc::clone(&ahead));
        let store = Store { key, state: Mutex::new(state) };
        let server = Server::start("127.0.0.1:0", move |asked| store.answer(asked))?;
        Ok(Self { server, ahead })
    }

    /// Lets time pass: objects that are written from now on are newer by that.
    pub fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_secs().cast_signed(), Ordering::Relaxed);
    }

    /// Puts its clock back: what is written from now on is older by that.
    pub fn put_back(&self, time: Duration) {
        self.ahead.fetch_sub(time.as_secs().cast_signed(), Ordering::Relaxed);
    }

    /// The settings of a registry with its data in a bucket.
    pub fn settings(&self, bucket: &str) -> Vec<(String, String)> {
        settings(&self.server.address, bucket)
    }
}

/// The settings of a registry with its data in a bucket of the server at
/// `address`.
pub(crate) fn settings(address: &str, bucket: &str) -> Vec<(String, String)> {
    let key = serde_json::json!({
        "type": "service_account",
        "private_key": KEY,
        "private_key_id": "1",
        "client_email": ACCOUNT,
    });
    [
        ("BUCKET", bucket.to_owned()),
        ("ENDPOINT", format!("http://{address}")),
        ("CREDENTIALS", key.to_string()),
    ]
    .map(|(name, value)| (format!("REGISTRY_STORAGE_GCS_{name}"), value))
    .into()
}

struct Store {
    key: DecodingKey,
    state: Mutex<State>,
}

impl Store {
    fn answer(&self, asked: &Asked) -> Answer {
        self.authorize(asked)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answer(asked)
    }

    /// Checks a token or a URL that the account signed.
    fn authorize(&self, asked: &Asked) -> Result<(), Refusal> {
        if asked.place.is_empty() {
            return Ok(());
        }
        if let Some(token) = asked.header(AUTHORIZATION).and_then(|h| h.strip_prefix("Bearer ")) {
            let mut validation = Validation::new(Algorithm::RS256);
            validation.set_issuer(&[ACCOUNT]);
            validation.set_required_spec_claims(&["exp", "iss"]);
            let claims = jsonwebtoken::decode::<serde_json::Value>(token, &self.key, &validation);
            return claims.map(drop).map_err(|_| DENIED);
        }
        self.verify(asked).ok_or(Refusal(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"))
    }

    /// <https://cloud.google.com/storage/docs/authentication/signatures>
    fn verify(&self, asked: &Asked) -> Option<()> {
        asked.header(HOST)?;
        let signature = asked.get("X-Goog-Signature");
        let query = asked.head.uri.query()?.split('&');
        let mut query: Vec<_> =
            query.filter(|pair| !pair.starts_with("X-Goog-Signature=")).collect();
        query.sort_unstable();
        let (method, path) = (&asked.head.method, asked.head.uri.path());
        let canonical = format!(
            "{method}\n{path}\n{}\nhost:{SIGNED_HOST}\n\nhost\nUNSIGNED-PAYLOAD",
            query.join("&")
        );
        let scope = asked.get("X-Goog-Credential").split_once('/')?.1;
        let signed = format!(
            "GOOG4-RSA-SHA256\n{}\n{scope}\n{}",
            asked.get("X-Goog-Date"),
            digest(canonical.as_bytes()).trim_start_matches("sha256:")
        );
        let pairs = signature.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let signature = URL_SAFE_NO_PAD.encode(bytes?);
        let verified = jsonwebtoken::crypto::verify(
            &signature,
            signed.as_bytes(),
            &self.key,
            Algorithm::RS256,
        );
        verified.unwrap_or_default().then_some(())
    }
}
