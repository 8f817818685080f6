//! A cache of small answers in front of the component, as any web server has
//! one in front of an application (RFC 9111).
//!
//! It knows no repositories: what may be kept, and for how long, and what a write
//! outdates, the component says by [`Directive`]s. The host removes them from
//! every response.
//!
//! # Whose answers
//! What is kept is the same for all who may have it; who may is not kept with
//! it. Where the component tells clients apart, it grants the same credentials
//! (or none) to ask for the same again, for a while. Such a grant is for these credentials, this method and this path alone, and ends
//! when users change. Without one, a request is the component's to judge.
//!
//! # No answer is older than a write
//! Purges are counted. An answer is kept with the count at which its request
//! began, and counts as long as no purge of its key has a higher one: neither
//! what was kept before a write nor what was read while it was under way is
//! given after it has been answered. A write that is not answered, because its
//! client or its instance went away, outdates everything. Writers that do not
//! pass through here are not seen; the component's times bound how long.

use crate::behind::store::full;
use crate::front::peer::Peer;
use crate::front::service;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use quick_cache::Weighter;
use roadstead_access::{Cache as Credentials, Fingerprint};
use roadstead_bridge::cache::Directive;
use roadstead_oci::ByteRange;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime_wasi_http::WasiBody;

/// Bytes of all answers that are kept.
const SIZE: u64 = 24 * 1024 * 1024;

/// Bytes of one answer that is kept, at most.
const ENTRY_LIMIT: u64 = 256 * 1024;

/// What an answer weighs besides its body, in bytes, about.
const OVERHEAD: u64 = 2 * 1024;

/// Answers of which there is room to know, about; more are kept if they are
/// small.
const ENTRIES: usize = 4096;

/// Longest path and query of an answer that is kept, in bytes.
const PATH_LIMIT: usize = 1024;

/// Keys share so many counts of purges: two keys with the same one outdate
/// each other's answers, which costs time and nothing else.
const SLOTS: usize = 4096;

/// Grants that are remembered at a time, about.
const GRANTS: usize = 16 * 1024;

/// The longest that an answer or a grant is kept, whatever the component says.
const LONGEST: Duration = Duration::from_mins(1);

/// Answers that can be given again.
pub(crate) struct Cache {
    entries: quick_cache::sync::Cache<String, Arc<Entry>, Weight>,
    /// How many purges there were.
    purges: AtomicU64,
    /// By a key's hash: the number of its last purge.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    grants: quick_cache::sync::Cache<Fingerprint, Grant>,
    /// Hashes credentials, under a key that no one knows.
    credentials: Credentials<()>,
    /// Counts how often users changed.
    generation: Arc<AtomicU64>,
}

/// Until when, and for which generation of users.
#[derive(Clone, Copy)]
struct Grant {
    until: Instant,
    generation: u64,
}

/// Whom a request is from, as far as that matters.
#[derive(Clone, Copy)]
pub(crate) enum Asker {
    /// The component tells no one apart.
    Anyone,
    /// Who sends these credentials, or none.
    Known { fingerprint: Fingerprint, generation: u64 },
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

struct Entry {
    headers: HeaderMap,
    /// Nothing if only the head is known.
    body: Option<Bytes>,
    slot: usize,
    /// How many purges there had been when its request began.
    purges: u64,
    until: Instant,
}

#[derive(Clone)]
struct Weight;

impl Weighter<String, Arc<Entry>> for Weight {
    fn weight(&self, path: &String, entry: &Arc<Entry>) -> u64 {
        let body = entry.body.as_ref().map_or(0, Bytes::len);
        OVERHEAD + (path.len() + body) as u64
    }
}

/// A request that is under way.
pub(crate) struct UnderWay<'a> {
    cache: &'a Cache,
    kind: Kind,
}

enum Kind {
    /// Its answer may be kept, for this path, by this count of purges.
    Read { path: Option<String>, head: bool, purges: u64, asker: Asker },
    /// Its answer says what is outdated.
    Write { answered: bool },
}

impl Cache {
    /// An empty cache. `generation` counts how often users changed.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn new(generation: Arc<AtomicU64>) -> anyhow::Result<Self> {
        Ok(Self {
            entries: quick_cache::sync::Cache::with_weighter(ENTRIES, SIZE, Weight),
            purges: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            grants: quick_cache::sync::Cache::new(GRANTS),
            credentials: Credentials::new().map_err(anyhow::Error::msg)?,
            generation,
        })
    }

    /// Whom a request is from, where the component tells clients apart.
    /// Nothing if its credentials make no sense.
    pub(crate) fn asker<B>(&self, request: &Request<B>, peer: &Peer) -> Option<Asker> {
        let generation = self.generation.load(Ordering::Acquire);
        let mut sent = request.headers().get_all(header::AUTHORIZATION).iter();
        let authorization = sent.next().map_or(Ok(""), HeaderValue::to_str).ok()?;
        if sent.next().is_some() {
            return None;
        }
        // Who shows a certificate is someone else than who does not.
        let (shown, name) = match &peer.certificate {
            Some(name) => ("certificate", name.as_str()),
            None => ("", ""),
        };
        let path = path(request.uri())?;
        let method = request.method().as_str();
        let fingerprint = self.credentials.fingerprint(&[authorization, shown, name, method, path]);
        Some(Asker::Known { fingerprint, generation })
    }

    /// The answer to a request, if it is kept and its sender may have it.
    pub(crate) fn answer<B>(
        &self,
        request: &Request<B>,
        asker: Asker,
    ) -> Option<Response<WasiBody>> {
        let head = request.method() == Method::HEAD;
        if !may_be_shared(request) {
            return None;
        }
        let entry = self.entries.get(path(request.uri())?)?;
        let valid = self.slots[entry.slot].load(Ordering::Acquire) <= entry.purges
            && Instant::now() < entry.until;
        let body = match &entry.body {
            _ if !valid || !self.granted(asker) => return None,
            None if !head => return None,
            body => body.clone().filter(|_| !head),
        };
        entry.respond(request.headers(), body.unwrap_or_default())
    }

    /// A request that the component answers now.
    pub(crate) fn begin<B>(&self, request: &Request<B>, asker: Asker) -> UnderWay<'_> {
        let kind = if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            let whole = !request.headers().contains_key(header::RANGE);
            let path = path(request.uri()).filter(|_| whole && may_be_shared(request));
            Kind::Read {
                path: path.map(str::to_owned),
                head: request.method() == Method::HEAD,
                purges: self.purges.load(Ordering::Acquire),
                asker,
            }
        } else {
            Kind::Write { answered: false }
        };
        UnderWay { cache: self, kind }
    }

    /// Takes out of an answer what is meant for a cache, and keeps nothing.
    pub(crate) fn strip(mut response: Response<WasiBody>) -> Response<WasiBody> {
        drop(Directive::take(response.headers_mut()));
        response
    }

    fn granted(&self, asker: Asker) -> bool {
        let Asker::Known { fingerprint, generation } = asker else { return true };
        let grant = self.grants.get(&fingerprint);
        grant.is_some_and(|grant| grant.generation == generation && Instant::now() < grant.until)
    }

    fn slot(&self, key: &[u8]) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SLOTS as u64).unwrap_or_default()
    }

    fn purge(&self, slot: usize) {
        let number = self.purges.fetch_add(1, Ordering::AcqRel) + 1;
        self.slots[slot].fetch_max(number, Ordering::AcqRel);
    }
}

impl UnderWay<'_> {
    /// What the client gets of the component's answer. It is kept if it may
    /// be, and whatever it outdates is outdated from now on.
    pub(crate) async fn answered(mut self, mut response: Response<WasiBody>) -> Response<WasiBody> {
        let directive = Directive::take(response.headers_mut());
        match (&mut self.kind, directive) {
            (Kind::Write { answered }, directive) => {
                *answered = true;
                if let Some(Directive::Purge { key }) = directive {
                    self.cache.purge(self.cache.slot(key.as_bytes()));
                }
                response
            }
            (
                Kind::Read { path, head, purges, asker },
                Some(Directive::Keep { key, ttl, grant }),
            ) => {
                if let Asker::Known { fingerprint, generation } = *asker
                    && !grant.is_zero()
                {
                    let until = Instant::now() + grant.min(LONGEST);
                    self.cache.grants.insert(fingerprint, Grant { until, generation });
                }
                let Some(path) = path.take() else { return response };
                let (head, purges) = (*head, *purges);
                let slot = self.cache.slot(key.as_bytes());
                self.cache.keep(path, head, slot, purges, ttl, response).await
            }
            (Kind::Read { .. }, _) => response,
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if matches!(self.kind, Kind::Write { answered: false }) {
            (0..SLOTS).for_each(|slot| self.cache.purge(slot));
        }
    }
}

impl Cache {
    async fn keep(
        &self,
        path: String,
        head: bool,
        slot: usize,
        purges: u64,
        time: Duration,
        response: Response<WasiBody>,
    ) -> Response<WasiBody> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let fits = length.is_some_and(|length| length <= ENTRY_LIMIT) || head;
        if response.status() != StatusCode::OK || !fits {
            return response;
        }
        let (parts, body) = response.into_parts();
        let mut bytes = None;
        if !head {
            match body.collect().await {
                Ok(collected) => bytes = Some(collected.to_bytes()),
                Err(error) => {
                    tracing::error!("the component's answer broke off: {error}");
                    return service::failed();
                }
            }
        }
        let entry = Entry {
            headers: parts.headers.clone(),
            body: bytes.clone(),
            slot,
            purges,
            until: Instant::now() + time.min(LONGEST),
        };
        self.entries.insert(path, Arc::new(entry));
        Response::from_parts(parts, full(bytes.unwrap_or_default()))
    }
}

impl Entry {
    /// The answer to a request with these headers. Nothing if it takes a range
    /// that cannot be given: to say so is the component's.
    fn respond(&self, asked: &HeaderMap, body: Bytes) -> Option<Response<WasiBody>> {
        if let Some(etag) = self.headers.get(header::ETAG)
            && asked.get_all(header::IF_NONE_MATCH).iter().any(|held| holds(held, etag))
        {
            // What a 304 lacks of the headers is about the body.
            let mut response = Response::new(full(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = self.headers.clone();
            for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::ACCEPT_RANGES] {
                response.headers_mut().remove(name);
            }
            return Some(response);
        }
        let range =
            asked.get(header::RANGE).filter(|_| self.headers.contains_key(header::ACCEPT_RANGES));
        let range = range.and_then(|range| ByteRange::parse(range.to_str().ok()?));
        let Some(range) = range.filter(|_| !body.is_empty()) else {
            let mut response = Response::new(full(body));
            *response.headers_mut() = self.headers.clone();
            return Some(response);
        };
        let size = body.len() as u64;
        let part = range.resolve(size)?;
        let (start, end) = (usize::try_from(part.start).ok()?, usize::try_from(part.end).ok()?);
        let mut response = Response::new(full(body.slice(start..end)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        *headers = self.headers.clone();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
        let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&content_range).ok()?);
        Some(response)
    }
}

/// Whether a request is one whose answer does not depend on more than its path
/// and its sender.
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

/// Whether a client holds the answer that has this `ETag`.
fn holds(held: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(held), Ok(etag)) = (held.to_str(), etag.to_str()) else { return false };
    held.split(',').map(str::trim).any(|held| held == "*" || held.trim_start_matches("W/") == etag)
}
