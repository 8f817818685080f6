//! The parameters of the JSON endpoints that the registry's page uses.

use roadstead_oci::{Reference, RepositoryName, Tag};

/// How many entries an answer has if the client sends no `n`.
///
/// Limit: entries of a list for the page by default; test: `parameters_of_lists`.
pub const VIEW_PAGE: usize = 100;

/// The most repositories and groups of an answer; more are on the next page.
///
/// Limit: repositories and groups in an answer for the page; test: `parameters_of_lists`.
pub const MOST_REPOSITORIES: usize = 1000;

/// The most tags of an answer, each of which may take the manifests of an index to be read; more are on
/// the next page.
///
/// Limit: tags in an answer for the page; test: `parameters_of_lists`.
pub const MOST_TAGS: usize = 100;

/// The longest text that names are searched for, in bytes: no name is longer.
///
/// Limit: bytes of the text that names are searched for; test: `parameters_of_lists`.
pub(super) const SEARCH_LIMIT: usize = RepositoryName::MAX_LENGTH;

/// A question of the registry's page. All are read only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum View {
    /// `GET /v2/_roadstead/ui/registry`: the registry, and what the caller may do.
    Registry,
    /// `GET /v2/_roadstead/repositories`: a level of the tree of repositories, or those that match
    /// a text.
    Repositories(RepositoriesRequest),
    /// `GET /v2/<name>/_roadstead/tags`: tags in an order, with what they lead to.
    Tags(RepositoryName, TagsRequest),
    /// `GET /v2/<name>/_roadstead/image/<reference>`: all of an image, and the platform whose
    /// image is shown of an index.
    Image(RepositoryName, Reference, Option<String>),
    /// `GET /v2/<name>/_roadstead/deletion`: what deletions of tags would affect.
    Deletion(RepositoryName, Vec<Tag>),
    /// `GET /v2/_roadstead/uploads`: uploads that have not ended, in the repositories after one.
    Uploads(Option<String>),
}

/// Which repositories are listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepositoriesRequest {
    /// What names begin with: empty, or one or several parts of a name, each with a slash.
    pub under: String,
    /// A text in lower case that names contain. Without it, one level of names is listed.
    pub search: Option<String>,
    /// The entry after which the page begins; it need not exist.
    pub last: Option<String>,
    /// The most entries.
    pub limit: usize,
}

/// Which tags are listed, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagsRequest {
    /// By what they are sorted.
    pub sort: TagOrder,
    /// Whether the last comes first.
    pub descending: bool,
    /// A text in lower case that names contain.
    pub search: Option<String>,
    /// How many are left out at the beginning.
    pub offset: usize,
    /// The most tags.
    pub limit: usize,
}

/// By what tags are sorted; equal ones by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagOrder {
    /// The bytes of their names.
    Name,
    /// When they were pushed.
    Pushed,
    /// The size of what they lead to.
    Size,
}

impl TagOrder {
    /// As it is in queries and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Pushed => "pushed",
            Self::Size => "size",
        }
    }
}

impl View {
    /// The path, without query.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Registry => REGISTRY.to_owned(),
            Self::Repositories(_) => REPOSITORIES.to_owned(),
            Self::Tags(name, _) => format!("/v2/{name}/_roadstead/tags"),
            Self::Image(name, reference, _) => format!("/v2/{name}/_roadstead/image/{reference}"),
            Self::Uploads(_) => UPLOADS.to_owned(),
            Self::Deletion(name, _) => format!("/v2/{name}/_roadstead/deletion"),
        }
    }
}

/// The path of [`View::Registry`].
pub(super) const REGISTRY: &str = "/v2/_roadstead/ui/registry";

/// The path of [`View::Repositories`].
pub(super) const REPOSITORIES: &str = "/v2/_roadstead/repositories";

/// The path of [`View::Uploads`].
pub(super) const UPLOADS: &str = "/v2/_roadstead/uploads";
