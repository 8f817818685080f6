//! From a request line to what is asked, and back.
//!
//! What a [`Route`] holds is valid: no name, tag, digest or page size that is
//! not reaches an endpoint.

mod class;
mod parse;
#[cfg(test)]
mod tests;

pub use class::{Caching, Effect, Event, Permission, RouteClass};

use roadstead_access::{Access, SCOPES_LIMIT};
use roadstead_oci::{Digest, PageSize, Reference, RepositoryName, Tag};
use roadstead_storage::UploadSession;

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `GET /`: for health checks, as distribution has it.
    Root,
    /// `GET /v2/` (end-1): whether this is a registry.
    Base,
    /// `GET /v2/_catalog`: Docker's list of repositories.
    Catalog(PageRequest),
    /// `GET` and `POST /v2/token`: a token of the built-in service.
    Token(TokenRequest),
    /// `GET /v2/<name>/tags/list` (end-8).
    Tags(RepositoryName, PageRequest),
    /// `/v2/<name>/manifests/<reference>` (end-3, end-7, end-9).
    Manifest(RepositoryName, Reference, ManifestAction),
    /// `GET /v2/<name>/referrers/<digest>` (end-12).
    Referrers(RepositoryName, Digest, ReferrersRequest),
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10).
    Blob(RepositoryName, Digest, BlobAction),
    /// `POST /v2/<name>/blobs/uploads/` (end-4, end-11).
    StartUpload(RepositoryName, StartUpload),
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, end-6, end-13, end-14).
    Upload(UploadSession, UploadAction),
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
    /// And what [`roadstead_storage::Appended`] calls a receipt, if it comes along.
    Commit(Digest, Option<String>),
    /// `DELETE`.
    Cancel,
}

/// Which page of a list of referrers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferrersRequest {
    /// Only those of this type.
    pub artifact_type: Option<String>,
    /// The rest of the question.
    pub page: PageRequest,
}

/// Which page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// How many entries at most.
    pub size: PageSize,
    /// After which entry; it need not exist.
    pub last: Option<String>,
}

/// Most tags that one push of a manifest may set by parameters; the
/// specification asks for ten at least.
pub const MAX_TAGS: usize = 100;

/// The query parameter of an upload's address that holds a receipt.
pub(crate) const RECEIPT: &str = "receipt";

impl Route {
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
            Self::Upload(session, _) => {
                format!("/v2/{}/blobs/uploads/{}", session.repository, session.id)
            }
        }
    }
}

impl TokenRequest {
    /// Takes a parameter that both forms have; others mean nothing here.
    pub(crate) fn take(&mut self, key: &str, value: &str) {
        match key {
            "service" if !value.is_empty() => self.service = Some(value.to_owned()),
            "scope" => {
                self.scopes.extend(Access::parse_all(value));
                self.scopes.truncate(SCOPES_LIMIT);
            }
            "offline_token" => self.refresh = value == "true",
            _ => {}
        }
    }
}
