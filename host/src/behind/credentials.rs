//! Credentials of the platform for the object store, which this host gets for the
//! component: files are read and services are asked here. The component is given
//! what signs its next request, and cannot reach those services.

use crate::behind::outbound::Outbound;
use crate::body::empty;
use anyhow::{Context as _, anyhow};
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use roadstead_bridge::credentials::ANSWER;
use roadstead_bridge::header_json;
use roadstead_buckets::Clock;
use roadstead_buckets::platform::{self, Credentials, RESPONSE_LIMIT};
use roadstead_config::Cloud;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use wasmtime_wasi_http::{Error, WasiBody};

/// How long a source of credentials may take to respond to a request. All of a
/// fetch has its own limit.
///
/// Limit: the wait for a response of a source of credentials; test: none, the
/// limit of the whole fetch is tested.
const RESPONSE_TIME: Duration = Duration::from_secs(5);

/// The platform's credentials.
#[derive(Debug)]
pub(crate) struct HostCredentials(Arc<dyn Credentials>);

impl HostCredentials {
    /// Chooses the source by the environment, and gets credentials from it once;
    /// `None` if the settings have keys.
    pub(crate) async fn open(cloud: &Cloud) -> anyhow::Result<Option<Self>> {
        let variable = |name: &str| std::env::var(name).ok();
        let chosen = platform::choose(cloud, variable).map_err(anyhow::Error::msg)?;
        let Some(source) = chosen else { return Ok(None) };
        let service = Service(Arc::new(Outbound::to_source(cloud, source.origins())?));
        let report = |problem: &str| tracing::warn!("{problem}");
        let credentials =
            source.connect(service, TokioClock, report).map_err(anyhow::Error::msg)?;
        credentials
            .current()
            .await
            .map_err(|problem| anyhow!(problem))
            .with_context(|| format!("cannot open {}", cloud.location()))?;
        tracing::info!("credentials for {}: {source}", cloud.location());
        Ok(Some(Self(credentials)))
    }

    /// Answers the component.
    pub(crate) async fn respond(self: Arc<Self>) -> Response<WasiBody> {
        let answer = self.0.current().await;
        let mut response = Response::new(empty());
        if let Ok(mut answer) = HeaderValue::from_bytes(&header_json(&answer)) {
            answer.set_sensitive(true);
            response.headers_mut().insert(ANSWER, answer);
        }
        response
    }
}

/// Sends the requests of object_store's providers.
#[derive(Clone, Debug)]
struct Service(Arc<Outbound>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |error: HttpError| Error::InternalError(Some(error.to_string()));
        let request = request.map(|body| body.map_err(failed).boxed_unsync());
        let sent = Arc::clone(&self.0).send(request, Some(RESPONSE_TIME)).await;
        let (head, body) = sent.map_err(|error| explained(&error))?.into_parts();
        let body = Limited::new(body, RESPONSE_LIMIT).collect().await;
        let body = body.map_err(|error| {
            HttpError::new(HttpErrorKind::Interrupted, io::Error::other(error.to_string()))
        })?;
        Ok(HttpResponse::from_parts(head, body.to_bytes().into()))
    }
}

/// What went wrong, and whether anything was sent by then.
fn explained(error: &Error) -> HttpError {
    let kind = match error {
        Error::ConnectionRefused | Error::ConnectionTimeout | Error::DestinationUnavailable => {
            HttpErrorKind::Connect
        }
        Error::HttpResponseTimeout => HttpErrorKind::Timeout,
        Error::ConnectionTerminated => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, io::Error::other(format!("{error:?}")))
}

/// tokio's timer.
#[derive(Clone, Debug)]
struct TokioClock;

impl Clock for TokioClock {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}
