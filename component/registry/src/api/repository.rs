//! Whole repositories: an extension, `DELETE /v2/<name>/_roadstead/repository`.

use super::manifest::refused;
use super::{Answer, Registry, internal, json};
use crate::Error;
use http::StatusCode;
use http::header::{self, HeaderValue};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Storage, StorageError};
use serde_json::json;

/// `Retry-After` of a deletion that is not complete, in seconds: another request may
/// be deleting the repository.
const AGAIN_AFTER: &str = "1";

impl<S: Storage> Registry<S> {
    /// Deletes a repository as far as one request does; the client repeats the
    /// request until the response says that it is complete.
    pub(super) async fn delete_repository(&self, name: &RepositoryName) -> Answer<S> {
        let failed = |error| match error {
            StorageError::NotFound => Error::NameUnknown(name.clone()),
            error => internal(error),
        };
        let deleted = self.store.delete_repository(name).await;
        let deleted = deleted.map_err(|refusal| refused(refusal, failed))?;
        let body = json!({
            "name": name.as_str(),
            "complete": deleted.complete,
            "tags": deleted.tags,
            "manifests": deleted.manifests,
            "blobs": deleted.blobs,
            "objects": deleted.objects,
        });
        let mut response = json(body.to_string().into_bytes());
        *response.status_mut() = StatusCode::ACCEPTED;
        if !deleted.complete {
            let again = HeaderValue::from_static(AGAIN_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, again);
        }
        Ok(response)
    }
}
