//! Google's lists of multipart uploads, for which object_store has no method.

use crate::open_uploads::ListRequests;
use crate::s3::PATH;
use async_trait::async_trait;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;
use object_store::path::Path;
use object_store::{Error, Result};
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
    user_agent: HeaderValue,
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
        user_agent: HeaderValue,
    ) -> Self {
        Self { settings: settings.clone(), credentials, client, user_agent }
    }
}

#[async_trait]
impl ListRequests for GoogleLists {
    async fn list_request(&self, key: &Path, query: &str) -> Result<HttpRequest> {
        let Gcs { endpoint, bucket, .. } = &self.settings;
        let key = utf8_percent_encode(key.as_ref(), PATH);
        let credential = self.credentials.get_credential().await?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", credential.bearer)).map_err(failed)?;
        bearer.set_sensitive(true);
        let request = Request::get(format!("{endpoint}/{bucket}/{key}{query}"))
            .header(AUTHORIZATION, bearer)
            .header(USER_AGENT, &self.user_agent);
        request.body(HttpRequestBody::empty()).map_err(failed)
    }

    fn client(&self) -> &HttpClient {
        &self.client
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: STORE, source: Box::new(error) }
}
