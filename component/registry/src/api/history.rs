//! What a tag has pointed to: `GET /v2/<name>/_oci/tag-history/<tag>`.
//!
//! Experimental: the draft of an extension, [pull request 606][606] of the distribution
//! specification, as of 2026-07-23. An index of descriptors, the newest first. The storage keeps no
//! entries of deletions, so all are `created`, and a tag that was deleted has none.
//!
//! [606]: https://github.com/opencontainers/distribution-spec/pull/606

use super::{Answer, Registry, insert, internal, json};
use crate::store::{HistoryPage, HistoryQuery, LONGEST, Recorded};
use crate::time::written;
use crate::{Error, HistoryRequest, Route};
use http::header;
use roadstead_oci::{MediaType, RepositoryName, Tag};
use roadstead_storage::Storage;
use serde_json::{Value, json};

/// The most entries of a page, whatever is asked for: each manifest is looked up.
///
/// Limit: entries of a page of a tag's history; test: `a_long_history_is_bounded`.
const PAGE: usize = 100;

/// The annotation with the time, of the draft.
const TIMESTAMP: &str = "org.opencontainers.distribution.tag.timestamp";

/// The annotation with what happened, of the draft.
const EVENT: &str = "org.opencontainers.distribution.tag.event";

/// Our annotation of a manifest that the repository no longer has: media type and size are not
/// known.
const MISSING: &str = "roadstead.manifest";

/// The media type of a manifest of which nothing is known.
const UNKNOWN: &str = "application/octet-stream";

impl<S: Storage> Registry<S> {
    /// A page of a tag's history; none of a tag or a repository that does not exist, as the draft
    /// says: 404 is for registries without the extension.
    pub(super) async fn tag_history(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        request: HistoryRequest,
    ) -> Answer<S> {
        let query = HistoryQuery {
            limit: request.size.get().min(PAGE),
            before: request.before,
            last: request.last.clone(),
            since: request.since,
            digest: request.digest.clone(),
        };
        let page = self.store.tag_history(name, tag, &query).await.map_err(internal)?;
        let page = page.ok_or(Error::HistoryTooLong { limit: LONGEST })?;
        let manifests: Vec<Value> = page.entries.iter().map(descriptor).collect();
        let body = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::oci_image_index().as_str(),
            "manifests": manifests,
        });
        let mut response = json(body.to_string().into_bytes());
        let headers = response.headers_mut();
        insert(headers, header::CONTENT_TYPE, MediaType::oci_image_index().as_str());
        if let Some(next) = next(&page, &request) {
            let path = Route::TagHistory(name.clone(), tag.clone(), request).path();
            insert(headers, header::LINK, &format!("<{path}?{next}>; rel=\"next\""));
        }
        Ok(response)
    }
}

/// The query of the next page, if there is one.
fn next(page: &HistoryPage, request: &HistoryRequest) -> Option<String> {
    let last = page.entries.last().filter(|_| page.more)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &request.size.get().to_string());
    query.append_pair("before", &written(last.at));
    // Several may have the same time.
    query.append_pair("last", last.digest.as_str());
    if let Some(since) = request.since {
        query.append_pair("since", &written(since));
    }
    if let Some(digest) = &request.digest {
        query.append_pair("digest", digest.as_str());
    }
    Some(query.finish())
}

fn descriptor(entry: &Recorded) -> Value {
    let mut annotations = json!({ TIMESTAMP: written(entry.at), EVENT: "created" });
    let (media_type, size) = if let Some((media_type, size)) = &entry.manifest {
        (media_type.as_str(), *size)
    } else {
        annotations[MISSING] = "missing".into();
        (UNKNOWN, 0)
    };
    json!({
        "mediaType": media_type,
        "digest": entry.digest.as_str(),
        "size": size,
        "annotations": annotations,
    })
}
