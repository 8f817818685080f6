//! A container registry's protocol.
//!
//! [`Registry::handle`] takes an HTTP request and gives its response, as the
//! [OCI distribution specification 1.1][spec] and the Docker Registry HTTP API
//! V2 say. It is plain Rust over `http` types and the storage port
//! [`store::Storage`]; WASI is named in the module `guest` alone, which is built
//! for wasm only.
//!
//! `route` ← `api` → `store` → object_store: `api` never sees keys, `store`
//! never sees headers.
//!
//! [spec]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod api;
mod body;
mod error;
mod gate;
#[cfg(target_family = "wasm")]
pub mod guest;
#[cfg(not(target_family = "wasm"))]
pub mod native;
mod route;
pub mod store;

pub use api::{Registry, Switches, refusal};
pub use body::Body;
pub use error::Error;
pub use gate::{Ask, Gate, Need, Reason, Scope};
pub use route::{
    BlobAction, MAX_TAGS, ManifestAction, Page, ReferrersPage, Route, StartUpload, TokenRequest,
    UploadAction,
};
