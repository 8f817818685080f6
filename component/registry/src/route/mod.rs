//! Parses request lines into routes, and formats routes as paths.
//!
//! The parts of a [`Route`] are valid: no invalid name, tag, digest or page
//! size reaches an endpoint.

mod class;
mod parse;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use class::MISSING_TTL;
pub use class::{Caching, Effect, Event, Permission, RouteClass};
pub use view::{
    MOST_REPOSITORIES, MOST_TAGS, RepositoriesRequest, TagOrder, TagsRequest, VIEW_PAGE, View,
};

use roadstead_bridge::{collect, contents, health, outbox, retention, scrub};
use roadstead_oci::{Digest, PageSize, Reference, RepositoryName, Tag};
use roadstead_page::Asset;
use roadstead_storage::UploadSession;
use std::time::SystemTime;

/// The endpoint that a request addresses, with its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `GET /`: for health checks, as distribution has it.
    Root,
    /// `GET /livez`: whether the process serves requests.
    Live,
    /// `GET /readyz`: whether the storage can be read. A native host answers it itself.
    Ready,
    /// `GET /v2/` (end-1): the API version check.
    Base,
    /// `GET /v2/_catalog`: Docker's list of repositories.
    Catalog(PageRequest),
    /// `POST /v2/_roadstead/collect`: a slice of garbage collection.
    Collect,
    /// `GET /v2/_roadstead/collect/...`: a question about garbage.
    Collection(CollectionQuery),
    /// `POST /v2/_roadstead/events`: the native host takes events that other hosts have left.
    Events,
    /// `GET /v2/_roadstead/retention`: which tags expire, after a place.
    Expiring(Option<String>),
    /// `GET /v2/<name>/_roadstead/retention/<tag>`: why a tag expires, or is kept.
    Retained(RepositoryName, Tag),
    /// `POST /v2/_roadstead/scrub`: a slice of a scrub.
    Scrub,
    /// `GET` and `POST /v2/token`: a token of the built-in service.
    Token(TokenParameters),
    /// `DELETE /v2/<name>/_roadstead/repository`: deletes a whole repository. An
    /// extension, as the specification has them: no part of a repository's name
    /// begins with `_`.
    Repository(RepositoryName),
    /// `GET /v2/<name>/tags/list` (end-8).
    Tags(RepositoryName, PageRequest),
    /// `GET /v2/<name>/_oci/tag-history/<tag>`: a draft of an extension.
    TagHistory(RepositoryName, Tag, HistoryRequest),
    /// `GET /v2/_oci/ext/discover`, or the same below a repository: which extensions there are.
    Discover(Option<RepositoryName>),
    /// `GET /ui` and `GET /ui/<file>`: the registry's page.
    Page(PageRoute),
    /// A JSON endpoint that the registry's page uses.
    View(View),
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

/// A part of the registry's page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageRoute {
    /// `/ui`, without the slash.
    Bare,
    /// A file.
    File(&'static Asset),
}

/// A question about garbage collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CollectionQuery {
    /// Which runs there were.
    Reports,
    /// How much the repositories after one hold.
    Usage(Option<String>),
    /// Why a blob is there, by the repositories after one.
    Why(Digest, Option<String>),
    /// What the repositories hold after the end of an answer.
    Contents(Option<String>),
    /// How much of quotas is used.
    Quotas,
    /// Which runs can be undone.
    Trash,
}

/// Where the parameters of a token request are. They are parsed where tokens are
/// issued, and nowhere else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenParameters {
    /// In the query, which is this (`GET`).
    Query(String),
    /// In the body (`POST`).
    Form,
}

/// The operation on a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManifestAction {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `PUT`, and further tags for the manifest, from `tag` parameters: at most
    /// [`MAX_TAGS`].
    Put(Vec<Tag>),
    /// `DELETE`.
    Delete,
}

/// The operation on a blob.
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
    /// By opening a session; the bytes are sent later.
    Session,
    /// The body is the whole blob.
    Whole(Digest),
    /// By mounting the blob from another repository, or else by opening a
    /// session.
    Mount {
        /// The blob.
        digest: Digest,
        /// The source repository; `None` for any.
        from: Option<RepositoryName>,
    },
}

/// The operation on an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadAction {
    /// `GET`: the upload's progress.
    Status,
    /// `PATCH`: append the body.
    Append,
    /// `PUT`: append the body, if any, and complete the upload; with the
    /// receipt of [`roadstead_storage::Appended`], if the client sent one.
    Commit(Digest, Option<String>),
    /// `DELETE`.
    Cancel,
}

/// Which page of a list of referrers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferrersRequest {
    /// Only those of this type.
    pub artifact_type: Option<String>,
    /// The page.
    pub page: PageRequest,
}

/// Which part of a tag's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryRequest {
    /// The maximum number of entries.
    pub size: PageSize,
    /// Only entries that are older.
    pub before: Option<SystemTime>,
    /// And of those of that time the ones after this digest, which need not be one.
    pub last: Option<Digest>,
    /// Only entries that are newer.
    pub since: Option<SystemTime>,
    /// Only entries of this manifest.
    pub digest: Option<Digest>,
}

/// Which page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// The maximum number of entries.
    pub size: PageSize,
    /// The entry after which the page starts; it need not exist.
    pub last: Option<String>,
}

/// Most tags that one push of a manifest may set by parameters; the
/// specification asks for ten at least.
///
/// Limit: the tags of a push; test: `tags_by_parameter_and_sha512`.
pub const MAX_TAGS: usize = 100;

/// The query parameter of an upload's address that holds a receipt.
pub(crate) const RECEIPT: &str = "receipt";

/// Where the page is, without the slash.
const BARE_PAGE: &str = "/ui";

impl Route {
    /// The path (without query) that parses to this route. Locations are
    /// relative, so that they are correct behind any proxy.
    pub fn path(&self) -> String {
        match self {
            Self::Root => "/".to_owned(),
            Self::Live => health::LIVE.to_owned(),
            Self::Ready => health::READY.to_owned(),
            Self::Base => "/v2/".to_owned(),
            Self::Catalog(_) => "/v2/_catalog".to_owned(),
            Self::Collect => collect::PATH.to_owned(),
            Self::Collection(CollectionQuery::Reports) => collect::REPORTS.to_owned(),
            Self::Collection(CollectionQuery::Usage(_)) => collect::USAGE.to_owned(),
            Self::Collection(CollectionQuery::Why(digest, _)) => {
                format!("{}{digest}", collect::WHY)
            }
            Self::Collection(CollectionQuery::Contents(_)) => contents::CONTENTS.to_owned(),
            Self::Collection(CollectionQuery::Trash) => collect::TRASH.to_owned(),
            Self::Collection(CollectionQuery::Quotas) => contents::QUOTAS.to_owned(),
            Self::Events => outbox::PATH.to_owned(),
            Self::Expiring(_) => retention::PATH.to_owned(),
            Self::Retained(name, tag) => format!("/v2/{name}{}{tag}", retention::TAG),
            Self::Scrub => scrub::PATH.to_owned(),
            Self::Token(_) => "/v2/token".to_owned(),
            Self::Repository(name) => format!("/v2/{name}/_roadstead/repository"),
            Self::Tags(name, _) => format!("/v2/{name}/tags/list"),
            Self::TagHistory(name, tag, _) => format!("/v2/{name}/_oci/tag-history/{tag}"),
            Self::Discover(None) => "/v2/_oci/ext/discover".to_owned(),
            Self::Discover(Some(name)) => format!("/v2/{name}/_oci/ext/discover"),
            Self::Page(PageRoute::Bare) => BARE_PAGE.to_owned(),
            Self::Page(PageRoute::File(asset)) => format!("{BARE_PAGE}/{}", asset.path),
            Self::View(view) => view.path(),
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
