//! Google's lists of multipart uploads, for which object_store has no method.

use crate::exchange::failed;
use crate::open_uploads::ListRequests;
use crate::s3::PATH;
use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use object_store::Result;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;
use object_store::path::Path;
use percent_encoding::utf8_percent_encode;
use roadstead_config::Gcs;
use std::fmt;

/// The store's name in errors, as in object_store's.
const STORE: &str = "GCS";

/// Requests of Google's XML API for lists of multipart uploads.
pub(crate) struct GoogleLists {
    settings: Gcs,
    credentials: GcpCredentialProvider,
    client: HttpClient,
}

impl fmt::Debug for GoogleLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoogleLists").field("bucket", &self.settings.bucket).finish_non_exhaustive()
    }
}

impl GoogleLists {
    pub(crate) fn new(
        settings: &Gcs,
        credentials: GcpCredentialProvider,
        client: HttpClient,
    ) -> Self {
        Self { settings: settings.clone(), credentials, client }
    }
}

#[async_trait]
impl ListRequests for GoogleLists {
    const STORE: &'static str = STORE;

    async fn list_request(&self, key: &Path, query: &str) -> Result<HttpRequest> {
        let Gcs { endpoint, bucket, .. } = &self.settings;
        let key = utf8_percent_encode(key.as_ref(), PATH);
        let credential = self.credentials.get_credential().await?;
        let request = Request::get(format!("{endpoint}/{bucket}/{key}{query}"));
        let mut request = request.body(HttpRequestBody::empty()).map_err(failed(STORE))?;
        // A service account's key may say that requests are not authorised, for emulators.
        if !credential.bearer.is_empty() {
            let bearer = format!("Bearer {}", credential.bearer);
            let mut bearer = HeaderValue::try_from(bearer).map_err(failed(STORE))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }

    fn client(&self) -> &HttpClient {
        &self.client
    }
}
