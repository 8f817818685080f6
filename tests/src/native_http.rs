//! Clients of object stores outside of a component, over hyper and tokio.

use async_trait::async_trait;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use roadstead_buckets::{Bucket, Clock, OpenBucket};
use roadstead_config::Config;
use std::sync::Arc;
use std::time::Duration;

/// The object store in the settings, accessed from this process.
pub fn bucket(settings: Vec<(String, String)>) -> anyhow::Result<Arc<dyn Bucket>> {
    Ok(open_bucket(settings)?.bucket)
}

/// The same, with its additional operations.
pub fn open_bucket(settings: Vec<(String, String)>) -> anyhow::Result<OpenBucket> {
    let config = Config::from_variables(settings)?;
    let cloud = config.cloud.ok_or_else(|| anyhow::anyhow!("no object store"))?;
    roadstead_buckets::open(&cloud, NativeHttp::new(), TokioClock, None).map_err(anyhow::Error::msg)
}

/// Plain HTTP, for stores on this machine.
#[derive(Clone, Debug)]
pub struct NativeHttp(Client<HttpConnector, HttpRequestBody>);

impl NativeHttp {
    /// A service without connections yet.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl Default for NativeHttp {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl HttpService for NativeHttp {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.request(request).await.map_err(|error| {
            let connect = error.is_connect();
            let kind = if connect { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
            HttpError::new(kind, error)
        })?;
        Ok(response.map(|body| {
            HttpResponseBody::new(
                body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)),
            )
        }))
    }
}

/// tokio's timer.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}
