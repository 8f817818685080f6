//! Parsing of request lines.
//!
//! Paths are matched from the right, because repository names contain slashes
//! and may contain the words of the API themselves.

use super::view::{REGISTRY, REPOSITORIES, SEARCH_LIMIT, UPLOADS};
use super::{
    BARE_PAGE, BlobAction, CollectionQuery, HistoryRequest, MAX_TAGS, MOST_REPOSITORIES, MOST_TAGS,
    ManifestAction, PageRequest, PageRoute, RECEIPT, ReferrersRequest, RepositoriesRequest, Route,
    StartUpload, TagOrder, TagsRequest, TokenParameters, UploadAction, VIEW_PAGE, View,
};
use crate::Error;
use chrono::DateTime;
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use roadstead_bridge::{collect, contents, health, outbox, retention, scrub};
use roadstead_oci::{
    Algorithm, Digest, InvalidDigest, InvalidReference, MediaType, PageSize, Reference,
    RepositoryName, Tag, UploadId,
};
use roadstead_storage::UploadSession;
use std::borrow::Cow;
use std::time::SystemTime;

/// Longest `last` that is passed on, in bytes: twice the longest name.
///
/// Limit: the bytes of a list's `last`; test: `long_parameters_are_shortened`.
const LAST_LIMIT: usize = 512;

/// Longest filter by artifact type that is passed on, in bytes: the links to
/// further pages repeat it.
///
/// Limit: the bytes of a filter by artifact type; test: `long_parameters_are_shortened`.
const FILTER_LIMIT: usize = 2 * MediaType::MAX_LENGTH;

/// Maximum length of a receipt, in bytes: longer than any that is issued.
///
/// Limit: bytes of an upload's receipt; test: none, longer ones are no receipts.
const RECEIPT_LENGTH: usize = 64;

const GET: &[Method] = &[Method::GET];
const GET_HEAD: &[Method] = &[Method::GET, Method::HEAD];
const BLOB: &[Method] = &[Method::GET, Method::HEAD, Method::DELETE];
const MANIFEST: &[Method] = &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE];
const DELETE: &[Method] = &[Method::DELETE];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const UPLOAD: &[Method] = &[Method::GET, Method::PATCH, Method::PUT, Method::DELETE];

impl Route {
    /// Parses a request's method, path and query.
    ///
    /// # Errors
    /// [`Error::UnknownEndpoint`], [`Error::MethodNotAllowed`], or the
    /// error for an invalid part of the path or the query.
    pub fn parse(method: &Method, uri: &Uri) -> Result<Self, Error> {
        let path = uri.path();
        if let Some(route) = fixed(path) {
            return allowed(method, GET_HEAD, route);
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
        // No repository's name begins with an underscore.
        if let Some(route) = maintenance(method, path, query)? {
            return Ok(route);
        }
        if rest == "_oci/ext/discover" {
            return allowed(method, GET, Self::Discover(None));
        }
        if rest == "token" {
            allowed(method, GET_POST, ())?;
            return Ok(Self::Token(match *method {
                Method::POST => TokenParameters::Form,
                _ => TokenParameters::Query(query.0.to_owned()),
            }));
        }
        in_repository(method, &decode(rest), query)
    }
}

/// The routes below a repository. `rest` is the path after `/v2/`, unescaped.
fn in_repository(method: &Method, rest: &str, query: Query<'_>) -> Result<Route, Error> {
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
    if let (Some(last), Some(component), Some("_oci"), Some(name)) = parts {
        return extension(method, name, component, last, query);
    }
    if let (Some(last), Some(component), Some("_roadstead"), Some(name)) = parts
        && let Some(route) = own(method, name, component, last, query)?
    {
        return Ok(route);
    }
    let mut parts = rest.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("uploads"), Some("blobs"), Some(name)) => start_upload(method, name, query),
        (Some("repository"), Some("_roadstead"), Some(name)) => {
            allowed(method, DELETE, ())?;
            Ok(Route::Repository(repository(name)?))
        }
        (Some("tags"), Some("_roadstead"), Some(name)) => {
            allowed(method, GET, ())?;
            Ok(Route::View(View::Tags(repository(name)?, query.tags_request()?)))
        }
        (Some("deletion"), Some("_roadstead"), Some(name)) => {
            allowed(method, GET, ())?;
            Ok(Route::View(View::Deletion(repository(name)?, query.tags()?)))
        }
        (Some("list"), Some("tags"), Some(name)) => {
            allowed(method, GET, ())?;
            Ok(Route::Tags(repository(name)?, query.page()?))
        }
        (Some(reference), Some("manifests"), Some(name)) => {
            manifest(method, name, reference, query)
        }
        (Some(digest), Some("referrers"), Some(name)) => {
            allowed(method, GET, ())?;
            let artifact_type = query.get("artifactType").filter(|filter| !filter.is_empty());
            let artifact_type = artifact_type.map(|filter| shorten(filter, FILTER_LIMIT));
            let page = ReferrersRequest { artifact_type, page: query.page()? };
            Ok(Route::Referrers(repository(name)?, parse_digest(digest)?, page))
        }
        (Some(digest), Some("blobs"), Some(name)) => blob(method, name, digest),
        _ => Err(Error::UnknownEndpoint),
    }
}

/// An endpoint of this registry's own, below a repository.
fn own(
    method: &Method,
    name: &str,
    component: &str,
    last: &str,
    query: Query<'_>,
) -> Result<Option<Route>, Error> {
    match component {
        "retention" => {
            allowed(method, GET, ())?;
            let tag = Tag::parse(last).map_err(Error::Tag);
            Ok(Some(Route::Retained(repository(name)?, tag?)))
        }
        "image" => {
            allowed(method, GET, ())?;
            let platform = query.get("platform").filter(|platform| !platform.is_empty());
            let platform = platform.map(|platform| shorten(platform, FILTER_LIMIT));
            let view = View::Image(repository(name)?, parse_reference(last)?, platform);
            Ok(Some(Route::View(view)))
        }
        _ => Ok(None),
    }
}

/// An extension of the specification, below a repository.
fn extension(
    method: &Method,
    name: &str,
    component: &str,
    last: &str,
    query: Query<'_>,
) -> Result<Route, Error> {
    match (component, last) {
        ("tag-history", tag) => {
            allowed(method, GET, ())?;
            let (name, tag) = (repository(name)?, Tag::parse(tag).map_err(Error::Tag)?);
            Ok(Route::TagHistory(name, tag, query.history()?))
        }
        ("ext", "discover") => {
            allowed(method, GET, ())?;
            Ok(Route::Discover(Some(repository(name)?)))
        }
        _ => Err(Error::UnknownEndpoint),
    }
}

/// The routes of health checks, and of the page.
fn fixed(path: &str) -> Option<Route> {
    match path {
        "/" => Some(Route::Root),
        BARE_PAGE => Some(Route::Page(PageRoute::Bare)),
        health::LIVE => Some(Route::Live),
        health::READY => Some(Route::Ready),
        _ => {
            let file = path.strip_prefix(BARE_PAGE)?.strip_prefix('/')?;
            roadstead_page::find(file).map(|asset| Route::Page(PageRoute::File(asset)))
        }
    }
}

/// The routes of maintenance, which are about all repositories.
fn maintenance(method: &Method, path: &str, query: Query<'_>) -> Result<Option<Route>, Error> {
    let (methods, route) = match path {
        collect::PATH => (POST, Route::Collect),
        scrub::PATH => (POST, Route::Scrub),
        outbox::PATH => (POST, Route::Events),
        REGISTRY => (GET, Route::View(View::Registry)),
        UPLOADS => {
            let last = query.get("last").map(|last| shorten(last, LAST_LIMIT));
            (GET, Route::View(View::Uploads(last)))
        }
        REPOSITORIES => {
            allowed(method, GET, ())?;
            (GET, Route::View(View::Repositories(query.repositories()?)))
        }
        retention::PATH => {
            let last = query.get("last").map(|last| shorten(last, LAST_LIMIT));
            (GET, Route::Expiring(last))
        }
        _ => match collection(path, query)? {
            Some(query) => (GET, Route::Collection(query)),
            None => return Ok(None),
        },
    };
    allowed(method, methods, Some(route))
}

fn collection(path: &str, query: Query<'_>) -> Result<Option<CollectionQuery>, Error> {
    let last = || query.get("last").map(|last| shorten(last, LAST_LIMIT));
    Ok(match path {
        collect::REPORTS => Some(CollectionQuery::Reports),
        collect::USAGE => Some(CollectionQuery::Usage(last())),
        contents::CONTENTS => Some(CollectionQuery::Contents(last())),
        contents::QUOTAS => Some(CollectionQuery::Quotas),
        collect::TRASH => Some(CollectionQuery::Trash),
        _ => match path.strip_prefix(collect::WHY) {
            Some(digest) => Some(CollectionQuery::Why(parse_digest(&decode(digest))?, last())),
            None => None,
        },
    })
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
        // The session does not depend on the algorithm: the bytes are hashed
        // with SHA-256 as they arrive, and with another algorithm when the
        // upload completes.
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
            // Any other text is not a receipt and is ignored: receipts are
            // optional.
            let receipt = query.get(RECEIPT).filter(|text| text.len() <= RECEIPT_LENGTH);
            UploadAction::Commit(parse_digest(&digest)?, receipt.map(Cow::into_owned))
        }
        _ => UploadAction::Cancel,
    };
    Ok(Route::Upload(UploadSession { repository: name, id }, action))
}

fn manifest(
    method: &Method,
    name: &str,
    reference: &str,
    query: Query<'_>,
) -> Result<Route, Error> {
    allowed(method, MANIFEST, ())?;
    let name = repository(name)?;
    let reference = parse_reference(reference)?;
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

fn parse_reference(reference: &str) -> Result<Reference, Error> {
    Reference::parse(reference).map_err(|error| match error {
        InvalidReference::Tag(error) => Error::Tag(error),
        InvalidReference::Digest(error) => Error::Digest(error),
    })
}

/// Unescapes a path. Bytes that are not UTF-8 become characters that no name,
/// tag or digest may contain.
fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// The significant start of a text: no name and no media type is as long as the
/// limit for it, so the same names follow the truncated text as the whole text,
/// and neither is equal to any media type.
fn shorten(text: Cow<'_, str>, limit: usize) -> String {
    let mut text = text.into_owned();
    text.truncate(text.floor_char_boundary(limit));
    text
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
                return Err(Error::TooManyTags { limit: MAX_TAGS });
            }
            tags.push(Tag::parse(&value).map_err(Error::Tag)?);
        }
        Ok(tags)
    }

    fn history(self) -> Result<HistoryRequest, Error> {
        let digest = |key| self.get(key).map(|digest| parse_digest(&digest)).transpose();
        Ok(HistoryRequest {
            size: PageSize::parse(self.get("n").as_deref()).map_err(Error::PageSize)?,
            before: self.time("before")?,
            last: digest("last")?,
            since: self.time("since")?,
            digest: digest("digest")?,
        })
    }

    /// A time of RFC 3339. The `+` of its offset may have been sent as it is, which means a space.
    fn time(self, key: &'static str) -> Result<Option<SystemTime>, Error> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let time = DateTime::parse_from_rfc3339(&text)
            .or_else(|_| DateTime::parse_from_rfc3339(&text.replace(' ', "+")));
        time.map(|time| Some(SystemTime::from(time))).map_err(|_| Error::Time(key))
    }

    fn repositories(self) -> Result<RepositoriesRequest, Error> {
        let under = self.get("under").unwrap_or_default();
        let is_prefix = |parts: &str| RepositoryName::parse(parts).is_ok();
        if !under.is_empty() && !under.strip_suffix('/').is_some_and(is_prefix) {
            let expected = "the beginning of names, with a slash at its end";
            return Err(Error::Parameter { name: "under", expected });
        }
        let last = self.get("last").filter(|last| !last.is_empty());
        Ok(RepositoriesRequest {
            under: under.into_owned(),
            search: self.search(),
            last: last.map(|last| shorten(last, LAST_LIMIT)),
            limit: self.view_page(MOST_REPOSITORIES)?,
        })
    }

    fn tags_request(self) -> Result<TagsRequest, Error> {
        let wrong = |name, expected| Err(Error::Parameter { name, expected });
        let sort = match self.get("sort").as_deref() {
            None | Some("name") => TagOrder::Name,
            Some("pushed") => TagOrder::Pushed,
            Some("size") => TagOrder::Size,
            Some(_) => return wrong("sort", "name, pushed or size"),
        };
        let descending = match self.get("order").as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return wrong("order", "asc or desc"),
        };
        let offset = self.get("offset").map(|offset| offset.parse::<u32>()).transpose();
        let Ok(offset) = offset else { return wrong("offset", "a number") };
        Ok(TagsRequest {
            sort,
            descending,
            search: self.search(),
            offset: offset.unwrap_or_default() as usize,
            limit: self.view_page(MOST_TAGS)?,
        })
    }

    /// The text that names are searched for: all have an empty one.
    fn search(self) -> Option<String> {
        Some(shorten(self.get("q")?, SEARCH_LIMIT + 1).to_lowercase())
    }

    /// The entries of a page: at least one, so that pages get on.
    fn view_page(self, most: usize) -> Result<usize, Error> {
        let Some(text) = self.get("n") else { return Ok(VIEW_PAGE.min(most)) };
        let size = PageSize::parse(Some(&text)).map_err(Error::PageSize)?;
        Ok(size.get().clamp(1, most))
    }

    fn page(self) -> Result<PageRequest, Error> {
        let size = PageSize::parse(self.get("n").as_deref()).map_err(Error::PageSize)?;
        let last = self.get("last").filter(|last| !last.is_empty());
        Ok(PageRequest { size, last: last.map(|last| shorten(last, LAST_LIMIT)) })
    }
}
