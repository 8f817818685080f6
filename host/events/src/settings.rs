//! The settings `notifications`, ready to be used.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use roadstead_config::{EventFormat, NotificationEndpoint, Notifications as Config};
use roadstead_http_client::{Server, Version};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The most endpoints.
///
/// Limit: endpoints of notifications; test: `what_is_refused`.
pub(crate) const ENDPOINTS_LIMIT: usize = 64;

/// Which notifications are sent, and where.
#[derive(Clone, Default)]
pub struct Settings {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether events have the references of manifests.
    pub(crate) include_references: bool,
    /// The most bytes of the outbox.
    pub(crate) outbox_limit: u64,
}

/// Where events are sent.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) format: EventFormat,
    /// They may be secret.
    pub(crate) headers: HeaderMap,
    /// The key of signatures.
    pub(crate) secret: Option<Vec<u8>>,
    /// For a request and its response.
    pub(crate) timeout: Duration,
    /// How many requests fail in a row before the pauses are `backoff`.
    pub(crate) threshold: u64,
    pub(crate) backoff: Duration,
    ignored_media_types: Vec<String>,
    ignored_actions: Vec<String>,
}

/// How an endpoint is reached.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) server: Server,
    /// As requests name it.
    pub(crate) authority: HeaderValue,
    /// The path and the query.
    pub(crate) target: Uri,
    /// The URL without credentials and a query.
    pub(crate) shown: String,
}

impl Settings {
    /// Reads what the settings name: `trusted` are the CAs of the system.
    ///
    /// # Errors
    /// What cannot be used, with the name of the setting.
    pub fn new(config: &Config, trusted: fn() -> RootCertStore) -> Result<Self, String> {
        if config.endpoints.len() > ENDPOINTS_LIMIT {
            return Err(format!("notifications.endpoints: more than {ENDPOINTS_LIMIT} endpoints"));
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for endpoint in &config.endpoints {
            if endpoints.iter().any(|other| other.name == endpoint.name) {
                let name = &endpoint.name;
                return Err(format!("notifications.endpoints: two are called {name:?}"));
            }
            endpoints.push(Endpoint::new(endpoint, trusted)?);
        }
        let Config { include_references, outbox_limit, .. } = *config;
        Ok(Self { endpoints, include_references, outbox_limit })
    }
}

impl Endpoint {
    fn new(config: &NotificationEndpoint, trusted: fn() -> RootCertStore) -> Result<Self, String> {
        let wrong = |setting: &str, reason: &str| {
            format!("notifications.endpoints, {}: {setting}: {reason}", config.name)
        };
        let url = Url::parse(&config.url).map_err(|error| wrong("url", &error.to_string()))?;
        let roots = || match &config.root_cas {
            Some(file) => with(trusted(), file).map_err(|reason| wrong("rootcas", &reason)),
            None => Ok(trusted()),
        };
        let tls = match url.scheme() {
            "https" => Some(client(roots()?).map_err(|error| wrong("url", &error.to_string()))?),
            "http" => None,
            _ => return Err(wrong("url", "must begin with http:// or https://")),
        };
        let mut headers = HeaderMap::new();
        if let Some(credentials) = credentials(&url) {
            headers.insert(http::header::AUTHORIZATION, credentials);
        }
        // Several of a name are all sent, as by distribution.
        let mut own = HeaderMap::new();
        for (name, value) in &config.headers {
            let header = HeaderName::try_from(name.as_str())
                .map_err(|_| wrong("headers", &format!("{name:?} is not the name of a header")))?;
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| {
                wrong("headers", &format!("{name} has a value that cannot be sent"))
            })?;
            value.set_sensitive(true);
            own.append(header, value);
        }
        headers.extend(own);
        let address = Address::new(&url, tls).ok_or_else(|| wrong("url", "has no host"))?;
        Ok(Self {
            name: config.name.clone(),
            address,
            format: config.format,
            headers,
            secret: config.secret.as_ref().map(|secret| secret.clone().into_bytes()),
            timeout: config.timeout,
            threshold: config.threshold,
            backoff: config.backoff,
            ignored_media_types: config.ignored_media_types.clone(),
            ignored_actions: config.ignored_actions.clone(),
        })
    }

    /// Whether the endpoint does not ignore such events.
    pub(crate) fn wants(&self, action: &str, media_type: &str) -> bool {
        !self.ignored_actions.iter().any(|ignored| ignored == action)
            && !self.ignored_media_types.iter().any(|ignored| ignored == media_type)
    }
}

impl Address {
    fn new(url: &Url, tls: Option<Arc<ClientConfig>>) -> Option<Self> {
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Some(Self {
            server: Server {
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
                tls,
                version: Version::Http1,
            },
            authority: HeaderValue::try_from(&authority).ok()?,
            target: Uri::try_from(target).ok()?,
            shown: format!("{}://{authority}{}", url.scheme(), url.path()),
        })
    }
}

/// `Authorization` of the credentials in a URL.
fn credentials(url: &Url) -> Option<HeaderValue> {
    use base64::Engine as _;
    let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or("")));
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// More CAs, of a file.
fn with(mut roots: RootCertStore, file: &Path) -> Result<RootCertStore, String> {
    for certificate in roadstead_http_client::certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
