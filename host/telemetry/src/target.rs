//! What a request is about, by its path alone: for logs and metrics, which describe requests and
//! decide nothing.
//!
//! The component parses the same paths, strictly, and a test holds both beside one another. Here, a
//! path that it refuses still has a label.

use std::borrow::Cow;

/// Digits of an upload's identifier that are shown.
const SHOWN: usize = 8;

/// The endpoint of a request, with distribution's names where it has one (`handler` in its
/// metrics; registry/api/v2/routes.go). It is the same word in logs and in metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are the labels")]
pub enum Handler {
    Root,
    Health,
    Base,
    Catalog,
    Token,
    Tags,
    Manifest,
    Referrers,
    Blob,
    BlobUpload,
    BlobUploadChunk,
    Repository,
    Collect,
    Scrub,
    Retention,
    TagHistory,
    Extensions,
    View,
    Page,
    Other,
}

impl Handler {
    /// All of them, in the order of their numbers.
    pub const ALL: &[Self] = &[
        Self::Root,
        Self::Health,
        Self::Base,
        Self::Catalog,
        Self::Token,
        Self::Tags,
        Self::Manifest,
        Self::Referrers,
        Self::Blob,
        Self::BlobUpload,
        Self::BlobUploadChunk,
        Self::Repository,
        Self::Collect,
        Self::Scrub,
        Self::Retention,
        Self::TagHistory,
        Self::Extensions,
        Self::View,
        Self::Page,
        Self::Other,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Health => "health",
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Token => "token",
            Self::Tags => "tags",
            Self::Manifest => "manifest",
            Self::Referrers => "referrers",
            Self::Blob => "blob",
            Self::BlobUpload => "blob_upload",
            Self::BlobUploadChunk => "blob_upload_chunk",
            Self::Repository => "repository",
            Self::Collect => "collect",
            Self::Scrub => "scrub",
            Self::Retention => "retention",
            Self::TagHistory => "tag_history",
            Self::Extensions => "extensions",
            Self::View => "view",
            Self::Page => "page",
            Self::Other => "other",
        }
    }

    /// The place in [`Self::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target<'a> {
    /// The endpoint.
    pub handler: Handler,
    /// The repository, as it is in the path.
    pub repository: Option<&'a str>,
    /// The tag or digest, as it is in the path.
    pub reference: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// What a path without its query is about.
    pub fn of(path: &'a str) -> Self {
        match path {
            "/" => return Self::alone(Handler::Root),
            "/livez" | "/readyz" => return Self::alone(Handler::Health),
            "/v2" | "/v2/" => return Self::alone(Handler::Base),
            "/v2/_catalog" => return Self::alone(Handler::Catalog),
            "/v2/token" => return Self::alone(Handler::Token),
            "/ui" => return Self::alone(Handler::Page),
            _ if path.starts_with("/ui/") => return Self::alone(Handler::Page),
            _ => {}
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::alone(Handler::Other) };
        if let Some(rest) = rest.strip_prefix("_roadstead/") {
            return Self::alone(match rest.split('/').next() {
                Some("collect") => Handler::Collect,
                Some("scrub") => Handler::Scrub,
                Some("retention") => Handler::Retention,
                Some("repositories" | "ui" | "uploads") => Handler::View,
                _ => Handler::Other,
            });
        }
        if rest.starts_with("_oci/") {
            return Self::alone(Handler::Extensions);
        }
        Self::in_repository(rest)
    }

    /// The path with names for what differs, as `http.route` in OpenTelemetry. `None` if the API has
    /// none like it.
    pub const fn template(&self) -> Option<&'static str> {
        Some(match self.handler {
            Handler::Root => "/",
            // Two paths that mean much the same.
            Handler::Health => "/readyz",
            Handler::Base => "/v2/",
            Handler::Catalog => "/v2/_catalog",
            Handler::Token => "/v2/token",
            Handler::Tags => "/v2/{name}/tags/list",
            Handler::Manifest => "/v2/{name}/manifests/{reference}",
            Handler::Referrers => "/v2/{name}/referrers/{digest}",
            Handler::Blob => "/v2/{name}/blobs/{digest}",
            Handler::BlobUpload => "/v2/{name}/blobs/uploads/",
            Handler::BlobUploadChunk => "/v2/{name}/blobs/uploads/{id}",
            Handler::Repository => "/v2/{name}/_roadstead/repository",
            Handler::Collect => "/v2/_roadstead/collect",
            Handler::Scrub => "/v2/_roadstead/scrub",
            Handler::Retention if self.repository.is_some() => {
                "/v2/{name}/_roadstead/retention/{tag}"
            }
            Handler::Retention => "/v2/_roadstead/retention",
            Handler::TagHistory => "/v2/{name}/_oci/tag-history/{tag}",
            Handler::Extensions if self.repository.is_some() => "/v2/{name}/_oci/ext/discover",
            Handler::Extensions => "/v2/_oci/ext/discover",
            // What the page asks for, as its first question of the kind.
            Handler::View if self.reference.is_some() => "/v2/{name}/_roadstead/image/{reference}",
            Handler::View if self.repository.is_some() => "/v2/{name}/_roadstead/tags",
            Handler::View => "/v2/_roadstead/repositories",
            Handler::Page => "/ui/{file}",
            Handler::Other => return None,
        })
    }

    /// The path, of which this is the target, with the first eight digits of an upload's identifier
    /// alone: enough to find its other requests, and too few to take part in it.
    pub fn shown(&self, path: &'a str) -> Cow<'a, str> {
        let id = path.rsplit('/').next().unwrap_or_default();
        match id.get(SHOWN..) {
            Some(rest) if self.handler == Handler::BlobUploadChunk && !rest.is_empty() => {
                let front = path.strip_suffix(rest).unwrap_or_default();
                Cow::Owned(format!("{front}\u{2026}"))
            }
            _ => Cow::Borrowed(path),
        }
    }

    const fn alone(handler: Handler) -> Self {
        Self { handler, repository: None, reference: None }
    }

    /// From the right, as names have slashes and may have the words of the API themselves.
    fn in_repository(rest: &'a str) -> Self {
        let of = |handler, repository, reference| Self {
            handler,
            repository: Some(repository),
            reference,
        };
        let Some((before, last)) = rest.rsplit_once('/') else {
            return Self::alone(Handler::Other);
        };
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            let handler =
                if last.is_empty() { Handler::BlobUpload } else { Handler::BlobUploadChunk };
            return of(handler, name, None);
        }
        if let (Some(name), "discover") = (before.strip_suffix("/_oci/ext"), last) {
            return of(Handler::Extensions, name, None);
        }
        if let Some(name) = before.strip_suffix("/_oci/tag-history") {
            return of(Handler::TagHistory, name, Some(last));
        }
        if let Some(name) = before.strip_suffix("/_roadstead/retention") {
            return of(Handler::Retention, name, Some(last));
        }
        if let Some(name) = before.strip_suffix("/_roadstead/image") {
            return of(Handler::View, name, Some(last));
        }
        let Some((name, word)) = before.rsplit_once('/') else {
            return Self::alone(Handler::Other);
        };
        match (word, last) {
            ("blobs", "uploads") => of(Handler::BlobUpload, name, None),
            ("tags", "list") => of(Handler::Tags, name, None),
            ("_roadstead", "repository") => of(Handler::Repository, name, None),
            ("_roadstead", "tags" | "deletion") => of(Handler::View, name, None),
            ("manifests", reference) => of(Handler::Manifest, name, Some(reference)),
            ("referrers", digest) => of(Handler::Referrers, name, Some(digest)),
            ("blobs", digest) => of(Handler::Blob, name, Some(digest)),
            _ => Self::alone(Handler::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Handler, Target};

    #[test]
    fn targets() {
        for (path, label, repository, reference) in [
            ("/", "root", None, None),
            ("/livez", "health", None, None),
            ("/readyz", "health", None, None),
            ("/v2", "base", None, None),
            ("/v2/", "base", None, None),
            ("/v2/_catalog", "catalog", None, None),
            ("/v2/token", "token", None, None),
            ("/v2/_roadstead/collect/why/sha256:a", "collect", None, None),
            ("/v2/_roadstead/scrub", "scrub", None, None),
            ("/v2/_roadstead/retention", "retention", None, None),
            ("/v2/a/b/_roadstead/retention/t", "retention", Some("a/b"), Some("t")),
            ("/v2/_roadstead/x", "other", None, None),
            ("/v2/_oci/ext/discover", "extensions", None, None),
            ("/v2/a/_oci/ext/discover", "extensions", Some("a"), None),
            ("/v2/a/b/_oci/tag-history/t", "tag_history", Some("a/b"), Some("t")),
            ("/v2/a/b/tags/list", "tags", Some("a/b"), None),
            ("/v2/a/manifests/1.2", "manifest", Some("a"), Some("1.2")),
            ("/v2/blobs/uploads/manifests/t", "manifest", Some("blobs/uploads"), Some("t")),
            ("/v2/a/referrers/sha256:a", "referrers", Some("a"), Some("sha256:a")),
            ("/v2/a/blobs/sha256:a", "blob", Some("a"), Some("sha256:a")),
            ("/v2/a/blobs/uploads", "blob_upload", Some("a"), None),
            ("/v2/a/blobs/uploads/", "blob_upload", Some("a"), None),
            ("/v2/a/blobs/uploads/x", "blob_upload_chunk", Some("a"), None),
            ("/v2/a/_roadstead/repository", "repository", Some("a"), None),
            ("/v2/_roadstead/ui/registry", "view", None, None),
            ("/v2/_roadstead/repositories", "view", None, None),
            ("/v2/_roadstead/uploads", "view", None, None),
            ("/v2/_roadstead/collect/trash", "collect", None, None),
            ("/v2/a/b/_roadstead/tags", "view", Some("a/b"), None),
            ("/v2/a/_roadstead/deletion", "view", Some("a"), None),
            ("/v2/a/_roadstead/image/t", "view", Some("a"), Some("t")),
            ("/ui", "page", None, None),
            ("/ui/", "page", None, None),
            ("/ui/js/main.js", "page", None, None),
            ("/uix", "other", None, None),
            ("/v2/a/", "other", None, None),
            ("/v2/a", "other", None, None),
            ("/favicon.ico", "other", None, None),
            ("", "other", None, None),
        ] {
            let target = Target::of(path);
            let found = (target.handler.as_str(), target.repository, target.reference);
            assert_eq!(found, (label, repository, reference), "{path}");
        }
    }

    /// Paths that the component accepts have the label that their route has there.
    #[test]
    fn labels_are_those_of_routes() {
        const DIGEST: &str =
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        const ID: &str = "00000000-0000-4000-8000-000000000000";
        for line in [
            "GET /",
            "GET /livez",
            "GET /readyz",
            "GET /v2",
            "GET /v2/",
            "GET /v2/_catalog",
            "POST /v2/_roadstead/collect",
            "GET /v2/_roadstead/collect/reports",
            "GET /v2/_roadstead/collect/usage",
            "GET /v2/_roadstead/collect/why/DIGEST",
            "POST /v2/_roadstead/scrub",
            "GET /v2/_roadstead/retention",
            "GET /v2/a/_roadstead/retention/t",
            "GET /ui",
            "GET /ui/",
            "HEAD /ui/index.html",
            "GET /v2/_roadstead/ui/registry",
            "GET /v2/_roadstead/repositories",
            "GET /v2/a/_roadstead/tags",
            "GET /v2/a/_roadstead/image/DIGEST",
            "GET /v2/a/_roadstead/deletion",
            "GET /v2/token",
            "DELETE /v2/a/_roadstead/repository",
            "GET /v2/_oci/ext/discover",
            "GET /v2/a/_oci/ext/discover",
            "GET /v2/a/_oci/tag-history/t",
            "GET /v2/a/tags/list",
            "GET /v2/a/b/manifests/tags",
            "GET /v2/a/blobs/manifests/DIGEST",
            "GET /v2/manifests/referrers/DIGEST",
            "GET /v2/a/blobs/DIGEST",
            "POST /v2/a/blobs/uploads",
            "POST /v2/a/blobs/uploads/",
            "PATCH /v2/a/blobs/uploads/ID",
        ] {
            let line = line.replace("DIGEST", DIGEST).replace("ID", ID);
            let (method, path) = line.split_once(' ').unwrap();
            let (method, uri) = (method.parse().unwrap(), path.parse().unwrap());
            let route = roadstead_registry::Route::parse(&method, &uri).unwrap();
            assert_eq!(Target::of(path).handler.as_str(), route.class().label, "{line}");
        }
    }

    #[test]
    fn identifiers_of_uploads_are_cut() {
        let id = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
        for (path, expected) in [
            ("/v2/a/manifests/1b9d6bcd-bbfd", "/v2/a/manifests/1b9d6bcd-bbfd"),
            ("/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/"),
            ("/v2/a/blobs/uploads/1b9d6bcd", "/v2/a/blobs/uploads/1b9d6bcd"),
            (&format!("/v2/a/blobs/uploads/{id}"), "/v2/a/blobs/uploads/1b9d6bcd\u{2026}"),
            ("/else/1b9d6bcd-bbfd", "/else/1b9d6bcd-bbfd"),
        ] {
            assert_eq!(Target::of(path).shown(path), expected);
        }
    }

    #[test]
    fn numbers_of_handlers() {
        for (number, handler) in Handler::ALL.iter().enumerate() {
            assert_eq!(handler.index(), number);
        }
    }
}
