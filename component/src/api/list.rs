//! Lists: tags (end-8) and Docker's catalog.

use super::{Answer, Registry, insert, internal, json};
use crate::store::{Page as Names, Storage, StorageError};
use crate::{Body, Error, Page, Route};
use http::Response;
use http::header;
use roadstead_oci::RepositoryName;
use serde_json::json;

impl<S: Storage> Registry<S> {
    pub(super) async fn tags(&self, name: &RepositoryName, page: Page) -> Answer<S> {
        let names = self.store.tags(name, page.last.as_deref(), page.size.get()).await;
        let names = names.map_err(|error| match error {
            StorageError::NotFound => Error::NameUnknown(name.clone()),
            error => internal(error),
        })?;
        let body = json!({ "name": name.as_str(), "tags": names.names });
        Ok(list(&Route::Tags(name.clone(), page.clone()), &page, &names, &body))
    }

    pub(super) async fn catalog(&self, page: Page) -> Answer<S> {
        let names = self.store.repositories(page.last.as_deref(), page.size.get()).await;
        let names = names.map_err(internal)?;
        let body = json!({ "repositories": names.names });
        Ok(list(&Route::Catalog(page.clone()), &page, &names, &body))
    }
}

/// A page, and the way to the next one. An empty page that was asked for
/// (`n=0`) leads nowhere.
fn list<D>(
    route: &Route,
    page: &Page,
    names: &Names,
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
