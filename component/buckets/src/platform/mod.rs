//! Credentials of the platform: what a machine, a container or a pod gives to the
//! programs that run on it, where the settings have no keys.
//!
//! [`choose`] looks for a source once, at the start, and names all that it has
//! looked for. object_store's providers fetch from it; `Shared` lets concurrent
//! callers share a fetch, bounds its time, and bridges short failures. A source may
//! reach the origins that it names, and nothing else.
//!
//! A native host does this for the component, which then reaches no such place
//! itself and gets only what signs its requests. Under other hosts, the component
//! does it.

mod amazon;
mod azure;
mod fetch;
mod given;
mod google;
mod profile;
mod shared;
#[cfg(test)]
mod tests;

pub use fetch::RESPONSE_LIMIT;
pub(crate) use given::{Given, GivenKey, GivenToAzure, GivenToGoogle};
pub use shared::{FETCH_TIME, RETRY_TIME, USABLE_TIME};

use crate::Clock;
use async_trait::async_trait;
use fetch::{Fetching, Origin};
use http::Uri;
use object_store::aws::AwsCredential;
use object_store::azure::AzureCredential;
use object_store::client::HttpService;
use profile::Profile;
use roadstead_config::{Cloud, Service};
use serde::{Deserialize, Serialize};
use shared::Shared;
use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

/// What authorizes requests to a store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credential {
    /// A key of Amazon's, which signs requests.
    Key {
        /// Its ID.
        id: String,
        /// Its secret.
        secret: String,
        /// The session token, if it is temporary.
        token: Option<String>,
    },
    /// A token that is sent with requests.
    Bearer(String),
}

impl fmt::Debug for Credential {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, .. } => f.debug_struct("Key").field("id", id).finish_non_exhaustive(),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

impl Credential {
    /// Itself, if it fits headers of requests.
    fn checked(self) -> Result<Self, String> {
        let fits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let all_fit = match &self {
            Self::Bearer(token) => fits(token),
            Self::Key { id, secret, token } => {
                fits(id) && !secret.is_empty() && token.as_deref().is_none_or(fits)
            }
        };
        if all_fit { Ok(self) } else { Err("they are empty, or not visible ASCII".to_owned()) }
    }
}

/// Whoever gives credentials, current ones at each call.
#[async_trait]
pub trait Credentials: fmt::Debug + Send + Sync {
    /// The credential for a request that is made now.
    ///
    /// # Errors
    /// Why there is none, and what to do about it: a text for operators.
    async fn current(&self) -> Result<Credential, String>;
}

/// Looks up a variable of the environment; one that is empty is not set.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the platform's credentials come from.
#[derive(Debug)]
pub struct Source {
    /// For people: `the instance role (IMDSv2)`.
    what: String,
    /// Where it is asked for; empty if no request is needed.
    origins: Vec<Origin>,
    /// What to do if it gives none.
    remedy: String,
    kind: Kind,
}

/// What is asked, and how.
enum Kind {
    /// A credential that does not change.
    Fixed(Credential),
    /// A profile in a file.
    Profile(Profile),
    /// Amazon's services, by object_store's names of settings.
    Amazon(Vec<(&'static str, String)>),
    /// Google's metadata server, or the content of a file with a service
    /// account's key.
    Google(Option<String>),
    /// Azure's services, by object_store's names of settings.
    Azure(Vec<(&'static str, String)>),
}

impl fmt::Debug for Kind {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Profile(_) => "Profile",
            Self::Amazon(_) => "Amazon",
            Self::Google(_) => "Google",
            Self::Azure(_) => "Azure",
        })
    }
}

impl Source {
    /// A source that sends no requests.
    fn local(what: impl Into<String>, kind: Kind, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), origins: Vec::new(), remedy: remedy.into(), kind }
    }

    /// Where it is asked for, as `scheme://authority`; empty if no request is
    /// needed.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(Origin::as_str)
    }

    /// Connects it through `service`. `report` gets a line for the log when
    /// credentials cannot be renewed, while the previous ones are used.
    ///
    /// # Errors
    /// When object_store does not take its settings.
    pub fn connect<S, C>(
        &self,
        service: S,
        clock: C,
        report: fn(&str),
    ) -> Result<Arc<dyn Credentials>, String>
    where
        S: HttpService + Clone,
        C: Clock + Clone,
    {
        let client = Fetching::new(service, clock.clone(), self.origins.clone());
        let built = match &self.kind {
            Kind::Fixed(credential) => Ok(Provider::Fixed(credential.clone())),
            Kind::Profile(profile) => Ok(Provider::Profile(profile.clone())),
            Kind::Amazon(settings) => amazon::connect(settings, client).map(Provider::Amazon),
            Kind::Google(key) => google::connect(key.as_deref(), client).map(Provider::Google),
            Kind::Azure(settings) => azure::connect(settings, client).map(Provider::Azure),
        };
        let provider = built.map_err(|error| format!("{self}: {error}"))?;
        let (what, remedy) = (self.to_string(), self.remedy.clone());
        Ok(Arc::new(Shared::new(provider, clock, what, remedy, report)))
    }
}

impl fmt::Display for Source {
    /// For the log: what it is, and where it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for (index, origin) in self.origins().enumerate() {
            write!(f, "{} {origin}", if index == 0 { ", at" } else { " or" })?;
        }
        Ok(())
    }
}

/// Looks for the source of a bucket's credentials. `None` if the settings have
/// keys.
///
/// # Errors
/// When a variable or a file is not valid, or there is nothing that could give
/// credentials: the text names all that was looked for.
pub fn choose(
    cloud: &Cloud,
    variables: impl Fn(&str) -> Option<String>,
) -> Result<Option<Source>, String> {
    if !cloud.needs_platform() {
        return Ok(None);
    }
    // Secrets of Kubernetes often end with a line break.
    let variables = |name: &str| {
        let value = variables(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    };
    match &cloud.service {
        // Its requests are signed, and the key is not in them.
        Service::S3(s3) => amazon::choose(&s3.region, &variables),
        Service::Gcs(gcs) => refuse_plain(&gcs.endpoint).and_then(|()| google::choose(&variables)),
        Service::Azure(azure) => {
            refuse_plain(&azure.endpoint).and_then(|()| azure::choose(&variables))
        }
    }
    .map(Some)
    .map_err(|problem| format!("credentials for {}: {problem}", cloud.location()))
}

/// Refuses a store to which tokens would be sent in plain text.
fn refuse_plain(endpoint: &str) -> Result<(), String> {
    let uri = endpoint.parse::<Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    if uri.scheme_str() == Some("http") && !is_loopback(host) {
        return Err(format!(
            "plain HTTP to the store at {host} would show the platform's tokens to the network; \
             it must be https://, or a key must be in the settings"
        ));
    }
    Ok(())
}

/// One of object_store's providers, or a credential that needs none.
#[derive(Debug)]
enum Provider {
    Fixed(Credential),
    Profile(Profile),
    Amazon(object_store::aws::AwsCredentialProvider),
    Google(object_store::gcp::GcpCredentialProvider),
    Azure(object_store::azure::AzureCredentialProvider),
}

impl Provider {
    async fn get(&self) -> Result<Credential, String> {
        let failed = |error: object_store::Error| error.to_string();
        match self {
            Self::Fixed(credential) => Ok(credential.clone()),
            Self::Profile(profile) => profile.read(),
            Self::Amazon(provider) => {
                let AwsCredential { key_id, secret_key, token } =
                    &*provider.get_credential().await.map_err(failed)?;
                let (id, secret) = (key_id.clone(), secret_key.clone());
                Ok(Credential::Key { id, secret, token: token.clone() })
            }
            Self::Google(provider) => {
                let credential = provider.get_credential().await.map_err(failed)?;
                Ok(Credential::Bearer(credential.bearer.clone()))
            }
            Self::Azure(provider) => match &*provider.get_credential().await.map_err(failed)? {
                AzureCredential::BearerToken(token) => Ok(Credential::Bearer(token.clone())),
                _ => Err("no token".to_owned()),
            },
        }
    }
}

/// The origin of a URL in a variable; plain HTTP only where `http` allows its
/// host. The value is not repeated: it may hold a secret.
fn origin_in(name: &str, url: &str, http: fn(&str) -> bool) -> Result<Origin, String> {
    let parsed = url.parse::<Uri>().ok();
    let Some(origin) = parsed.as_ref().and_then(Origin::of) else {
        return Err(format!("{name} must be a URL such as https://service.example/path"));
    };
    let host = parsed.as_ref().and_then(Uri::host).unwrap_or_default();
    if origin.is_plain() && !http(host) {
        return Err(format!(
            "{name}: plain HTTP to {host} would show secrets to the network; it must be https://"
        ));
    }
    Ok(origin)
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Largest file of profiles, in bytes.
///
/// Limit: bytes of a file with profiles of Amazon's tools; test: none, it comes from the
/// operator.
const PROFILES_LIMIT: u64 = 1024 * 1024;

/// Reads a file of credentials of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is larger, or is not UTF-8.
pub fn read_file(path: &str, limit: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let read = file.take(limit + 1).read_to_string(&mut text);
    if read.map_err(|error| format!("{path}: {error}"))? as u64 > limit {
        return Err(format!("{path}: it has more than {limit} bytes"));
    }
    Ok(text)
}
