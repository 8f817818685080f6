//! The endpoints, one file per resource.

mod blob;
mod browsers;
mod caching;
mod change;
mod collect;
mod discover;
mod health;
mod history;
mod left;
mod list;
mod maintenance;
mod manifest;
mod page;
mod referrers;
mod repository;
mod retention;
mod scrub;
mod token;
mod upload;
mod view;

use crate::store::Store;
use crate::{Body, Effect, Error, Gate, Permission, Progress, Route, SliceOptions};
use caching::CacheDirective;
use change::Intent;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use roadstead_access::{Caller, Immutable, Quotas, Retention};
use roadstead_bridge::account::{REQUEST_ID, request_id};
use roadstead_bridge::{Account, Services, log};
use roadstead_config::{Collection, Config, Page, StoredEvents};
use roadstead_oci::conditional;
use roadstead_storage::{RequestBody as _, Storage, StorageError};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::SystemTime;
use uuid::Uuid;

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The result of an endpoint.
type Answer<S> = Result<Response<Body<<S as Storage>::Download>>, Error>;

/// `Cache-Control` of content that is requested by digest: it is immutable, so
/// clients may cache it for a year (in seconds).
const IMMUTABLE: &str = "max-age=31536000, immutable";

/// `Cache-Control` of content that is requested by tag: the tag can change at
/// any time, so caches must revalidate it.
const REVALIDATE: &str = "no-cache";

/// `Content-Security-Policy` of every response. What a client stored, others open
/// in a browser, where it is of the registry's origin: with this, and `nosniff`,
/// a page, an image or a script in it is inert. The media type stays what was
/// pushed, even if it is `text/html` from a time when that was accepted: clients
/// compare it with what they expect.
const INERT: &str = "sandbox; default-src 'none'";

/// `Retry-After` if too many passwords are being verified, in seconds.
const BUSY_RETRY_AFTER: &str = "1";

/// `Retry-After` if the storage is unavailable, in seconds: by then the
/// registry itself has retried for a while.
const STORAGE_RETRY_AFTER: &str = "5";

/// What the operator has enabled, for all callers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch")]
pub struct Switches {
    /// Manifests, tags and blobs can be deleted.
    pub delete: bool,
    /// The registry is read-only.
    pub read_only: bool,
    /// How garbage is collected, if it is.
    pub collection: Option<Collection>,
    /// Image manifests may name blobs that the repository does not hold.
    pub sparse: bool,
    /// Which tags never change.
    pub immutable: Immutable,
    /// How much repositories may hold.
    pub quotas: Quotas,
    /// Which tags expire.
    pub retention: Retention,
    /// A native host in front may cache responses. Not over a bucket, where
    /// writes by other instances do not invalidate them.
    pub cached: bool,
    /// A native host in front logs who sent a request.
    pub reported: bool,
    /// A native host in front notifies others of what requests change.
    pub notifies: bool,
    /// Which events wait in the storage for a native host, if one is not here.
    pub stored_events: StoredEvents,
    /// The URL by which clients reach the registry, if the settings have one.
    pub host: Option<String>,
    /// A notice that every response carries (specification, "Warnings").
    pub warning: Option<String>,
    /// To whom the page for browsers is served.
    pub page: Page,
    /// Settings that the page shows to operators, by their keys; no secrets.
    pub shown: Vec<(String, String)>,
}

impl Switches {
    /// The switches that the settings turn on.
    pub fn new(config: &Config, services: Services) -> Self {
        Self {
            delete: config.delete_enabled,
            read_only: config.read_only,
            collection: config.collection,
            sparse: config.sparse_images,
            immutable: config.immutable.clone(),
            quotas: config.quotas.clone(),
            retention: config.retention.clone(),
            cached: services.front && services.storage,
            reported: services.front,
            notifies: services.front && services.notifications,
            stored_events: config.notifications.stored,
            host: config.host.clone(),
            warning: config.warning.clone(),
            // Without a host that says so, it is not known who can reach it.
            page: config.page.unwrap_or_default(),
            shown: shown_settings(config),
        }
    }

    /// Whether others are notified of what requests change: by the native host, or by another one
    /// that finds it in the storage.
    fn tells_changes(&self) -> bool {
        self.notifies || (!self.reported && self.stored_events != StoredEvents::Off)
    }

    /// The same, with settings that the page shows besides, by their keys.
    #[must_use]
    pub fn showing(mut self, given: Vec<(String, String)>) -> Self {
        let others = given.into_iter();
        let is_new = |(key, _): &(String, String)| self.shown.iter().all(|(name, _)| name != key);
        let others: Vec<_> = others.filter(is_new).collect();
        self.shown.extend(others);
        self
    }
}

/// What some settings come to that the page shows to operators.
fn shown_settings(config: &Config) -> Vec<(String, String)> {
    let shown = [
        ("storage.delete.enabled", config.delete_enabled),
        ("storage.maintenance.gc.enabled", config.collection.is_some()),
        ("storage.maintenance.readonly.enabled", config.read_only),
    ];
    let mut shown = shown.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec();
    shown.push(("ui.enabled".to_owned(), config.page.unwrap_or_default().as_str().to_owned()));
    shown
}

/// A container registry.
#[derive(Debug)]
pub struct Registry<S> {
    store: Store<S>,
    switches: Switches,
    gate: Gate,
    /// Whether a request does a slice of garbage collection.
    collecting: AtomicBool,
    /// Whether a request does a slice of a scrub.
    scrubbing: AtomicBool,
    /// Requests of the page that are being answered.
    viewing: AtomicUsize,
}

/// A request whose route is known.
struct Call<U> {
    headers: HeaderMap,
    body: Option<U>,
}

impl<S: Storage> Registry<S> {
    /// A registry that keeps its content in `storage`, and serves the requests
    /// that `gate` permits.
    pub fn new(storage: S, switches: Switches, gate: Gate) -> Self {
        let store = Store::new(storage, &switches);
        let (collecting, scrubbing) = (AtomicBool::new(false), AtomicBool::new(false));
        let viewing = AtomicUsize::new(0);
        Self { store, switches, gate, collecting, scrubbing, viewing }
    }

    /// Handles a request. `None` is a body that is known to be empty.
    pub async fn handle(&self, request: Request<Option<S::Upload>>) -> Response<Body<S::Download>> {
        let (parts, body) = request.into_parts();
        let mut call = Call { headers: parts.headers, body };
        let (mut directive, mut account) = (None, Account::default());
        let (mut intent, mut left) = (None, None);
        let answer = match Route::parse(&parts.method, &parts.uri) {
            Ok(route) => match self.pass(&route, &parts.method, &call.headers).await {
                Ok(caller) => {
                    account.user.clone_from(&caller.subject.user);
                    if self.switches.cached {
                        directive =
                            CacheDirective::of(&route, &parts.uri, &caller, SystemTime::now());
                    }
                    intent = self.intent(&route);
                    if intent.is_some() && !self.switches.reported {
                        let host = self.switches.host.as_deref();
                        left = Some(left::request(&parts.method, &parts.uri, &call.headers, host));
                    }
                    self.answer(route, caller, &mut call).await
                }
                Err(error) => {
                    if self.switches.reported {
                        account.claimed = self.gate.claimed(&error, &call.headers);
                    }
                    Err(error)
                }
            },
            Err(error) => Err(error),
        };
        let mut response = answer.unwrap_or_else(|error| {
            account.code = Some(error.status_and_code().1.as_str().to_owned());
            refusal(error, request_id(&call.headers))
        });
        account.change = intent.and_then(|intent| intent.carried_out(&response));
        if let Some(request) = left
            && let Some(change) = account.change.take()
        {
            self.leave(change, request, account.user.clone()).await;
        }
        if self.switches.reported {
            account.write(response.headers_mut());
        }
        if let Some(directive) = directive {
            directive.write(&mut response);
        }
        // The client may still be sending the part of the body that was not
        // read.
        if let Some(body) = call.body.take() {
            body.drain().await;
        }
        let headers = response.headers_mut();
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // The page has one of its own.
        let policy = headers.entry(header::CONTENT_SECURITY_POLICY);
        policy.or_insert(HeaderValue::from_static(INERT));
        if let Some(warning) = &self.switches.warning {
            insert(headers, header::WARNING, &format!("299 - \"{warning}\""));
        }
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::Empty;
        }
        response
    }

    /// Whether pulls wait to be recorded, or others to be notified of them.
    pub fn has_pulls(&self) -> bool {
        self.store.has_pulls() || self.store.has_left_pulls()
    }

    /// Records what was pulled, after the responses: no client waits for it. What fails is left to
    /// later pulls.
    pub async fn record_pulls(&self) {
        self.store.record_pulls().await;
        self.write_pulls().await;
    }

    /// Does a slice of garbage collection.
    ///
    /// # Errors
    /// Any error of the storage ends the run, without anything being removed.
    pub async fn collect_slice(&self, order: &SliceOptions) -> Result<Progress, StorageError> {
        self.store.collect(order).await
    }

    /// What a request is going to do, if others are notified of it.
    fn intent(&self, route: &Route) -> Option<Intent> {
        if !self.switches.tells_changes() {
            return None;
        }
        // A native host sees what is read.
        let pulls = !self.switches.reported && self.switches.stored_events == StoredEvents::All;
        Intent::of(route, pulls)
    }

    /// Authenticates and authorizes a request. All access decisions are made
    /// here, except for the source of a mount and for the entries of the
    /// catalog.
    async fn pass(
        &self,
        route: &Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Caller, Error> {
        browsers::look_at(method, headers, self.switches.page, self.switches.host.as_deref())?;
        let caller = self.gate.caller(headers).await?;
        self.gate.permit(&caller, route, headers)?;
        self.switched_on(route)?;
        Ok(caller)
    }

    /// Checks that the operator has enabled what the request asks for.
    fn switched_on(&self, route: &Route) -> Result<(), Error> {
        match route.class().effect {
            Effect::Write | Effect::Delete if self.switches.read_only => Err(Error::ReadOnly),
            Effect::Delete if !self.switches.delete => Err(Error::DeleteDisabled),
            // Where anybody may ask, work that lasts is for those who let anybody delete.
            Effect::Read
                if route.class().permission == Permission::Maintenance
                    && self.gate.is_open()
                    && !self.switches.delete =>
            {
                Err(Error::DeleteDisabled)
            }
            Effect::Read | Effect::Write | Effect::Delete => Ok(()),
        }
    }

    async fn answer(&self, route: Route, caller: Caller, call: &mut Call<S::Upload>) -> Answer<S> {
        match route {
            Route::Root => Ok(self.root(call)),
            Route::Live => Ok(empty(StatusCode::OK)),
            Route::Ready => self.ready().await,
            Route::Base => Ok(json(b"{}".to_vec())),
            Route::Catalog(page) => self.catalog(page, &caller).await,
            Route::Collect => self.collect(call).await,
            Route::Collection(query) => self.collection(query).await,
            Route::Events => self.events(call).await,
            Route::Expiring(after) => self.expiring(after).await,
            Route::Retained(name, tag) => self.retained(&name, &tag).await,
            Route::Scrub => self.scrub(call).await,
            Route::Token(request) => self.token(request, caller, call).await,
            Route::Repository(name) => self.delete_repository(&name).await,
            Route::Tags(name, page) => self.tags(&name, page).await,
            Route::TagHistory(name, tag, request) => self.tag_history(&name, &tag, request).await,
            Route::Discover(name) => Ok(self.discover(name.as_ref())),
            Route::Page(page) => self.page(page, call),
            Route::View(view) => self.view(view, &caller).await,
            Route::Manifest(name, reference, action) => {
                self.manifest(&name, reference, action, call).await
            }
            Route::Referrers(name, subject, page) => self.referrers(&name, &subject, page).await,
            Route::Blob(name, digest, action) => self.blob(&name, &digest, action, call).await,
            Route::StartUpload(name, start) => self.start_upload(name, start, &caller, call).await,
            Route::Upload(session, action) => self.upload(session, action, call).await,
        }
    }
}

/// The response for an error. Errors that the client did not cause are logged
/// and not shown to the client: the response has the `id` of the request that the log line
/// has, or else one of its own.
pub fn refusal<D>(error: Error, id: Option<&str>) -> Response<Body<D>> {
    let id = error.cause().map(|cause| {
        let id = id.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        eprintln!("{}", log::error(&format!("request {id}: {cause}")));
        id
    });
    let mut response = json(error.body(id.as_deref()));
    if let Some(id) = &id {
        insert(response.headers_mut(), REQUEST_ID, id);
    }
    *response.status_mut() = error.status_and_code().0;
    let headers = response.headers_mut();
    match error {
        Error::MethodNotAllowed(methods) => {
            let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
            insert(headers, header::ALLOW, &names.join(", "));
        }
        Error::DeleteDisabled | Error::CollectionDisabled | Error::ReadOnly => {
            insert(headers, header::ALLOW, "GET, HEAD");
        }
        Error::RangeNotSatisfiable { size } => {
            insert(headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
        }
        Error::Unauthorized { challenge, .. } => {
            insert(headers, header::WWW_AUTHENTICATE, &challenge);
        }
        Error::TooManyAttempts { seconds } => {
            insert(headers, header::RETRY_AFTER, &seconds.to_string());
        }
        Error::Busy => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(BUSY_RETRY_AFTER));
        }
        Error::Collecting | Error::Scrubbing | Error::Viewing => {
            let seconds = HeaderValue::from_static(maintenance::BUSY_RETRY_AFTER);
            headers.insert(header::RETRY_AFTER, seconds);
        }
        // A registry may not be ready because the storage is unavailable.
        Error::Unavailable(_) | Error::StorageReadOnly(_) | Error::NotReady(_) => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(STORAGE_RETRY_AFTER));
        }
        _ => {}
    }
    response
}

fn empty<D>(status: StatusCode) -> Response<Body<D>> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

fn json<D>(body: Vec<u8>) -> Response<Body<D>> {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Sets a header to text that the registry composed of valid parts. Those
/// always give a valid header value; an invalid one would be omitted.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The 304 response, if the client already has the current content (RFC 9110,
/// "If-None-Match"). Its headers are those of the full response.
fn not_modified<D>(headers: &HeaderMap, response: &Response<Body<D>>) -> Option<Response<Body<D>>> {
    let etag = response.headers().get(header::ETAG)?.to_str().ok()?;
    if !has_current(headers, etag) {
        return None;
    }
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    for name in [header::ETAG, header::CACHE_CONTROL, DOCKER_CONTENT_DIGEST] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    Some(answer)
}

/// Whether a client has what this entity tag is of (RFC 9110, "If-None-Match").
fn has_current(headers: &HeaderMap, etag: &str) -> bool {
    let matches = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| conditional::if_none_match(text, etag))
    };
    headers.get_all(header::IF_NONE_MATCH).iter().any(matches)
}

/// The error for a storage failure that no more specific error describes.
fn internal(error: StorageError) -> Error {
    match error {
        StorageError::Aborted => Error::BodyAborted,
        StorageError::Unavailable(cause) => Error::Unavailable(cause),
        StorageError::Full(cause) => Error::StorageFull(cause),
        StorageError::ReadOnly(cause) => Error::StorageReadOnly(cause),
        StorageError::NotFound
        | StorageError::LinkMoved
        | StorageError::Offset(_)
        | StorageError::Busy
        | StorageError::DigestMismatch(_)
        | StorageError::Range(_)
        | StorageError::BodyLength(_)
        | StorageError::Failed(_) => Error::Internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{internal, refusal};
    use roadstead_storage::StorageError;

    /// As they cross the bridge, and with words for the client that tell nothing
    /// of the cause.
    #[test]
    fn storage_errors_have_their_status_and_their_words() {
        let cause = || "write /srv/secret: the cause".to_owned();
        for (error, status, words, retry) in [
            (StorageError::Full(cause()), 507, "is full", false),
            (StorageError::ReadOnly(cause()), 503, "cannot be written", true),
            (StorageError::Unavailable(cause()), 503, "does not serve", true),
            (StorageError::Failed(cause()), 500, "failed", false),
        ] {
            let json = serde_json::to_string(&error).unwrap();
            let error: StorageError = serde_json::from_str(&json).unwrap();
            let error = internal(error);
            let code = if status == 500 { "UNKNOWN" } else { "UNAVAILABLE" };
            let body = String::from_utf8(error.body(Some("id"))).unwrap();
            assert!(body.contains(code) && body.contains(words), "{body}");
            assert!(body.contains(r#""detail":{"request":"id"}"#), "{body}");
            assert!(!body.contains("/srv/secret"), "{body}");
            let response = refusal::<()>(error, Some("id"));
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key("retry-after"), retry, "{status}");
            assert_eq!(response.headers()["x-request-id"], "id", "{status}");
        }
    }
}
