//! URLs for clients, signed with temporary credentials.

use async_trait::async_trait;
use http::Method;
use object_store::Result;
use object_store::path::Path;
use object_store::signer::Signer;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long a URL is valid that is signed with temporary credentials: they are
/// renewed as long before they expire, so that the URL does not outlive them, nor
/// they it in a client's hands, unless they could not be renewed in time.
///
/// Limit: time in which a redirected download may begin, with temporary credentials; test:
/// `urls_of_temporary_credentials_are_brief`.
pub const TEMPORARY_URL_TIME: Duration = Duration::from_mins(5);

/// A signer whose URLs are valid for at most [`TEMPORARY_URL_TIME`].
#[derive(Debug)]
pub(crate) struct Brief(pub(crate) Arc<dyn Signer>);

#[async_trait]
impl Signer for Brief {
    async fn signed_url(&self, method: Method, path: &Path, expires_in: Duration) -> Result<Url> {
        self.0.signed_url(method, path, expires_in.min(TEMPORARY_URL_TIME)).await
    }
}
