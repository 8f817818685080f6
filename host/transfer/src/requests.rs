//! The requests of a pull: lists, manifests and blobs.

use crate::hash::digest_of;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use roadstead_oci::{
    Algorithm, Descriptor, Digest, Manifest, MediaType, Reference, RepositoryName,
};
use roadstead_operator::push::{busy, until_served};
use roadstead_operator::registry::{Answer, Content, Incoming, Registry, read, refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest page of a list, in bytes.
///
/// Limit: bytes of a page of names that a transfer reads; test: none, registries make shorter
/// ones.
const PAGE: usize = 8 * 1024 * 1024;

/// How many names a page should have.
///
/// Limit: names of a page that a transfer asks for; test: none, registries may give fewer.
const NAMES: usize = 1000;

/// The most pages of one list.
///
/// Limit: pages of a list that a transfer reads; test: `lists_end`.
const PAGES: usize = 10_000;

/// The most names of one list.
///
/// Limit: names of a list that a transfer reads; test: none, it would take as many.
const LISTED: usize = 2_000_000;

/// A manifest as a registry gives it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) media_type: Option<MediaType>,
    pub(crate) bytes: Bytes,
}

async fn get(registry: &impl Registry, path: &str, most: usize) -> Result<Answer, String> {
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
pub(crate) async fn ping(registry: &impl Registry) -> Result<(), String> {
    let request = Request::get("/v2/").body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = registry.request(request, PAGE).await?;
    match answer.status {
        StatusCode::OK => Ok(()),
        _ => Err(format!("there is no registry: GET /v2/ is answered {}", refusal(&answer))),
    }
}

/// All repositories.
///
/// # Errors
/// When the registry does not list them.
pub(crate) async fn repositories(registry: &impl Registry) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Catalog {
        repositories: Option<Vec<String>>,
    }
    let path = format!("/v2/_catalog?n={NAMES}");
    let items = |page: Catalog| page.repositories.unwrap_or_default();
    Ok(list(registry, path, items).await?.unwrap_or_default())
}

/// All tags of a repository; none, if there is no such repository.
///
/// # Errors
/// When the registry does not list them.
pub(crate) async fn tags(
    registry: &impl Registry,
    repository: &RepositoryName,
) -> Result<Option<Vec<String>>, String> {
    #[derive(Deserialize)]
    struct Tags {
        tags: Option<Vec<String>>,
    }
    let path = format!("/v2/{repository}/tags/list?n={NAMES}");
    list(registry, path, |page: Tags| page.tags.unwrap_or_default()).await
}

/// A list, page after page; none, if there is no such list.
async fn list<P: DeserializeOwned, T>(
    registry: &impl Registry,
    mut path: String,
    items: impl Fn(P) -> Vec<T>,
) -> Result<Option<Vec<T>>, String> {
    let mut all = Vec::new();
    for _ in 0..PAGES {
        let answer = get(registry, &path, PAGE).await?;
        match answer.status {
            StatusCode::OK if answer.complete => {}
            StatusCode::OK => return Err(format!("the answer to GET {path} is too long")),
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(format!("GET {path} is answered {}", refusal(&answer))),
        }
        let page = serde_json::from_slice(&answer.body);
        all.extend(items(page.map_err(|error| format!("the answer to GET {path}: {error}"))?));
        match answer.next_page() {
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
pub(crate) async fn manifest(
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

/// The manifests that refer to this one (distribution-spec, end-12a); none, if the registry
/// does not know such lists.
///
/// # Errors
/// When the registry refuses it.
pub(crate) async fn referrers(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Vec<Digest>>, String> {
    #[derive(Deserialize)]
    struct Index {
        #[serde(default)]
        manifests: Vec<Descriptor>,
    }
    let path = format!("/v2/{repository}/referrers/{digest}");
    let items = |page: Index| page.manifests.into_iter().map(|it| it.digest).collect();
    list(registry, path, items).await
}

/// A blob from a byte on.
///
/// # Errors
/// When the registry does not send it.
pub(crate) async fn blob(
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
    let response = until_served(attempt, |it| busy(it.status(), it.headers())).await?;
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

#[cfg(test)]
mod tests {
    use super::{PAGES, tags};
    use bytes::Bytes;
    use http::header::LINK;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use roadstead_oci::RepositoryName;
    use roadstead_operator::registry::{Content, Incoming, Registry, Unanswered};
    use std::cell::Cell;

    /// Has so many pages.
    struct Pages(usize, Cell<usize>);

    impl Registry for Pages {
        async fn exchange(&self, _: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
            let page = self.1.replace(self.1.get() + 1);
            let body = Bytes::from(format!(r#"{{"name":"a","tags":["{page}"]}}"#));
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
            let registry = Pages(pages, Cell::new(0));
            let listed = tags(&registry, &name).await;
            assert_eq!(listed.ok().flatten().map(|tags| tags.len()), expected);
            assert_eq!(registry.1.get(), pages.min(PAGES));
        }
    }
}
