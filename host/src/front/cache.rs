//! A cache of small responses in front of the component, as any web server has
//! one in front of an application (RFC 9111).
//!
//! It knows no repositories: what may be kept, and for how long, and what a
//! write outdates, the component says by [`Directive`]s. The host removes them
//! from every response.
//!
//! # Authorisation
//! A kept response is the same for everyone who may have it. Who may is not kept
//! with it: where the component distinguishes callers, it grants the same
//! credentials (or none) to repeat the request for a while. A grant is for these
//! credentials, this method and this path alone, and ends when the users change.
//! A request without a grant goes to the component.
//!
//! # No response is older than a write
//! Purges are numbered. A response is kept with the number of purges at which
//! its request began, and is valid while none of its keys has a later purge: neither
//! what was kept before a write nor what was read during it is served once the
//! write has been answered. A write without an answer, because the instance
//! trapped or the task ended, purges everything. Writes by other processes are not
//! seen; the times that the component sets bound how long that matters.

use crate::body::full;
use crate::front::cached_response::CachedResponse;
use crate::front::error_response;
use crate::front::peer::Peer;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use quick_cache::Weighter;
use roadstead_access::{CredentialCache, Fingerprint};
use roadstead_bridge::Account;
use roadstead_bridge::cache::Directive;
use roadstead_telemetry::metrics::CacheReading;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime_wasi_http::WasiBody;

/// Bytes of all kept responses.
///
/// Limit: bytes of all cached responses; test: none, the oldest are dropped.
const SIZE_LIMIT: u64 = 24 * 1024 * 1024;

/// Bytes of the largest response that is kept.
///
/// Limit: bytes of a response that is cached; test: none, larger ones are not cached.
const ENTRY_LIMIT: u64 = 256 * 1024;

/// What an entry takes besides path and body, in bytes, estimated.
const OVERHEAD: u64 = 2 * 1024;

/// Number of entries that the cache is laid out for; small ones may be more.
///
/// Limit: cached responses, about; test: none, the oldest are dropped.
const ENTRIES: usize = 4096;

/// Longest path with query of a kept response, in bytes.
///
/// Limit: bytes of the path of a response that is cached; test: none, longer ones are
/// not cached.
const PATH_LIMIT: usize = 1024;

/// Slots that keys are hashed to. Keys in the same slot purge each other's
/// responses, which costs time and nothing else.
const SLOTS: usize = 4096;

/// Number of grants that are kept, about.
///
/// Limit: grants that are kept, about; test: none, the oldest are dropped.
const GRANTS: usize = 16 * 1024;

/// The longest that a response or a grant is kept, whatever the component says.
///
/// Limit: time for which anything is cached; test: none, it would take as long.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Responses and grants that are kept.
pub(crate) struct ResponseCache {
    entries: quick_cache::sync::Cache<String, Arc<CachedResponse>, Weight>,
    /// The number of purges so far.
    purges: AtomicU64,
    /// For each slot, the number of its last purge.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    grants: quick_cache::sync::Cache<Fingerprint, Grant>,
    /// Hashes credentials under a random key.
    credentials: CredentialCache<()>,
    /// Counts changes of the users.
    generation: Arc<AtomicU64>,
}

/// When a grant expires, the generation of users that it is for, and to whom it was given.
#[derive(Clone)]
struct Grant {
    until: Instant,
    generation: u64,
    account: Option<Arc<Account>>,
}

/// What a request needs to be answered from the cache.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Nothing: the component does not distinguish callers.
    Open,
    /// A grant for its credentials, method and path.
    ByGrant { fingerprint: Fingerprint, generation: u64 },
}

impl std::fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseCache")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<String, Arc<CachedResponse>> for Weight {
    fn weight(&self, path: &String, entry: &Arc<CachedResponse>) -> u64 {
        let body = entry.body.as_ref().map_or(0, Bytes::len);
        OVERHEAD + (path.len() + body) as u64
    }
}

/// A request that the component is answering.
pub(crate) struct InFlight<'a> {
    cache: &'a ResponseCache,
    effect: Effect,
}

/// Marks a response that the host made because the component gave none: whatever
/// it was asked to write may have been written.
#[derive(Clone, Copy)]
struct Unanswered;

/// Marks a response as the host's own, after the component gave none.
pub(crate) fn unanswered(mut response: Response<WasiBody>) -> Response<WasiBody> {
    response.extensions_mut().insert(Unanswered);
    response
}

/// Marks a response that is kept: its client may hold the body for longer than the
/// cache does.
#[derive(Clone, Copy)]
pub(super) struct Kept;

enum Effect {
    /// The response may be kept for this path, if there is one.
    Read { path: Option<String>, head: bool, purges: u64, access: Access },
    /// The response says what is outdated.
    Write { answered: bool },
}

impl ResponseCache {
    /// An empty cache. `generation` counts changes of the users.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn new(generation: Arc<AtomicU64>) -> anyhow::Result<Self> {
        Ok(Self {
            entries: quick_cache::sync::Cache::with_weighter(ENTRIES, SIZE_LIMIT, Weight),
            purges: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            grants: quick_cache::sync::Cache::new(GRANTS),
            credentials: CredentialCache::new().map_err(anyhow::Error::msg)?,
            generation,
        })
    }

    /// The grant that a request needs where the component distinguishes callers.
    /// `None` if the request is for the component alone, as its credentials are
    /// malformed or its path is too long.
    pub(crate) fn access<B>(&self, request: &Request<B>, peer: &Peer) -> Option<Access> {
        let generation = self.generation.load(Ordering::Acquire);
        let mut sent = request.headers().get_all(header::AUTHORIZATION).iter();
        let authorization = sent.next().map_or(Ok(""), HeaderValue::to_str).ok()?;
        if sent.next().is_some() {
            return None;
        }
        // The same credentials with and without a certificate are two callers.
        let (kind, name) = match &peer.certificate {
            Some(name) => ("certificate", name.as_str()),
            None => ("", ""),
        };
        let path = path(request.uri())?;
        let method = request.method().as_str();
        let fingerprint = self.credentials.fingerprint(&[authorization, kind, name, method, path]);
        Some(Access::ByGrant { fingerprint, generation })
    }

    /// The response to a request, if it is kept and access is granted, and to whom that is.
    pub(crate) fn respond<B>(
        &self,
        request: &Request<B>,
        access: Access,
    ) -> Option<(Response<WasiBody>, Option<Arc<Account>>)> {
        if !may_be_shared(request) {
            return None;
        }
        let entry = self.entries.get(path(request.uri())?)?;
        let is_outdated = |slot: &usize| self.slots[*slot].load(Ordering::Acquire) > entry.purges;
        let valid = !entry.slots.iter().any(is_outdated) && Instant::now() < entry.until;
        if !valid {
            return None;
        }
        let account = match access {
            Access::Open => None,
            Access::ByGrant { fingerprint, generation } => {
                self.grant(fingerprint, generation)?.account
            }
        };
        let response = entry.respond(request.headers(), request.method() == Method::HEAD)?;
        Some((response, account))
    }

    /// Notes that the component begins to answer a request.
    pub(crate) fn begin<B>(&self, request: &Request<B>, access: Access) -> InFlight<'_> {
        let effect = if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            let whole = !request.headers().contains_key(header::RANGE);
            let path = path(request.uri()).filter(|_| whole && may_be_shared(request));
            Effect::Read {
                path: path.map(str::to_owned),
                head: request.method() == Method::HEAD,
                purges: self.purges.load(Ordering::Acquire),
                access,
            }
        } else {
            Effect::Write { answered: false }
        };
        InFlight { cache: self, effect }
    }

    /// Removes the headers for the cache from a response that is not kept.
    pub(crate) fn strip(mut response: Response<WasiBody>) -> Response<WasiBody> {
        drop(Directive::take(response.headers_mut()));
        response
    }

    /// How full it is, and how often it was purged.
    pub(crate) fn reading(&self) -> CacheReading {
        CacheReading {
            entries: self.entries.len() as u64,
            bytes: self.entries.weight(),
            purges: self.purges.load(Ordering::Relaxed),
        }
    }

    /// The grant for a request, if it is valid.
    fn grant(&self, fingerprint: Fingerprint, generation: u64) -> Option<Grant> {
        let grant = self.grants.get(&fingerprint)?;
        (grant.generation == generation && Instant::now() < grant.until).then_some(grant)
    }

    fn slot(&self, key: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SLOTS as u64).unwrap_or_default()
    }

    fn purge(&self, slot: usize) {
        let number = self.purges.fetch_add(1, Ordering::AcqRel) + 1;
        self.slots[slot].fetch_max(number, Ordering::AcqRel);
    }
}

impl InFlight<'_> {
    /// Takes the component's response and returns the client's. Keeps it if
    /// that is allowed; after a write, purges what it outdates.
    pub(crate) async fn answered(mut self, mut response: Response<WasiBody>) -> Response<WasiBody> {
        let directive = Directive::take(response.headers_mut());
        match (&mut self.effect, directive) {
            (Effect::Write { answered }, directive) => {
                *answered = response.extensions_mut().remove::<Unanswered>().is_none();
                if let Some(Directive::Purge { keys }) = directive {
                    for key in keys {
                        self.cache.purge(self.cache.slot(key.as_bytes()));
                    }
                }
                response
            }
            (
                Effect::Read { path, head, purges, access },
                Some(Directive::Keep { keys, ttl, grant }),
            ) => {
                if let Access::ByGrant { fingerprint, generation } = *access
                    && !grant.is_zero()
                {
                    let until = Instant::now() + grant.min(MAX_AGE);
                    let account = response.extensions().get().map(user);
                    self.cache.grants.insert(fingerprint, Grant { until, generation, account });
                }
                let Some(path) = path.take() else { return response };
                let (head, purges) = (*head, *purges);
                let slots = keys.iter().map(|key| self.cache.slot(key.as_bytes())).collect();
                self.cache.keep(path, head, slots, purges, ttl, response).await
            }
            (Effect::Read { .. }, _) => response,
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if matches!(self.effect, Effect::Write { answered: false }) {
            (0..SLOTS).for_each(|slot| self.cache.purge(slot));
        }
    }
}

impl ResponseCache {
    async fn keep(
        &self,
        path: String,
        head: bool,
        slots: Vec<usize>,
        purges: u64,
        time: Duration,
        response: Response<WasiBody>,
    ) -> Response<WasiBody> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let fits = length.is_some_and(|length| length <= ENTRY_LIMIT) || head;
        let status = response.status();
        if !matches!(status, StatusCode::OK | StatusCode::NOT_FOUND) || !fits {
            return response;
        }
        let (parts, body) = response.into_parts();
        let mut bytes = None;
        if !head {
            match body.collect().await {
                // A copy: the original may be a part of much larger bytes.
                Ok(collected) => bytes = Some(Bytes::copy_from_slice(&collected.to_bytes())),
                Err(error) => {
                    tracing::error!("the component's response ended early: {error}");
                    return error_response::internal();
                }
            }
        }
        let entry = CachedResponse {
            status,
            headers: parts.headers.clone(),
            body: bytes.clone(),
            slots,
            purges,
            until: Instant::now() + time.min(MAX_AGE),
        };
        self.entries.insert(path, Arc::new(entry));
        let mut response = Response::from_parts(parts, full(bytes.unwrap_or_default()));
        response.extensions_mut().insert(Kept);
        response
    }
}

/// Who sent a request, without what concerns its response alone.
fn user(account: &Arc<Account>) -> Arc<Account> {
    Arc::new(Account { user: account.user.clone(), ..Account::default() })
}

/// Whether the response to a request depends on nothing but its method, path
/// and credentials.
fn may_be_shared<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && ![header::CACHE_CONTROL, header::PRAGMA, header::COOKIE]
            .iter()
            .any(|name| headers.contains_key(name))
}

fn path(uri: &Uri) -> Option<&str> {
    let path = uri.path_and_query()?.as_str();
    (path.len() <= PATH_LIMIT).then_some(path)
}
