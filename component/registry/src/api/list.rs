//! Lists: tags (end-8) and Docker's catalog.

use super::{Answer, Registry, insert, internal, json};
use crate::{Body, Error, PageRequest, Route};
use http::Response;
use http::header;
use roadstead_access::Caller;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Holding, NameList, NamesQuery, Page, Storage, StorageError};
use serde_json::json;

/// Repositories that are examined in one step, once it is known that the caller
/// may not see all of them.
const STEP: usize = 1000;

impl<S: Storage> Registry<S> {
    pub(super) async fn tags(&self, name: &RepositoryName, page: PageRequest) -> Answer<S> {
        let names = self.store.tags(name, page.last.as_deref(), page.size.get()).await;
        let names = names.map_err(|error| match error {
            StorageError::NotFound => Error::NameUnknown(name.clone()),
            error => internal(error),
        })?;
        let body = json!({ "name": name.as_str(), "tags": names.names });
        Ok(list(&Route::Tags(name.clone(), page.clone()), &page, &names, &body))
    }

    /// One page of the repositories that the caller may see, however many
    /// others have to be skipped.
    pub(super) async fn catalog(&self, page: PageRequest, caller: &Caller) -> Answer<S> {
        let size = page.size.get();
        let mut names = Page::default();
        let mut last = page.last.clone();
        let mut step_size = size + 1;
        // One name beyond the page tells whether there is a next page.
        while names.names.len() <= size {
            let query = NamesQuery {
                list: NameList::Repositories(Holding::Manifests),
                values: false,
                after: last,
                limit: step_size,
            };
            let step = self.store.storage.names(&query).await.map_err(internal)?;
            last = step.names.last().cloned();
            let visible = step.names.into_iter().filter(|name| {
                RepositoryName::parse(name).is_ok_and(|name| self.gate.may_see(caller, &name))
            });
            names.names.extend(visible.take(size + 1 - names.names.len()));
            if !step.more {
                break;
            }
            step_size = STEP;
        }
        names.more = names.names.len() > size;
        names.names.truncate(size);
        let body = json!({ "repositories": names.names });
        Ok(list(&Route::Catalog(page.clone()), &page, &names, &body))
    }
}

/// A page, and the link to the next one. A page that is empty by request
/// (`n=0`) has no link.
fn list<D>(
    route: &Route,
    page: &PageRequest,
    names: &Page,
    body: &serde_json::Value,
) -> Response<Body<D>> {
    let mut response = json(body.to_string().into_bytes());
    if let (true, Some(last)) = (names.more, names.names.last()) {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("n", &page.size.get().to_string())
            .append_pair("last", last)
            .finish();
        let link = format!("<{}?{query}>; rel=\"next\"", route.path());
        insert(response.headers_mut(), header::LINK, &link);
    }
    response
}
