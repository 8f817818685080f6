//! A container registry's protocol.
//!
//! [`Registry::handle`] takes an HTTP request and gives its response, as the
//! [OCI distribution specification 1.1][spec] and the Docker Registry HTTP API
//! V2 say. It is plain Rust over `http` types and the storage port
//! [`roadstead_storage::Storage`], without WASI.
//!
//! `route` ← `api` → `store` → storage: `api` sees no keys, `store` sees no
//! headers.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod api;
mod body;
mod challenge;
mod collect;
mod error;
mod gate;
mod over_quota;
mod route;
mod scrub;
mod store;
mod time;
mod view;

pub use api::{Registry, Switches, refusal};
pub use body::Body;
pub use challenge::{Reason, Scope};
pub use collect::{Progress, Report, SliceOptions, TOMBSTONE_KEPT};
pub use error::{Error, ImmutableTag};
pub use gate::{Ask, Gate};
pub use over_quota::{OverQuota, Resource};
pub use route::{
    BlobAction, Caching, CollectionQuery, Effect, Event, HistoryRequest, MAX_TAGS,
    MOST_REPOSITORIES, MOST_TAGS, ManifestAction, PageRequest, PageRoute, Permission,
    ReferrersRequest, RepositoriesRequest, Route, RouteClass, StartUpload, TagOrder, TagsRequest,
    TokenParameters, UploadAction, VIEW_PAGE, View,
};
