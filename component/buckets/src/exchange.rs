//! A request that object_store has no method for, and its response.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{HttpClient, HttpRequest};
use object_store::{Error, Result};

/// Sends a request to `store` and reads up to `limit` bytes of the response.
pub(crate) async fn exchange(
    client: &HttpClient,
    store: &'static str,
    request: HttpRequest,
    limit: usize,
) -> Result<(StatusCode, Bytes)> {
    let (head, body) = client.execute(request).await.map_err(failed(store))?.into_parts();
    let body = Limited::new(body, limit).collect().await;
    let body = body.map_err(|error| Error::Generic { store, source: error })?;
    Ok((head.status, body.to_bytes()))
}

/// Makes an error of object_store of one of `store`.
pub(crate) fn failed<E>(store: &'static str) -> impl Fn(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |error| Error::Generic { store, source: Box::new(error) }
}
