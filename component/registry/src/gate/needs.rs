//! What a request needs to be allowed.

use crate::{BlobAction, ManifestAction, Route};
use roadstead_config::Action;
use roadstead_oci::RepositoryName;

/// What a request needs to be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need<'a> {
    /// Nothing: anyone may ask.
    Nothing,
    /// To be someone, or that nobody needs to be.
    Login,
    /// To see the list of repositories.
    Catalog,
    /// To do something with a repository.
    Repository(&'a RepositoryName, Action),
}

impl<'a> Need<'a> {
    /// What a route needs; there is no other place where that is said.
    /// Whether another repository's blob may be mounted is asked besides.
    pub fn of(route: &'a Route) -> Self {
        match route {
            Route::Root | Route::Token(_) => Self::Nothing,
            Route::Base => Self::Login,
            Route::Catalog(_) => Self::Catalog,
            Route::Tags(name, _)
            | Route::Referrers(name, ..)
            | Route::Manifest(name, _, ManifestAction::Get | ManifestAction::Head)
            | Route::Blob(name, _, BlobAction::Get | BlobAction::Head) => {
                Self::Repository(name, Action::Pull)
            }
            Route::Manifest(name, _, ManifestAction::Put(_))
            | Route::StartUpload(name, _)
            | Route::Upload(name, ..) => Self::Repository(name, Action::Push),
            Route::Manifest(name, _, ManifestAction::Delete)
            | Route::Blob(name, _, BlobAction::Delete) => Self::Repository(name, Action::Delete),
        }
    }
}
