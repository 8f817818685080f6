//! Fetches the keys with which an issuer signs CI jobs' tokens (`OpenID` Connect
//! Discovery 1.0), when a token names an unknown key.

use crate::tls::roots;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use roadstead_access::Oidc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Largest document that is read, in bytes.
///
/// Limit: bytes of an issuer's document; test: none, only issuers of the settings are
/// asked.
const SIZE_LIMIT: usize = 1024 * 1024;

/// How long an issuer may take to respond with a document.
///
/// Limit: time for an issuer's document; test: none, it would take as long.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The shortest time between two fetches from an issuer, whatever key names
/// clients make up.
///
/// Limit: time between two questions to one issuer; test:
/// `keys_arrive_later_and_change`.
const INTERVAL: Duration = Duration::from_secs(30);

/// The path of an issuer's discovery document.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Fetches keys, at most every [`INTERVAL`].
#[derive(Debug, Default)]
pub(crate) struct Fetcher(Mutex<Option<Instant>>);

impl Fetcher {
    /// The issuer's current keys; `None` if they were fetched within
    /// [`INTERVAL`], or cannot be fetched, which is logged.
    pub(crate) async fn fetch(&self, oidc: &Oidc) -> Option<String> {
        // Held while it fetches, so that concurrent callers wait for these keys.
        let mut last = self.0.lock().await;
        if last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return None;
        }
        *last = Some(Instant::now());
        match keys(oidc).await {
            Ok(jwks) => Some(jwks),
            Err(error) => {
                tracing::error!("cannot fetch the keys of {}: {error:#}", oidc.issuer);
                None
            }
        }
    }
}

async fn keys(oidc: &Oidc) -> anyhow::Result<String> {
    let url = if let Some(url) = &oidc.jwks {
        url.clone()
    } else {
        let document = get(&format!("{}{DISCOVERY}", oidc.issuer.trim_end_matches('/'))).await?;
        let document: serde_json::Value = serde_json::from_str(&document)?;
        let url = document["jwks_uri"].as_str();
        url.ok_or_else(|| anyhow::anyhow!("its discovery document has no jwks_uri"))?.to_owned()
    };
    get(&url).await
}

async fn get(url: &str) -> anyhow::Result<String> {
    let uri: Uri = url.parse()?;
    // Keys must come over TLS, except from this machine, as in tests.
    let local = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let connector = HttpsConnectorBuilder::new().with_tls_config(roots::client(roots::trusted())?);
    let connector = if local { connector.https_or_http() } else { connector.https_only() };
    let client = Client::builder(TokioExecutor::new()).build(connector.enable_http1().build());
    let request = Request::get(uri).body(Empty::<Bytes>::new())?;
    let fetched = async {
        let response = client.request(request).await?;
        anyhow::ensure!(response.status() == StatusCode::OK, "{url}: {}", response.status());
        let body = Limited::new(response.into_body(), SIZE_LIMIT).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
        Ok(String::from_utf8(body.to_bytes().to_vec())?)
    };
    tokio::time::timeout(TIME_LIMIT, fetched).await?
}
