//! From a request line to what is asked, and back.
//!
//! Paths are matched from the right, because repository names contain slashes
//! and may contain the words of the API themselves. What a [`Route`] holds is
//! valid: no name, tag, digest or page size that is not reaches a handler.

use crate::Error;
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use roadstead_access::Access;
#[cfg(doc)]
use roadstead_access::SCOPES_LIMIT;
use roadstead_oci::{
    Algorithm, Digest, InvalidDigest, InvalidReference, PageSize, Reference, RepositoryName, Tag,
    UploadId,
};
use std::borrow::Cow;

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `GET /`: for health checks, as distribution has it.
    Root,
    /// `GET /v2/` (end-1): whether this is a registry.
    Base,
    /// `GET /v2/_catalog`: Docker's list of repositories.
    Catalog(Page),
    /// `GET` and `POST /v2/token`: a token of the built-in service.
    Token(TokenRequest),
    /// `GET /v2/<name>/tags/list` (end-8).
    Tags(RepositoryName, Page),
    /// `/v2/<name>/manifests/<reference>` (end-3, end-7, end-9).
    Manifest(RepositoryName, Reference, ManifestAction),
    /// `GET /v2/<name>/referrers/<digest>` (end-12).
    Referrers(RepositoryName, Digest, ReferrersPage),
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10).
    Blob(RepositoryName, Digest, BlobAction),
    /// `POST /v2/<name>/blobs/uploads/` (end-4, end-11).
    StartUpload(RepositoryName, StartUpload),
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, end-6, end-13, end-14).
    Upload(RepositoryName, UploadId, UploadAction),
}

/// What a token is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenRequest {
    /// `service`: whom it is to be for.
    pub service: Option<String>,
    /// `scope`: what it is to allow; at most [`SCOPES_LIMIT`].
    pub scopes: Vec<Access>,
    /// Whether a refresh token is wanted too.
    pub refresh: bool,
    /// The rest is in the body (`POST`).
    pub form: bool,
}

/// What is done with a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManifestAction {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `PUT`, and what it is to be called besides its reference, by `tag`
    /// parameters: at most [`MAX_TAGS`].
    Put(Vec<Tag>),
    /// `DELETE`.
    Delete,
}

/// What is done with a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are the methods")]
pub enum BlobAction {
    Get,
    Head,
    Delete,
}

/// How an upload begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartUpload {
    /// With a session, whose bytes come later.
    Session,
    /// The body is the whole blob.
    Whole(Digest),
    /// Another repository may hold the blob; else with a session.
    Mount {
        /// The blob.
        digest: Digest,
        /// The other repository; without it, any will do.
        from: Option<RepositoryName>,
    },
}

/// What is done with an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadAction {
    /// `GET`: how far is it?
    Status,
    /// `PATCH`: add the body.
    Append,
    /// `PUT`: add the body, if any, and end.
    /// And what [`crate::store::Appended`] calls a receipt, if it comes along.
    Commit(Digest, Option<String>),
    /// `DELETE`.
    Cancel,
}

/// Which page of a list of referrers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferrersPage {
    /// Only those of this type.
    pub artifact_type: Option<String>,
    /// The rest of the question.
    pub page: Page,
}

/// Which page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// How many entries at most.
    pub size: PageSize,
    /// After which entry; it need not exist.
    pub last: Option<String>,
}

/// Most tags that one push of a manifest may set by parameters; the
/// specification asks for ten at least.
pub const MAX_TAGS: usize = 100;

/// Longest `last` that is passed on, in bytes: twice the longest name.
const LAST_LIMIT: usize = 512;

/// The query parameter of an upload's address that holds a receipt.
pub(crate) const RECEIPT: &str = "receipt";

/// Longest receipt, in bytes: more than there are.
const RECEIPT_LENGTH: usize = 64;

const GET: &[Method] = &[Method::GET];
const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];
const BLOB: &[Method] = &[Method::GET, Method::HEAD, Method::DELETE];
const MANIFEST: &[Method] = &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const UPLOAD: &[Method] = &[Method::GET, Method::PATCH, Method::PUT, Method::DELETE];

impl Route {
    /// What a request asks for.
    ///
    /// # Errors
    /// [`Error::UnknownEndpoint`], [`Error::MethodNotAllowed`], or what is
    /// wrong with the path's or the query's parts.
    pub fn parse(method: &Method, uri: &Uri) -> Result<Self, Error> {
        let path = uri.path();
        if path == "/" {
            return allowed(method, GET_HEAD, Self::Root);
        }
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return allowed(method, GET_HEAD, Self::Base),
            Some(rest) => rest.strip_prefix('/').ok_or(Error::UnknownEndpoint)?,
            None => return Err(Error::UnknownEndpoint),
        };
        let query = Query(uri.query().unwrap_or(""));
        if rest == "_catalog" {
            allowed(method, GET, ())?;
            return Ok(Self::Catalog(query.page()?));
        }
        if rest == "token" {
            allowed(method, GET_POST, ())?;
            return Ok(Self::Token(query.token(*method == Method::POST)));
        }
        let rest = decode(rest);
        let mut parts = rest.rsplitn(4, '/');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        // `name/blobs/uploads/` and `name/blobs/uploads/<id>` have one part
        // more than the others.
        if let (Some(id), Some("uploads"), Some("blobs"), Some(name)) = parts {
            return if id.is_empty() {
                start_upload(method, name, query)
            } else {
                upload(method, name, id, query)
            };
        }
        let mut parts = rest.rsplitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("uploads"), Some("blobs"), Some(name)) => start_upload(method, name, query),
            (Some("list"), Some("tags"), Some(name)) => {
                allowed(method, GET, ())?;
                Ok(Self::Tags(repository(name)?, query.page()?))
            }
            (Some(reference), Some("manifests"), Some(name)) => {
                manifest(method, name, reference, query)
            }
            (Some(digest), Some("referrers"), Some(name)) => {
                allowed(method, GET, ())?;
                let artifact_type = query.get("artifactType").filter(|filter| !filter.is_empty());
                let artifact_type = artifact_type.map(Cow::into_owned);
                let page = ReferrersPage { artifact_type, page: query.page()? };
                Ok(Self::Referrers(repository(name)?, parse_digest(digest)?, page))
            }
            (Some(digest), Some("blobs"), Some(name)) => blob(method, name, digest),
            _ => Err(Error::UnknownEndpoint),
        }
    }

    /// The path (without query) that parses to this route. Locations are
    /// relative, which is right behind every proxy.
    pub fn path(&self) -> String {
        match self {
            Self::Root => "/".to_owned(),
            Self::Base => "/v2/".to_owned(),
            Self::Catalog(_) => "/v2/_catalog".to_owned(),
            Self::Token(_) => "/v2/token".to_owned(),
            Self::Tags(name, _) => format!("/v2/{name}/tags/list"),
            Self::Manifest(name, reference, _) => format!("/v2/{name}/manifests/{reference}"),
            Self::Referrers(name, digest, _) => format!("/v2/{name}/referrers/{digest}"),
            Self::Blob(name, digest, _) => format!("/v2/{name}/blobs/{digest}"),
            Self::StartUpload(name, _) => format!("/v2/{name}/blobs/uploads/"),
            Self::Upload(name, id, _) => format!("/v2/{name}/blobs/uploads/{id}"),
        }
    }
}

fn start_upload(method: &Method, name: &str, query: Query<'_>) -> Result<Route, Error> {
    allowed(method, POST, ())?;
    let name = repository(name)?;
    let start = if let Some(digest) = query.get("mount") {
        let from = query.get("from").map(|from| repository(&from)).transpose()?;
        StartUpload::Mount { digest: parse_digest(&digest)?, from }
    } else if let Some(digest) = query.get("digest") {
        StartUpload::Whole(parse_digest(&digest)?)
    } else {
        // Known or not, the session does not depend on it: it is hashed with
        // SHA-256 as it comes, and with another algorithm at its end.
        if let Some(algorithm) = query.get("digest-algorithm")
            && !Algorithm::ALL.iter().any(|known| known.as_str() == algorithm)
        {
            let name = algorithm.chars().take(InvalidDigest::MAX_NAME).collect();
            return Err(Error::Digest(InvalidDigest::UnsupportedAlgorithm { name }));
        }
        StartUpload::Session
    };
    Ok(Route::StartUpload(name, start))
}

fn upload(method: &Method, name: &str, id: &str, query: Query<'_>) -> Result<Route, Error> {
    allowed(method, UPLOAD, ())?;
    let name = repository(name)?;
    let id = UploadId::parse(id).map_err(Error::UploadId)?;
    let action = match *method {
        Method::GET => UploadAction::Status,
        Method::PATCH => UploadAction::Append,
        Method::PUT => {
            let digest = query.get("digest").ok_or(Error::DigestMissing)?;
            // Any other text is no receipt, and none is needed.
            let receipt = query.get(RECEIPT).filter(|text| text.len() <= RECEIPT_LENGTH);
            UploadAction::Commit(parse_digest(&digest)?, receipt.map(Cow::into_owned))
        }
        _ => UploadAction::Cancel,
    };
    Ok(Route::Upload(name, id, action))
}

fn manifest(
    method: &Method,
    name: &str,
    reference: &str,
    query: Query<'_>,
) -> Result<Route, Error> {
    allowed(method, MANIFEST, ())?;
    let name = repository(name)?;
    let reference = Reference::parse(reference).map_err(|error| match error {
        InvalidReference::Tag(error) => Error::Tag(error),
        InvalidReference::Digest(error) => Error::Digest(error),
    })?;
    let action = match *method {
        Method::GET => ManifestAction::Get,
        Method::HEAD => ManifestAction::Head,
        Method::PUT => ManifestAction::Put(query.tags()?),
        _ => ManifestAction::Delete,
    };
    Ok(Route::Manifest(name, reference, action))
}

fn blob(method: &Method, name: &str, digest: &str) -> Result<Route, Error> {
    allowed(method, BLOB, ())?;
    let name = repository(name)?;
    let digest = parse_digest(digest)?;
    let action = match *method {
        Method::GET => BlobAction::Get,
        Method::HEAD => BlobAction::Head,
        _ => BlobAction::Delete,
    };
    Ok(Route::Blob(name, digest, action))
}

fn allowed<T>(method: &Method, methods: &'static [Method], value: T) -> Result<T, Error> {
    if methods.contains(method) { Ok(value) } else { Err(Error::MethodNotAllowed(methods)) }
}

fn repository(name: &str) -> Result<RepositoryName, Error> {
    RepositoryName::parse(name).map_err(Error::Name)
}

fn parse_digest(digest: &str) -> Result<Digest, Error> {
    Digest::parse(digest).map_err(Error::Digest)
}

/// Unescapes a path. Bytes that are no UTF-8 become characters that no name,
/// tag or digest may contain.
fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// A place in a list as far as it matters: no name is as long as
/// [`LAST_LIMIT`], so the names after the whole text are those after its start.
fn shorten(mut last: String) -> String {
    last.truncate(last.floor_char_boundary(LAST_LIMIT));
    last
}

/// A query, read on demand.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The first value of a key.
    fn get(self, key: &str) -> Option<Cow<'a, str>> {
        form_urlencoded::parse(self.0.as_bytes()).find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// All values of `tag`.
    fn tags(self) -> Result<Vec<Tag>, Error> {
        let values = form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == "tag");
        let mut tags = Vec::new();
        for (_, value) in values {
            if tags.len() == MAX_TAGS {
                return Err(Error::TooManyTags);
            }
            tags.push(Tag::parse(&value).map_err(Error::Tag)?);
        }
        Ok(tags)
    }

    fn token(self, form: bool) -> TokenRequest {
        let mut request = TokenRequest { form, ..TokenRequest::default() };
        for (key, value) in form_urlencoded::parse(self.0.as_bytes()) {
            request.take(&key, &value);
        }
        request
    }

    fn page(self) -> Result<Page, Error> {
        let size = PageSize::parse(self.get("n").as_deref()).map_err(Error::PageSize)?;
        let last = self.get("last").filter(|last| !last.is_empty()).map(Cow::into_owned);
        Ok(Page { size, last: last.map(shorten) })
    }
}

#[cfg(test)]
mod tests {
    use super::{BlobAction, ManifestAction, Route, StartUpload, UploadAction};
    use crate::Error;
    use http::{Method, Uri};
    use roadstead_oci::{Digest, ErrorCode, Reference, RepositoryName, UploadId};

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ID: &str = "00000000-0000-4000-8000-000000000000";

    fn parse(method: &Method, uri: &str) -> Result<Route, Error> {
        Route::parse(method, &uri.parse::<Uri>().unwrap())
    }

    fn name(name: &str) -> RepositoryName {
        RepositoryName::parse(name).unwrap()
    }

    #[test]
    fn paths_are_matched_from_the_right() {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        let tag = || Reference::parse("t").unwrap();
        let id = UploadId::parse(ID).unwrap();
        for (method, uri, expected) in [
            (Method::GET, "/v2/a/manifests/t".to_owned(), {
                Route::Manifest(name("a"), tag(), ManifestAction::Get)
            }),
            // Words of the API within names.
            (Method::HEAD, "/v2/a/manifests/manifests/t".to_owned(), {
                Route::Manifest(name("a/manifests"), tag(), ManifestAction::Head)
            }),
            (Method::PUT, "/v2/blobs/uploads/manifests/t".to_owned(), {
                Route::Manifest(name("blobs/uploads"), tag(), ManifestAction::Put(Vec::new()))
            }),
            (Method::GET, format!("/v2/a/tags/list/blobs/sha256:{HEX}"), {
                Route::Blob(name("a/tags/list"), digest.clone(), BlobAction::Get)
            }),
            (Method::GET, format!("/v2/a/blobs/sha256%3A{HEX}"), {
                Route::Blob(name("a"), digest.clone(), BlobAction::Get)
            }),
            (Method::GET, format!("/v2/a%2Fb/blobs/sha256:{HEX}"), {
                Route::Blob(name("a/b"), digest.clone(), BlobAction::Get)
            }),
            (Method::POST, "/v2/a/blobs/uploads/".to_owned(), {
                Route::StartUpload(name("a"), StartUpload::Session)
            }),
            (Method::POST, "/v2/a/blobs/uploads".to_owned(), {
                Route::StartUpload(name("a"), StartUpload::Session)
            }),
            (Method::POST, format!("/v2/a/blobs/uploads/?digest=sha256:{HEX}"), {
                Route::StartUpload(name("a"), StartUpload::Whole(digest.clone()))
            }),
            (Method::POST, format!("/v2/a/blobs/uploads/?from=b/c&mount=sha256:{HEX}&origin=x"), {
                let from = Some(name("b/c"));
                Route::StartUpload(name("a"), StartUpload::Mount { digest: digest.clone(), from })
            }),
            (Method::PUT, format!("/v2/a/blobs/uploads/{ID}?_state=x&digest=sha256%3A{HEX}"), {
                Route::Upload(name("a"), id.clone(), UploadAction::Commit(digest.clone(), None))
            }),
            (Method::PATCH, format!("/v2/a/blobs/uploads/{ID}"), {
                Route::Upload(name("a"), id.clone(), UploadAction::Append)
            }),
        ] {
            assert_eq!(parse(&method, &uri).unwrap(), expected, "{method} {uri}");
        }
    }

    #[test]
    fn routes_print_as_they_parse() {
        let digest = format!("sha256:{HEX}");
        for (method, path) in [
            (Method::GET, "/".to_owned()),
            (Method::GET, "/v2/".to_owned()),
            (Method::GET, "/v2/_catalog".to_owned()),
            (Method::GET, "/v2/a/b/tags/list".to_owned()),
            (Method::GET, "/v2/a/b/manifests/t".to_owned()),
            (Method::PUT, format!("/v2/a/manifests/{digest}")),
            (Method::GET, format!("/v2/a/referrers/{digest}")),
            (Method::HEAD, format!("/v2/a/blobs/{digest}")),
            (Method::POST, "/v2/a/blobs/uploads/".to_owned()),
            (Method::DELETE, format!("/v2/a/blobs/uploads/{ID}")),
        ] {
            let route = parse(&method, &path).unwrap();
            assert_eq!(route.path(), path);
            assert_eq!(parse(&method, &route.path()).unwrap(), route);
        }
    }

    #[test]
    fn each_mistake_has_its_code() {
        let code = |method, uri: &str| parse(&method, uri).unwrap_err().status_and_code();
        for (method, uri, status, expected) in [
            (Method::GET, "/v2", 200, ErrorCode::Unknown),
            (Method::GET, "/v1/", 404, ErrorCode::Unsupported),
            (Method::GET, "/v2x/", 404, ErrorCode::Unsupported),
            (Method::GET, "/v2/tags/list", 404, ErrorCode::Unsupported),
            (Method::GET, "/v2//tags/list", 400, ErrorCode::NameInvalid),
            (Method::PUT, "/v2/a/tags/list", 405, ErrorCode::Unsupported),
            (Method::GET, "/v2/a/manifests/", 400, ErrorCode::TagInvalid),
            (Method::GET, "/v2/a/blobs/", 400, ErrorCode::DigestInvalid),
            (Method::PUT, "/v2/a/blobs/uploads/x?digest=y", 404, ErrorCode::BlobUploadUnknown),
            (Method::GET, "/v2/_catalog?n=x", 400, ErrorCode::PaginationNumberInvalid),
        ] {
            if status == 200 {
                assert!(parse(&method, uri).is_ok(), "{uri}");
            } else {
                let (found, code) = code(method, uri);
                assert_eq!((found.as_u16(), code), (status, expected), "{uri}");
            }
        }
    }

    /// Any path and query: a route or an error, and what is a route prints as
    /// one.
    #[test]
    fn arbitrary_paths() {
        const PIECES: [&str; 25] = [
            "referrers",
            "/",
            "/",
            "/v2/",
            "a",
            "b",
            "Z",
            "-",
            "_",
            ".",
            "..",
            "%2f",
            "%00",
            "%ff",
            "%",
            "blobs",
            "uploads",
            "manifests",
            "tags/list",
            "_catalog",
            "?n=",
            "&last=",
            "sha256:",
            HEX,
            ID,
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound as u64).unwrap()
        };
        let mut routes = 0;
        for _ in 0..50_000 {
            let mut text = "/v2/".to_owned();
            for _ in 0..next(9) {
                text.push_str(PIECES[next(PIECES.len())]);
            }
            let Ok(uri) = text.parse::<Uri>() else { continue };
            let method = [Method::GET, Method::PUT, Method::POST, Method::PATCH][next(4)].clone();
            match Route::parse(&method, &uri) {
                Ok(route) => {
                    routes += 1;
                    assert!(route.path().starts_with('/'));
                }
                Err(error) => {
                    let (status, _) = error.status_and_code();
                    assert!(status.is_client_error(), "{text}: {error}");
                    assert!(!error.body().is_empty());
                }
            }
        }
        assert!(routes > 100, "{routes}");
    }
}
