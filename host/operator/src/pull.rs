//! The requests of a pull: lists, manifests and blobs. What a registry answers is bounded, and bytes
//! are compared with their digest.

use crate::hash::{Hash, digest_of};
use crate::push::{busy, until_served};
use crate::registry::{Answer, Content, Incoming, Registry, read, refusal};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use roadstead_oci::{
    Algorithm, Descriptor, Digest, Manifest, MediaType, Reference, RepositoryName, Tag,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest page of a list, in bytes.
///
/// Limit: bytes of a page of names that a transfer or a command reads; test: none, registries make
/// shorter ones.
const PAGE: usize = 8 * 1024 * 1024;

/// How many names a page should have.
///
/// Limit: names of a page that a transfer or a command asks for; test: none, registries may give fewer.
const NAMES: usize = 1000;

/// The most pages of one list.
///
/// Limit: pages of a list that a transfer or a command reads; test: `lists_end`.
const PAGES: usize = 10_000;

/// The most names of one list.
///
/// Limit: names of a list that a transfer or a command reads; test: none, it would take as many.
const LISTED: usize = 2_000_000;

/// The most bytes of one list.
///
/// Limit: bytes of all pages of a list that a transfer or a command reads; test: `long_lists_end`.
const LIST: usize = 512 * 1024 * 1024;

/// A manifest as a registry gives it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What `Content-Type` says, without parameters.
    pub media_type: Option<MediaType>,
    /// The manifest, byte for byte.
    pub bytes: Bytes,
}

pub(crate) async fn get(
    registry: &impl Registry,
    path: &str,
    most: usize,
) -> Result<Answer, String> {
    let attempt = async || {
        let request = Request::get(path).body(Content::from(Bytes::new()));
        let request = request.map_err(|error| error.to_string())?;
        Ok(read(registry.exchange(request).await?, most).await)
    };
    until_served(attempt, |answer| busy(answer.status, &answer.headers)).await
}

/// Asks whether there is a registry, once: what is wrong is said without delay.
///
/// # Errors
/// When there is none, or it refuses the login.
pub async fn ping(registry: &impl Registry) -> Result<(), String> {
    let request = Request::get("/v2/").body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = registry.request(request, PAGE).await?;
    match answer.status {
        StatusCode::OK => Ok(()),
        _ => Err(format!("there is no registry: GET /v2/ is answered {}", refusal(&answer))),
    }
}

/// All repositories (distribution's catalog); none, if the registry has no such list.
///
/// # Errors
/// When the registry refuses it.
pub async fn repositories(registry: &impl Registry) -> Result<Option<Vec<String>>, String> {
    #[derive(Deserialize)]
    struct Catalog {
        repositories: Option<Vec<String>>,
    }
    let path = format!("/v2/_catalog?n={NAMES}");
    let items = |page: Catalog| page.repositories.unwrap_or_default();
    list(registry, path, usize::MAX, items).await
}

/// All tags of a repository; none, if there is no such repository.
///
/// # Errors
/// When the registry does not list them.
pub async fn tags(
    registry: &impl Registry,
    repository: &RepositoryName,
) -> Result<Option<Vec<String>>, String> {
    #[derive(Deserialize)]
    struct Tags {
        tags: Option<Vec<String>>,
    }
    let path = format!("/v2/{repository}/tags/list?n={NAMES}");
    list(registry, path, usize::MAX, |page: Tags| page.tags.unwrap_or_default()).await
}

/// A list, page after page, until it has more than `enough` items; none, if there is no such list.
async fn list<P: DeserializeOwned, T>(
    registry: &impl Registry,
    mut path: String,
    enough: usize,
    items: impl Fn(P) -> Vec<T>,
) -> Result<Option<Vec<T>>, String> {
    let (mut all, mut size) = (Vec::new(), 0);
    for page in 0..PAGES {
        let answer = get(registry, &path, PAGE).await?;
        match answer.status {
            StatusCode::OK if answer.complete => {}
            StatusCode::OK => return Err(format!("the answer to GET {path} is too long")),
            StatusCode::NOT_FOUND if page == 0 => return Ok(None),
            _ => return Err(format!("GET {path} is answered {}", refusal(&answer))),
        }
        let page = serde_json::from_slice(&answer.body);
        all.extend(items(page.map_err(|error| format!("the answer to GET {path}: {error}"))?));
        size += answer.body.len();
        if size > LIST {
            return Err(format!("the list has more than {LIST} bytes: GET {path}"));
        }
        match answer.next_page() {
            Some(_) if all.len() > enough => return Ok(Some(all)),
            Some(_) if all.len() > LISTED => {
                return Err(format!("the list has more than {LISTED} entries: GET {path}"));
            }
            Some(next) if next != path => path = next,
            _ => return Ok(Some(all)),
        }
    }
    Err(format!("the list has more than {PAGES} pages: GET {path}"))
}

/// A manifest, whose bytes were compared with its digest.
///
/// # Errors
/// When the registry refuses it, or gives other bytes.
pub async fn manifest(
    registry: &impl Registry,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Option<Found>, String> {
    let name = format!("{repository}/manifests/{}", reference.as_str());
    let answer = get(registry, &format!("/v2/{name}"), Manifest::MAX_SIZE).await?;
    match answer.status {
        StatusCode::OK if answer.complete => {}
        StatusCode::OK => return Err(format!("{name} is too large, or ended early")),
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(format!("GET /v2/{name} is answered {}", refusal(&answer))),
    }
    let said = answer.header("docker-content-digest").map(Digest::parse);
    let expected = match (reference, said) {
        (Reference::Digest(digest), _) => Some(digest.clone()),
        (Reference::Tag(_), Some(Ok(digest))) => Some(digest),
        (Reference::Tag(_), _) => None,
    };
    let algorithm = expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = digest_of(algorithm, &answer.body)?;
    if expected.is_some_and(|expected| expected != digest) {
        return Err(format!("{name}: the bytes that the registry sends have another digest"));
    }
    let media_type = answer.header(CONTENT_TYPE).and_then(|text| {
        // Parameters such as a charset say nothing.
        MediaType::parse(text.split(';').next().unwrap_or_default().trim()).ok()
    });
    Ok(Some(Found { digest, media_type, bytes: answer.body.into() }))
}

/// An index, as far as a list of referrers is one.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// The descriptors of the manifests that refer to this one (distribution-spec, end-12a); none, if the
/// registry does not know such lists.
///
/// # Errors
/// When the registry refuses it.
pub async fn referrers(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Vec<Descriptor>>, String> {
    some_referrers(registry, repository, digest, usize::MAX).await
}

/// The same, until there are more than `enough`.
async fn some_referrers(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    enough: usize,
) -> Result<Option<Vec<Descriptor>>, String> {
    let path = format!("/v2/{repository}/referrers/{digest}");
    list(registry, path, enough, |page: Index| page.manifests).await
}

/// The same where a registry has no such lists too: then a tag leads to them (distribution-spec,
/// "Referrers Tag Schema"). A list is not read on once it has more than `enough`.
///
/// # Errors
/// When the registry refuses it, or what the tag leads to is no list.
pub async fn referrers_or_tagged(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    enough: usize,
) -> Result<Vec<Descriptor>, String> {
    if let Some(known) = some_referrers(registry, repository, digest, enough).await? {
        return Ok(known);
    }
    let tag = format!("{}-{}", digest.algorithm(), digest.encoded());
    // Those of longer digests are cut.
    let tag = Tag::parse(tag.get(..Tag::MAX_LENGTH).unwrap_or(&tag));
    let Ok(tag) = tag.map(Reference::Tag) else { return Ok(Vec::new()) };
    let Some(found) = manifest(registry, repository, &tag).await? else { return Ok(Vec::new()) };
    let index: Index = serde_json::from_slice(&found.bytes)
        .map_err(|error| format!("{repository}:{}: {error}", tag.as_str()))?;
    Ok(index.manifests)
}

/// All of a small blob, compared with its digest; none, if there is none. Of a larger one than
/// `most` bytes, nothing is returned but an error.
///
/// # Errors
/// When the registry refuses it, or gives more, fewer or other bytes.
pub async fn small_blob(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    most: usize,
) -> Result<Option<Bytes>, String> {
    let name = format!("{repository}/blobs/{digest}");
    let answer = get(registry, &format!("/v2/{name}"), most).await?;
    match answer.status {
        StatusCode::OK if answer.complete => {}
        StatusCode::OK => return Err(format!("{name} is too large, or ended early")),
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(format!("GET /v2/{name} is answered {}", refusal(&answer))),
    }
    let mut hash = Hash::of(digest.clone());
    hash.update(&answer.body);
    hash.verify().map_err(|problem| format!("{name}: {problem}"))?;
    Ok(Some(answer.body.into()))
}

/// A blob from a byte on.
///
/// # Errors
/// When the registry does not send it.
pub async fn blob(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    offset: u64,
) -> Result<Response<Incoming>, String> {
    let path = format!("/v2/{repository}/blobs/{digest}");
    let response = request_blob(registry, repository, digest, offset).await?;
    let begins = |text: &str| text.starts_with(&format!("bytes {offset}-"));
    let part = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    match response.status() {
        StatusCode::OK if offset == 0 => Ok(response),
        StatusCode::PARTIAL_CONTENT if part.is_some_and(begins) => Ok(response),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            Err(format!("{path}: the registry does not send the rest of a blob"))
        }
        _ => {
            let answer = read(response, PAGE).await;
            Err(format!("GET {path} is answered {}", refusal(&answer)))
        }
    }
}

/// All of a blob; none, if there is none. Its bytes are not compared with its digest.
///
/// # Errors
/// When the registry refuses it.
pub async fn blob_if_there(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Response<Incoming>>, String> {
    let response = request_blob(registry, repository, digest, 0).await?;
    match response.status() {
        StatusCode::OK => Ok(Some(response)),
        StatusCode::NOT_FOUND => Ok(None),
        _ => {
            let answer = read(response, PAGE).await;
            let path = format!("/v2/{repository}/blobs/{digest}");
            Err(format!("GET {path} is answered {}", refusal(&answer)))
        }
    }
}

async fn request_blob(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    offset: u64,
) -> Result<Response<Incoming>, String> {
    let path = format!("/v2/{repository}/blobs/{digest}");
    let attempt = async || {
        let request = Request::builder().method(Method::GET).uri(&path);
        let mut request =
            request.body(Content::from(Bytes::new())).map_err(|error| error.to_string())?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        if offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={offset}-"));
            request.headers_mut().insert(RANGE, range.map_err(|error| error.to_string())?);
        }
        registry.exchange(request).await
    };
    until_served(attempt, |it| busy(it.status(), it.headers())).await
}

#[cfg(test)]
mod tests {
    use super::{LIST, PAGES, tags};
    use crate::registry::{Content, Incoming, Registry, Unanswered};
    use bytes::Bytes;
    use http::header::LINK;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use roadstead_oci::RepositoryName;
    use std::cell::Cell;

    /// Has so many pages, each of at least so many bytes.
    struct Pages(usize, Cell<usize>, usize);

    impl Registry for Pages {
        async fn exchange(&self, _: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
            let page = self.1.replace(self.1.get() + 1);
            let padding = " ".repeat(self.2);
            let body = Bytes::from(format!(r#"{{"name":"a","tags":["{page}"]}}{padding}"#));
            let mut response = Response::builder();
            if page + 1 < self.0 {
                let next = format!("<http://a/v2/a/tags/list?last={page}>; rel=\"next\"");
                response = response.header(LINK, next);
            }
            let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            Ok(response.body(body).unwrap())
        }
    }

    #[tokio::test]
    async fn lists_end() {
        let name = RepositoryName::parse("a").unwrap();
        for (pages, expected) in [(1, Some(1)), (3, Some(3)), (usize::MAX, None)] {
            let registry = Pages(pages, Cell::new(0), 0);
            let listed = tags(&registry, &name).await;
            assert_eq!(listed.ok().flatten().map(|tags| tags.len()), expected);
            assert_eq!(registry.1.get(), pages.min(PAGES));
        }
    }

    /// Has two pages, of which the second is gone.
    struct Half;

    impl Registry for Half {
        async fn exchange(
            &self,
            asked: Request<Content>,
        ) -> Result<Response<Incoming>, Unanswered> {
            let is_first = !asked.uri().to_string().contains("last=");
            let next = "<http://a/v2/a/tags/list?last=1>; rel=\"next\"";
            let body = Full::new(Bytes::from(r#"{"name":"a","tags":["1"]}"#));
            let body = body.map_err(|never| match never {}).boxed_unsync();
            let response = Response::builder().header(LINK, next);
            Ok(response.status(if is_first { 200 } else { 404 }).body(body).unwrap())
        }
    }

    #[tokio::test]
    async fn a_list_that_breaks_off_is_no_missing_list() {
        let name = RepositoryName::parse("a").unwrap();
        let problem = tags(&Half, &name).await.unwrap_err();
        assert!(problem.contains("404"), "{problem}");
    }

    #[tokio::test]
    async fn long_lists_end() {
        let name = RepositoryName::parse("a").unwrap();
        let page = 4 * 1024 * 1024;
        let registry = Pages(usize::MAX, Cell::new(0), page);
        let problem = tags(&registry, &name).await.unwrap_err();
        assert!(problem.contains("bytes"), "{problem}");
        assert_eq!(registry.1.get(), LIST / page);
    }
}
