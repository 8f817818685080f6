//! Stand-ins for what gives credentials to programs on a platform, and for stores
//! that take no others, written from their documentation.
//!
//! Credentials have generations. A service issues the current one, which is valid for
//! less time than clients want to be left, so that they ask again soon; a store takes
//! what was issued last, and takes nothing once there is nothing to be had.

mod amazon;
mod azure;
mod blobs;
mod google;
mod signature;

pub use amazon::{Agent, InstanceMetadata, SecurityTokens, TaskRole};
pub use azure::{AppService, AzureMetadata, Entra};
pub use blobs::AzureBlobs;
pub use google::GoogleMetadata;

use crate::stand_in::{Refusal, Server, State};
use http::StatusCode;
use signature::verify;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long what is issued is valid, in seconds: providers renew it four or five
/// minutes before it expires, so at each use.
pub(crate) const VALID: u64 = 200;

/// The bucket or container of the stand-ins for stores.
pub const BUCKET: &str = "images";

/// What a platform has issued.
#[derive(Clone, Debug, Default)]
pub struct Issuer(Arc<Mutex<Issued>>);

#[derive(Debug, Default)]
struct Issued {
    /// The generation that is issued from now on.
    current: u64,
    /// The generation that stores take.
    accepted: u64,
    /// Whether nothing is issued or taken any more.
    ended: bool,
    /// Requests to services, and to stores.
    asked: u64,
    used: u64,
}

/// A generation's key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The ID.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The session token, which is the bearer token elsewhere.
    pub token: String,
}

impl Key {
    fn of(generation: u64) -> Self {
        Self {
            id: format!("ASIA{generation}"),
            secret: format!("tell-nobody/{generation}"),
            // As long and with such characters as Amazon's.
            token: format!("tell-nobody+token/{generation}={}", "x".repeat(1000)),
        }
    }
}

impl Issuer {
    fn lock(&self) -> MutexGuard<'_, Issued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that is issued from now on.
    pub fn key(&self) -> Key {
        Key::of(self.lock().current)
    }

    /// The secret that callers of a service show, such as a token in a file.
    pub fn pass(&self) -> String {
        format!("tell-nobody.pass.{}", self.lock().current)
    }

    /// From now on, another key is issued, and services want another pass. Stores
    /// take the previous key until the new one is issued.
    pub fn rotate(&self) {
        self.lock().current += 1;
    }

    /// From now on, nothing is issued, and stores take nothing.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    /// The key for a caller of a service; `None` if there is none any more.
    pub(crate) fn issue(&self) -> Option<Key> {
        let mut issued = self.lock();
        issued.asked += 1;
        if issued.ended {
            return None;
        }
        if issued.accepted != issued.current {
            issued.accepted = issued.current;
            issued.used = 0;
        }
        drop(issued);
        Some(self.key())
    }

    /// Has stores take the current key, which no service issues.
    pub fn accept(&self) {
        self.issue();
    }

    /// The key that stores take, if they take any, for a request that is counted.
    pub(crate) fn accepted(&self) -> Option<Key> {
        let issued = self.lock();
        (!issued.ended).then(|| Key::of(issued.accepted))
    }

    pub(crate) fn count_use(&self) {
        self.lock().used += 1;
    }

    /// Requests to services so far.
    pub fn asked(&self) -> u64 {
        self.lock().asked
    }

    /// Requests that a store took with the current key.
    pub fn used(&self) -> u64 {
        let issued = self.lock();
        if issued.current == issued.accepted { issued.used } else { 0 }
    }
}

/// Amazon S3, as far as it takes the keys of an [`Issuer`]. It verifies signatures,
/// those of URLs too, and the hashes of bodies.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>
#[derive(Debug)]
pub struct S3(Server);

impl S3 {
    /// Starts it.
    pub fn start(issuer: &Issuer) -> anyhow::Result<Self> {
        let (issuer, state) = (issuer.clone(), Mutex::new(State::default()));
        let server = Server::start("127.0.0.1:0", move |asked| {
            // The host looks whether there is a store.
            if asked.place.is_empty() {
                return Err(Refusal(StatusCode::FORBIDDEN, "AccessDenied"));
            }
            let key = issuer.accepted().ok_or(Refusal(StatusCode::BAD_REQUEST, "ExpiredToken"))?;
            verify(asked, &key)?;
            issuer.count_use();
            state.lock().unwrap_or_else(PoisonError::into_inner).answer(asked)
        })?;
        Ok(Self(server))
    }

    /// The settings of a registry with its data in it, without keys.
    pub fn settings(&self) -> Vec<(String, String)> {
        [("BUCKET", BUCKET), ("REGION", "eu-central-1"), ("REGIONENDPOINT", &self.origin())]
            .map(|(name, value)| (format!("REGISTRY_STORAGE_S3_{name}"), value.to_owned()))
            .into()
    }

    fn origin(&self) -> String {
        format!("http://{}", self.0.address)
    }
}

/// Google Cloud Storage, as far as it takes the bearer tokens of an [`Issuer`].
#[derive(Debug)]
pub struct GoogleStorage(Server);

impl GoogleStorage {
    /// Starts it.
    pub fn start(issuer: &Issuer) -> anyhow::Result<Self> {
        let (issuer, state) = (issuer.clone(), Mutex::new(State::default()));
        let server = Server::start("127.0.0.1:0", move |asked| {
            if !asked.place.is_empty() {
                check_bearer(&issuer, asked)?;
            }
            state.lock().unwrap_or_else(PoisonError::into_inner).answer(asked)
        })?;
        Ok(Self(server))
    }

    /// The settings of a registry with its data in it, without a key.
    pub fn settings(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.0.address);
        [("BUCKET", BUCKET.to_owned()), ("ENDPOINT", endpoint)]
            .map(|(name, value)| (format!("REGISTRY_STORAGE_GCS_{name}"), value))
            .into()
    }
}

/// Checks a request's bearer token.
pub(crate) fn check_bearer(issuer: &Issuer, asked: &crate::stand_in::Asked) -> Result<(), Refusal> {
    let refused = || Refusal(StatusCode::UNAUTHORIZED, "AuthenticationRequired");
    let key = issuer.accepted().ok_or_else(refused)?;
    let shown = asked.header(http::header::AUTHORIZATION);
    if shown.and_then(|shown| shown.strip_prefix("Bearer ")) != Some(&key.token) {
        return Err(refused());
    }
    issuer.count_use();
    Ok(())
}
