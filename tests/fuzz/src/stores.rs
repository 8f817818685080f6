//! Answers of object stores, in XML and JSON: an error, and nothing worse.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::executor::block_on;
use futures::future::BoxFuture;
use http::StatusCode;
use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use roadstead_buckets::{Clock, open};
use roadstead_config::Config;
use std::time::Duration;

/// A service that gives each request the same answer.
#[derive(Clone, Debug)]
struct Always(u16, Bytes);

#[async_trait]
impl HttpService for Always {
    async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = HttpResponse::new(HttpResponseBody::from(self.1.clone()));
        *response.status_mut() = StatusCode::from_u16(self.0).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert("etag", http::HeaderValue::from_static("\"etag\""));
        headers.insert("content-length", self.1.len().into());
        let date = http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert("last-modified", date);
        Ok(response)
    }
}

/// A clock that does not wait.
#[derive(Clone, Debug)]
struct Fast;

impl Clock for Fast {
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

const S3: [(&str, &str); 5] = [
    ("REGISTRY_STORAGE_S3_BUCKET", "bucket"),
    ("REGISTRY_STORAGE_S3_REGION", "region"),
    ("REGISTRY_STORAGE_S3_REGIONENDPOINT", "http://127.0.0.1:3900"),
    ("REGISTRY_STORAGE_S3_ACCESSKEY", "key"),
    ("REGISTRY_STORAGE_S3_SECRETKEY", "secret"),
];

const AZURE: [(&str, &str); 3] = [
    ("REGISTRY_STORAGE_AZURE_ACCOUNTNAME", "acme"),
    ("REGISTRY_STORAGE_AZURE_ACCOUNTKEY", "c2VjcmV0"),
    ("REGISTRY_STORAGE_AZURE_CONTAINER", "container"),
];

/// The first byte chooses the store and the status, the rest is the body.
pub(crate) fn stores(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let settings: &[(&str, &str)] = if first & 1 == 0 { &S3 } else { &AZURE };
    let status = [200, 206, 204, 400, 404, 409, 412, 503][usize::from(first >> 1) % 8];
    let owned = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::from_variables(owned).unwrap_or_else(|error| panic!("{error}"));
    let Some(cloud) = config.cloud else { panic!("no object store") };
    let service = Always(status, Bytes::copy_from_slice(body));
    let opened = open(&cloud, service, Fast, None).unwrap_or_else(|error| panic!("{error}"));
    let (bucket, path) = (opened.bucket, Path::from("a/b"));
    block_on(async {
        let _ = bucket.list(Some(&path)).take(100).collect::<Vec<_>>().await;
        let _ = bucket.list_with_delimiter(Some(&path)).await;
        let _ = bucket.head(&path).await;
        if let Ok(found) = bucket.get(&path).await {
            let _ = found.bytes().await;
        }
        let _ = bucket.put(&path, Bytes::from_static(b"value").into()).await;
        let _ = bucket.copy(&path, &Path::from("c")).await;
        let _ = bucket.delete(&path).await;
        if let Ok(id) = bucket.create_multipart(&path).await {
            let part = bucket.put_part(&path, &id, 0, Bytes::from_static(b"part").into()).await;
            if let Ok(part) = part {
                let _ = bucket.complete_multipart(&path, &id, vec![part]).await;
            }
            let _ = bucket.abort_multipart(&path, &id).await;
        }
    });
}
