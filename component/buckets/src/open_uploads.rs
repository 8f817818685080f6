//! Lists of multipart uploads that are neither completed nor aborted, by the requests
//! that S3 and Google's XML API have in common.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>,
//! <https://cloud.google.com/storage/docs/xml-api/get-bucket-uploads>

use crate::exchange::{exchange, failed};
use crate::s3::QUERY;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::StatusCode;
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path;
use object_store::{Error, MultipartId, Result};
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// The largest list that is read, in bytes: at most 1,000 parts.
///
/// Limit: bytes of a store's list of uploads or parts; test: none, stores send less.
const LIST_LIMIT: usize = 1024 * 1024;

/// How many requests list the parts of one upload at most: all that an upload can
/// have, at 1,000 each.
///
/// Limit: requests that list the parts of one upload; test: `parts_are_listed_to_the_end`.
pub(crate) const PARTS_REQUESTS: usize = 10;

/// A multipart upload that is neither completed nor aborted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenUpload {
    /// The object that its parts would become.
    pub key: Path,
    /// The store's name for the upload.
    pub id: MultipartId,
    /// When it was begun.
    pub initiated: DateTime<Utc>,
}

/// Where a list of uploads goes on: after the upload with this key and name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UploadMarker {
    /// The key, as the store has it; empty for the beginning.
    pub key: String,
    /// The store's name for the upload; empty for all of the same key.
    pub id: String,
}

/// A part of the list of uploads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenUploads {
    /// In no order that all stores keep to.
    pub uploads: Vec<OpenUpload>,
    /// Where the list goes on, if it does.
    pub next: Option<UploadMarker>,
}

/// The parts that were sent to an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SentParts {
    /// Their bytes.
    pub bytes: u64,
    /// When the last one arrived; `None` without parts.
    pub newest: Option<DateTime<Utc>>,
}

/// What a store says of multipart uploads that are neither completed nor aborted.
#[async_trait]
pub trait UploadLists: fmt::Debug + Send + Sync {
    /// Lists up to `limit` uploads of objects whose keys begin with `prefix`.
    ///
    /// # Errors
    /// Also when the store does not offer it.
    async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        limit: usize,
    ) -> Result<OpenUploads>;

    /// What was sent to an upload after its first `after` parts.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was completed or aborted.
    async fn sent_parts(&self, key: &Path, id: &MultipartId, after: usize) -> Result<SentParts>;
}

/// The signed requests for lists of one store.
#[async_trait]
pub(crate) trait ListRequests: fmt::Debug + Send + Sync {
    /// The store's name in errors, as in object_store's.
    const STORE: &'static str;

    /// A request for a list: of the bucket, if the key is empty, or of an object.
    async fn list_request(&self, key: &Path, query: &str) -> Result<HttpRequest>;

    /// What sends it.
    fn client(&self) -> &HttpClient;
}

#[async_trait]
impl<R: ListRequests> UploadLists for R {
    async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        limit: usize,
    ) -> Result<OpenUploads> {
        let query = uploads_query(prefix, after, limit);
        let text = list(self, &Path::default(), &query).await?;
        parse_uploads(&text).map_err(|source| Error::Generic { store: R::STORE, source })
    }

    async fn sent_parts(&self, key: &Path, id: &MultipartId, after: usize) -> Result<SentParts> {
        let (mut sent, mut after) = (SentParts::default(), Some(after as u64));
        for _ in 0..PARTS_REQUESTS {
            let Some(number) = after else { return Ok(sent) };
            let text = list(self, key, &parts_query(id, number)).await?;
            after = parse_parts(&text, &mut sent)
                .map_err(|source| Error::Generic { store: R::STORE, source })?;
        }
        match after {
            None => Ok(sent),
            Some(_) => Err(failed(R::STORE)(io::Error::other("an upload with too many parts"))),
        }
    }
}

/// Why a list is not what was expected.
type Unreadable = Box<dyn std::error::Error + Send + Sync>;

/// Gets a list as text.
async fn list<R: ListRequests>(requests: &R, key: &Path, query: &str) -> Result<String> {
    let request = requests.list_request(key, query).await?;
    let (status, body) = exchange(requests.client(), R::STORE, request, LIST_LIMIT).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    let problem = || io::Error::other(format!("cannot list: {status}: {text}"));
    match status {
        StatusCode::NOT_FOUND => {
            Err(Error::NotFound { path: key.to_string(), source: Box::new(problem()) })
        }
        status if status.is_success() => Ok(text),
        _ => Err(failed(R::STORE)(problem())),
    }
}

/// The query for a part of the list of uploads.
fn uploads_query(prefix: &str, after: Option<&UploadMarker>, limit: usize) -> String {
    let encoded = |text| utf8_percent_encode(text, QUERY);
    let query = format!("?max-uploads={limit}&prefix={}&uploads=", encoded(prefix));
    match after {
        None => query,
        Some(UploadMarker { key, .. }) if key.is_empty() => query,
        // Garage goes on after a key.
        Some(UploadMarker { key, id }) if id.is_empty() => {
            format!("{query}&key-marker={}", encoded(key))
        }
        Some(UploadMarker { key, id }) => {
            format!("{query}&key-marker={}&upload-id-marker={}", encoded(key), encoded(id))
        }
    }
}

/// The query for the parts of an upload after the part with this number.
fn parts_query(id: &MultipartId, after: u64) -> String {
    let id = utf8_percent_encode(id, QUERY);
    match after {
        0 => format!("?uploadId={id}"),
        after => format!("?part-number-marker={after}&uploadId={id}"),
    }
}

/// Reads the response to a request with [`uploads_query`].
fn parse_uploads(text: &str) -> Result<OpenUploads, Unreadable> {
    let found: UploadsResult = quick_xml::de::from_str(text)?;
    let mut uploads = Vec::new();
    for Upload { key, id, initiated } in found.uploads {
        // No key of the registry is one that cannot be a path.
        let Ok(key) = Path::parse(&key) else { continue };
        uploads.push(OpenUpload { key, id, initiated: time(&initiated)? });
    }
    let next = match (found.truncated, found.next_key) {
        (true, Some(key)) if !key.is_empty() => {
            Some(UploadMarker { key, id: found.next_id.unwrap_or_default() })
        }
        _ => None,
    };
    Ok(OpenUploads { uploads, next })
}

/// Adds the parts in the response to a request with [`parts_query`]. Returns after
/// which number the list goes on, if it does.
fn parse_parts(text: &str, sent: &mut SentParts) -> Result<Option<u64>, Unreadable> {
    let found: PartsResult = quick_xml::de::from_str(text)?;
    for Part { size, last_modified } in found.parts {
        sent.bytes = sent.bytes.saturating_add(size);
        sent.newest = sent.newest.max(Some(time(&last_modified)?));
    }
    Ok(found.next.filter(|_| found.truncated))
}

fn time(text: &str) -> Result<DateTime<Utc>, Unreadable> {
    Ok(DateTime::parse_from_rfc3339(text)?.to_utc())
}

#[derive(Deserialize)]
struct UploadsResult {
    #[serde(rename = "IsTruncated", default)]
    truncated: bool,
    #[serde(rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker")]
    next_id: Option<String>,
    #[serde(rename = "Upload", default)]
    uploads: Vec<Upload>,
}

#[derive(Deserialize)]
struct Upload {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
    #[serde(rename = "Initiated")]
    initiated: String,
}

#[derive(Deserialize)]
struct PartsResult {
    #[serde(rename = "IsTruncated", default)]
    truncated: bool,
    #[serde(rename = "NextPartNumberMarker")]
    next: Option<u64>,
    #[serde(rename = "Part", default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    size: u64,
    last_modified: String,
}
