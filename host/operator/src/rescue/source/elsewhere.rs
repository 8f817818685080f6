//! Another registry, by its URL.

use super::{At, Blob, Found};
use crate::client::{Client, Connection};
use crate::registry::{Answer, Registry as _, refusal};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use roadstead_oci::{Digest, Manifest, MediaType, RepositoryName};
use std::time::Duration;

/// A registry whose repositories have the same names, perhaps below a prefix.
pub(super) struct Elsewhere {
    client: Client,
    /// What stands before the names there: empty, or with a slash at its end.
    prefix: String,
}

impl Elsewhere {
    pub(super) fn new(url: &str, connection: &Connection, limit: Duration) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let prefix = match prefix {
            "" | "v2" => String::new(),
            prefix => {
                let name = RepositoryName::parse(prefix.strip_prefix("v2/").unwrap_or(prefix));
                format!("{}/", name.map_err(|error| format!("{prefix:?} is no prefix: {error}"))?)
            }
        };
        let client = Client::new(&format!("{scheme}://{host}"), connection, None, limit)?;
        Ok(Self { client, prefix })
    }

    async fn get(&self, path: &str, range: Option<&str>, most: usize) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            let range = HeaderValue::from_str(range).map_err(|error| error.to_string())?;
            headers.insert(RANGE, range);
        }
        let mut request = Request::get(path).body(Bytes::new()).map_err(|e| e.to_string())?;
        *request.headers_mut() = headers;
        self.client.request(request, most).await
    }

    pub(super) async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Blob>, String> {
        let path = format!("/v2/{}{repository}/blobs/{digest}", self.prefix);
        let answer = self.get(&path, Some("bytes=0-0"), 1).await?;
        let size = match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::PARTIAL_CONTENT => total(&answer),
            // The empty blob has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
            StatusCode::OK => answer.header(CONTENT_LENGTH).and_then(|text| text.parse().ok()),
            _ => return Err(refused(&answer)),
        };
        let size = size.ok_or("the registry does not say how large the blob is")?;
        Ok(Some(Blob { size, at: At::Path(path) }))
    }

    pub(super) async fn read(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, String> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let last = offset.saturating_add(length as u64).saturating_sub(1);
        let answer = self.get(path, Some(&format!("bytes={offset}-{last}")), length).await?;
        let whole = answer.status == StatusCode::OK && offset == 0;
        if answer.status != StatusCode::PARTIAL_CONTENT && !whole {
            return Err(match answer.status {
                StatusCode::OK => "this registry does not give parts of blobs".to_owned(),
                _ => refused(&answer),
            });
        }
        if answer.body.len() != length {
            return Err(format!("the answer has {} bytes instead of {length}", answer.body.len()));
        }
        Ok(answer.body.into())
    }

    pub(super) async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<Found>, String> {
        let path = format!("/v2/{}{repository}/manifests/{digest}", self.prefix);
        let answer = self.get(&path, None, Manifest::MAX_SIZE).await?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK if answer.complete => {}
            StatusCode::OK => return Err("its bytes are too many, or end early".to_owned()),
            _ => return Err(refused(&answer)),
        }
        let media_type = answer.header(CONTENT_TYPE).map(|text| {
            // Parameters such as a charset say nothing.
            MediaType::parse(text.split(';').next().unwrap_or_default().trim()).ok()
        });
        Ok(Some(Found { media_type: media_type.flatten(), bytes: answer.body.into() }))
    }
}

/// The size of all of which an answer is a part.
fn total(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_RANGE)?.rsplit_once('/')?.1.parse().ok()
}

fn refused(answer: &Answer) -> String {
    format!("the registry answers {}", refusal(answer))
}
