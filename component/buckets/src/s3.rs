//! What S3 offers and object_store has no method for.

use crate::RustCrypto;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, MultipartId, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_config::{Encryption, S3};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io;
use std::ops::Range;

/// How errors name the store, as object_store's do.
const STORE: &str = "S3";

/// Encryption by the store; with more after it, by which key.
const ENCRYPTION: &str = "x-amz-server-side-encryption";

/// Largest answer that is read, in bytes: an error's text.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What signatures leave as it is, in a path.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The same in a query.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// What a store can do beyond object_store's traits.
#[async_trait]
pub trait S3Operations: fmt::Debug + Send + Sync {
    /// Makes a range of an object a part of a multipart upload, without its
    /// bytes leaving the store. `index` counts from 0, as in
    /// [`object_store::multipart::MultipartStore::put_part`].
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> Result<PartId>;

    /// The head of a request that makes its body an object, with metadata,
    /// unless the body has another SHA-256: then the store refuses it.
    ///
    /// Whether the store does, [`S3Operations::verifies`] finds out.
    fn put_verified(
        &self,
        key: &Path,
        sha256: &[u8],
        metadata: Option<(&str, &str)>,
    ) -> Result<Parts>;

    /// The head of a request for an object, or for those of its bytes that a
    /// `Range` header names.
    fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts>;

    /// Whether the store refuses a body whose SHA-256 is not the one announced:
    /// it is sent one, to be written to `key`.
    ///
    /// # Errors
    /// When its answer says neither.
    async fn verifies(&self, key: &Path) -> Result<bool>;
}

/// What became of a request of [`S3Operations::put_verified`], by its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verified {
    /// The object is there.
    Stored,
    /// The body has another hash, and nothing was stored.
    Mismatch,
    /// Nothing was stored for another reason.
    Refused,
}

impl Verified {
    /// Reads an answer, of whose body the beginning is enough.
    pub fn of(status: StatusCode, body: &[u8]) -> Self {
        /// Amazon's codes for it; Garage has but the last.
        const CODES: [&str; 3] = ["XAmzContentSHA256Mismatch", "BadDigest", "InvalidDigest"];
        if status.is_success() {
            return Self::Stored;
        }
        let text = String::from_utf8_lossy(body);
        let named = |code| text.contains(&format!("<Code>{code}</Code>"));
        if status == StatusCode::BAD_REQUEST && CODES.into_iter().any(named) {
            Self::Mismatch
        } else {
            Self::Refused
        }
    }
}

/// Signs requests to S3 and those that speak like it.
pub(crate) struct SignedS3 {
    settings: S3,
    credential: AwsCredential,
    client: HttpClient,
    user_agent: HeaderValue,
}

impl fmt::Debug for SignedS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedS3").field("bucket", &self.settings.bucket).finish_non_exhaustive()
    }
}

impl SignedS3 {
    pub(crate) fn new(settings: &S3, client: HttpClient, user_agent: HeaderValue) -> Self {
        let credential = AwsCredential {
            key_id: settings.access_key.clone(),
            secret_key: settings.secret_key.0.clone(),
            token: settings.session_token.as_ref().map(|token| token.0.clone()),
        };
        Self { settings: settings.clone(), credential, client, user_agent }
    }

    /// A signed request without its body, whose SHA-256 is given.
    fn signed(
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
        let mut request = request.body(HttpRequestBody::empty()).map_err(failed)?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(failed)?;
            request.headers_mut().insert(name, HeaderValue::try_from(value).map_err(failed)?);
        }
        AwsAuthorizer::new(&self.credential, "s3", region)
            .with_crypto(&RustCrypto)
            .try_authorize(&mut request, Some(sha256))?;
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        Ok(request)
    }

    /// Sends a request, and reads its answer.
    async fn send(&self, request: HttpRequest) -> Result<(StatusCode, Bytes)> {
        let (head, body) = self.client.execute(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| Error::Generic { store: STORE, source: error })?;
        Ok((head.status, body.to_bytes()))
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
        let request = self.signed(Method::PUT, (to, &query), headers, &nothing)?;
        let (status, body) = self.send(request).await?;
        let text = String::from_utf8_lossy(&body);
        // A copy that fails after its answer has begun is a 200 with an error.
        match quick_xml::de::from_str::<CopyPartResult>(&text) {
            Ok(copied) if status.is_success() => Ok(PartId { content_id: copied.e_tag }),
            _ => Err(failed(io::Error::other(format!("copy of a part: {status}: {text}")))),
        }
    }

    fn put_verified(
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
        Ok(self.signed(Method::PUT, (key, ""), headers, sha256)?.into_parts().0)
    }

    fn get(&self, key: &Path, range: Option<&str>) -> Result<Parts> {
        let headers = range.map(|range| ("range".to_owned(), range.to_owned()));
        let (headers, nothing) = (headers.into_iter().collect(), Sha256::digest([]));
        Ok(self.signed(Method::GET, (key, ""), headers, &nothing)?.into_parts().0)
    }

    async fn verifies(&self, key: &Path) -> Result<bool> {
        const TEXT: &[u8] = b"Made to find out whether this store refuses it.\n";
        let head = self.put_verified(key, &Sha256::digest([]), None)?;
        let request = HttpRequest::from_parts(head, HttpRequestBody::from(TEXT.to_vec()));
        let (status, body) = self.send(request).await?;
        match Verified::of(status, &body) {
            Verified::Mismatch => Ok(true),
            Verified::Stored => Ok(false),
            Verified::Refused => {
                let text = String::from_utf8_lossy(&body);
                Err(failed(io::Error::other(format!("{status}: {text}"))))
            }
        }
    }
}

/// The answer to a copy of a part.
#[derive(Deserialize)]
struct CopyPartResult {
    #[serde(rename = "ETag")]
    e_tag: String,
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: STORE, source: Box::new(error) }
}
