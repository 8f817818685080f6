//! What the registry's page shows: JSON that is read only.
//!
//! What a caller may do is told by the rules and settings, whatever their token grants: they can
//! get another one.

use super::maintenance::answer;
use super::{Answer, Registry, internal};
use crate::view::{Can, VERSION};
use crate::{Error, View};
use roadstead_access::{Action, Caller};
use roadstead_oci::{Reference, RepositoryName};
use roadstead_storage::{Storage, StorageError};
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the page says of the registry as a whole.
#[derive(Debug, Serialize)]
struct RegistryView<'a> {
    version: u32,
    name: &'static str,
    release: &'static str,
    user: Option<&'a str>,
    authentication: &'static str,
    can: CanInRegistry,
    storage: &'static str,
    read_only: bool,
    /// Of operators alone.
    settings: Option<Vec<Setting<'a>>>,
}

/// What a caller may do in the registry as a whole.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are fields of JSON")]
struct CanInRegistry {
    catalog: bool,
    delete: bool,
    maintain: bool,
    collect: bool,
}

#[derive(Debug, Serialize)]
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

/// How many requests of the page an instance answers at once: each may read for seconds, and keep some
/// tens of MiB meanwhile.
///
/// Limit: requests of the page that an instance answers at once; test: `views_take_turns`.
const AT_ONCE: usize = 4;

/// One of the requests of the page that this instance answers at once.
struct ViewTurn<'a>(&'a AtomicUsize);

impl<'a> ViewTurn<'a> {
    /// # Errors
    /// [`Error::Viewing`] when there are as many as can be.
    fn take(taken: &'a AtomicUsize) -> Result<Self, Error> {
        let turn = (taken.fetch_add(1, Ordering::Relaxed) < AT_ONCE).then(|| Self(taken));
        turn.ok_or_else(|| {
            taken.fetch_sub(1, Ordering::Relaxed);
            Error::Viewing
        })
    }
}

impl Drop for ViewTurn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: Storage> Registry<S> {
    pub(super) async fn view(&self, view: View, caller: &Caller) -> Answer<S> {
        let _turn = ViewTurn::take(&self.viewing)?;
        match view {
            View::Registry => answer(&self.registry_view(caller)),
            View::Repositories(request) => {
                let sees = |name: &RepositoryName| self.gate.may_see(caller, name);
                let found = self.store.repositories_view(&request, sees).await;
                answer(&found.map_err(internal)?)
            }
            View::Tags(name, request) => {
                let can = self.can(caller, &name);
                let found = self.store.tags_view(&name, &request, can).await;
                answer(&found.map_err(|error| match error {
                    StorageError::NotFound => Error::NameUnknown(name.clone()),
                    error => internal(error),
                })?)
            }
            View::Image(name, reference, platform) => {
                let can = self.can(caller, &name);
                let found = self.store.image_view(&name, &reference, platform.as_deref(), can);
                answer(&found.await.map_err(|error| unknown(error, reference))?)
            }
            View::Uploads(after) => {
                answer(&self.store.uploads_view(after).await.map_err(internal)?)
            }
            View::Deletion(name, tags) => {
                answer(&self.store.deletion_view(&name, &tags).await.map_err(internal)?)
            }
        }
    }

    fn registry_view<'a>(&'a self, caller: &'a Caller) -> RegistryView<'a> {
        let deletes = self.deletes();
        let maintain = self.gate.could_maintain(caller) && (deletes || !self.gate.is_open());
        let settings = self.switches.shown.iter();
        let settings = settings.map(|(name, value)| Setting { name, value }).collect();
        RegistryView {
            version: VERSION,
            name: "Roadstead",
            release: env!("CARGO_PKG_VERSION"),
            user: caller.subject.user.as_deref(),
            authentication: self.gate.authentication(),
            can: CanInRegistry {
                catalog: self.gate.could_list(caller),
                delete: deletes,
                maintain,
                collect: maintain && deletes && self.switches.collection.is_some(),
            },
            storage: if self.store.storage.marker().is_some() { "bucket" } else { "directory" },
            read_only: self.switches.read_only,
            settings: maintain.then_some(settings),
        }
    }

    /// What a caller may do in a repository.
    fn can(&self, caller: &Caller, name: &RepositoryName) -> Can {
        Can {
            push: !self.switches.read_only && self.gate.could(caller, Action::Push, name),
            delete: self.deletes() && self.gate.could(caller, Action::Delete, name),
        }
    }

    /// Whether anything can be deleted at all.
    pub(super) fn deletes(&self) -> bool {
        self.switches.delete && !self.switches.read_only
    }
}

fn unknown(error: StorageError, reference: Reference) -> Error {
    match error {
        StorageError::NotFound => Error::ManifestUnknown(reference),
        error => internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, ViewTurn};
    use crate::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn views_take_turns() {
        let taken = AtomicUsize::new(0);
        let mut turns: Vec<_> = (0..AT_ONCE).map(|_| ViewTurn::take(&taken).ok()).collect();
        assert!(turns.iter().all(Option::is_some));
        for _ in 0..3 {
            assert!(matches!(ViewTurn::take(&taken), Err(Error::Viewing)));
        }
        turns.pop();
        turns.push(ViewTurn::take(&taken).ok());
        assert!(turns.iter().all(Option::is_some));
        turns.clear();
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }
}
