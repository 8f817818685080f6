//! Operations of S3 for which object_store has no method.

use crate::RustCrypto;
use crate::exchange::{exchange, failed};
use crate::open_uploads::ListRequests;
use crate::refusal::error_code;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_config::{Encryption, S3};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io;
use std::ops::Range;

/// The store's name in errors, as in object_store's.
const STORE: &str = "S3";

/// The header for encryption by the store; also the prefix of the one that names
/// the key.
const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// The largest response that is read, in bytes: the text of an error.
///
/// Limit: bytes of a store's response to a copy or a conditional write; test: none,
/// the rest is not looked at.
const ANSWER_LIMIT: usize = 64 * 1024;

/// The characters of a path that signatures escape.
pub(crate) const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The characters of a query value that signatures escape.
pub(crate) const QUERY: &AsciiSet = &PATH.add(b'/');

/// A store's operations beyond object_store's traits.
#[async_trait]
pub trait S3Operations: fmt::Debug + Send + Sync {
    /// Copies a range of an object into a part of a multipart upload, within the
    /// store. `index` counts from 0, as in
    /// [`object_store::multipart::MultipartStore::put_part`].
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId>;

    /// The head of a request that stores its body as an object, with metadata.
    /// The store refuses a body with another SHA-256;
    /// [`S3Operations::verifies`] tests whether it does.
    async fn put_verified(
        &self,
        key: &Path,
        sha256: &[u8],
        metadata: Option<(&str, &str)>,
    ) -> Result<Parts>;

    /// The head of a request for an object, or for a range of its bytes.
    async fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts>;

    /// Tests whether the store refuses a body whose SHA-256 is not the announced
    /// one, by sending such a body for `key`.
    ///
    /// # Errors
    /// When the response is inconclusive.
    async fn verifies(&self, key: &Path) -> Result<bool>;
}

/// The outcome of a request of [`S3Operations::put_verified`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verified {
    /// The object was stored.
    Stored,
    /// The body has another hash and was not stored.
    Mismatch,
    /// The body was not stored, for another reason.
    Refused,
}

impl Verified {
    /// Interprets a response; the beginning of its body is sufficient.
    pub fn of(status: StatusCode, body: &[u8]) -> Self {
        /// Amazon's error codes for it; Garage only uses the last.
        const CODES: [&str; 3] = ["XAmzContentSHA256Mismatch", "BadDigest", "InvalidDigest"];
        if status.is_success() {
            return Self::Stored;
        }
        let code = || error_code(&String::from_utf8_lossy(body));
        if status == StatusCode::BAD_REQUEST && code().is_some_and(|code| CODES.contains(&&*code)) {
            Self::Mismatch
        } else {
            Self::Refused
        }
    }
}

/// Signs and sends requests to S3 and compatible stores.
pub(crate) struct SignedS3 {
    settings: S3,
    credentials: AwsCredentialProvider,
    client: HttpClient,
    user_agent: HeaderValue,
}

impl fmt::Debug for SignedS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedS3").field("bucket", &self.settings.bucket).finish_non_exhaustive()
    }
}

impl SignedS3 {
    pub(crate) fn new(
        settings: &S3,
        credentials: AwsCredentialProvider,
        client: HttpClient,
        user_agent: HeaderValue,
    ) -> Self {
        Self { settings: settings.clone(), credentials, client, user_agent }
    }

    /// A signed request without its body, for a body with this SHA-256.
    async fn signed(
        &self,
        method: Method,
        (key, query): (&Path, &str),
        headers: Vec<(String, String)>,
        sha256: &[u8],
    ) -> Result<HttpRequest> {
        let S3 { endpoint, bucket, path_style, region, .. } = &self.settings;
        let bucket = if *path_style { format!("/{bucket}") } else { String::new() };
        let uri = format!("{endpoint}{bucket}/{}{query}", utf8_percent_encode(key.as_ref(), PATH));
        let request = Request::builder().method(method).uri(uri);
        let mut request = request.body(HttpRequestBody::empty()).map_err(failed(STORE))?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(failed(STORE))?;
            request
                .headers_mut()
                .insert(name, HeaderValue::try_from(value).map_err(failed(STORE))?);
        }
        let credential = self.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", region)
            .with_crypto(&RustCrypto)
            .try_authorize(&mut request, Some(sha256))?;
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        Ok(request)
    }

    /// Sends a request and reads the response.
    async fn send(&self, request: HttpRequest) -> Result<(StatusCode, Bytes)> {
        exchange(&self.client, STORE, request, ANSWER_LIMIT).await
    }
}

#[async_trait]
impl ListRequests for SignedS3 {
    const STORE: &'static str = STORE;

    async fn list_request(&self, key: &Path, query: &str) -> Result<HttpRequest> {
        let nothing = Sha256::digest([]);
        self.signed(Method::GET, (key, query), Vec::new(), &nothing).await
    }

    fn client(&self) -> &HttpClient {
        &self.client
    }
}

#[async_trait]
impl S3Operations for SignedS3 {
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId> {
        let (number, id) = (index + 1, utf8_percent_encode(id, QUERY));
        let query = format!("?partNumber={number}&uploadId={id}");
        let from = utf8_percent_encode(from.as_ref(), PATH);
        let last = range.end.saturating_sub(1);
        let headers = [
            ("x-amz-copy-source", format!("/{}/{from}", self.settings.bucket)),
            ("x-amz-copy-source-range", format!("bytes={}-{last}", range.start)),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        let nothing = Sha256::digest([]);
        let request = self.signed(Method::PUT, (to, &query), headers, &nothing).await?;
        let (status, body) = self.send(request).await?;
        let text = String::from_utf8_lossy(&body);
        // A copy that fails after the response has begun is a 200 with an error.
        match quick_xml::de::from_str::<CopyPartResult>(&text) {
            Ok(copied) if status.is_success() => Ok(PartId { content_id: copied.e_tag }),
            _ => Err(failed(STORE)(io::Error::other(format!(
                "cannot copy a part: {status}: {text}"
            )))),
        }
    }

    async fn put_verified(
        &self,
        key: &Path,
        sha256: &[u8],
        metadata: Option<(&str, &str)>,
    ) -> Result<Parts> {
        let mut headers = match &self.settings.encryption {
            Encryption::Default => vec![],
            Encryption::Store => vec![(ENCRYPTION.to_owned(), "AES256".to_owned())],
            Encryption::Key(key) => {
                let by_key = (ENCRYPTION.to_owned(), "aws:kms".to_owned());
                vec![by_key, (format!("{ENCRYPTION}-aws-kms-key-id"), key.clone())]
            }
        };
        headers
            .extend(metadata.map(|(name, value)| (format!("x-amz-meta-{name}"), value.to_owned())));
        Ok(self.signed(Method::PUT, (key, ""), headers, sha256).await?.into_parts().0)
    }

    async fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts> {
        let headers = range.map(|range| ("range".to_owned(), range.to_owned()));
        let (headers, nothing) = (headers.into_iter().collect(), Sha256::digest([]));
        Ok(self.signed(Method::GET, (key, ""), headers, &nothing).await?.into_parts().0)
    }

    async fn verifies(&self, key: &Path) -> Result<bool> {
        const TEXT: &[u8] = b"Made to find out whether this store refuses it.\n";
        let head = self.put_verified(key, &Sha256::digest([]), None).await?;
        let request = HttpRequest::from_parts(head, HttpRequestBody::from(TEXT.to_vec()));
        let (status, body) = self.send(request).await?;
        match Verified::of(status, &body) {
            Verified::Mismatch => Ok(true),
            Verified::Stored => Ok(false),
            Verified::Refused => {
                let text = String::from_utf8_lossy(&body);
                Err(failed(STORE)(io::Error::other(format!("{status}: {text}"))))
            }
        }
    }
}

/// The response to the copy of a part.
#[derive(Deserialize)]
struct CopyPartResult {
    #[serde(rename = "ETag")]
    e_tag: String,
}
