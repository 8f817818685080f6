//! A stand-in for Google Cloud Storage, written from its documentation: its XML
//! API, with generations and signatures, in memory.
//!
//! The emulators in package registries implement its JSON API, but not the XML
//! multipart uploads that `object_store` sends. So this shows that requests and
//! responses work as Google documents them, and not what Google's servers do
//! beyond that.
//! <https://cloud.google.com/storage/docs/xml-api/reference-methods>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use percent_encoding::percent_decode_str;
use roadstead_kit::requests::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A service account's key, created for tests.
const KEY: &str = include_str!("../../component/access/src/tests/data/rsa.key");
const ACCOUNT: &str = "registry@project.iam.gserviceaccount.com";

/// The host in signed URLs: `object_store` signs for it, whatever the endpoint.
const SIGNED_HOST: &str = "storage.googleapis.com";

/// Largest body of a request, in bytes: larger than a part.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// The minimum size of all parts except the last, in bytes.
const LEAST_PART: usize = 5 * 1024 * 1024;

/// The most keys of a list.
const PAGE: usize = 1000;

/// Generations are times in microseconds.
const FIRST_GENERATION: u64 = 1_700_000_000_000_000;

const GENERATION: &str = "x-goog-generation";
const IF_GENERATION: &str = "x-goog-if-generation-match";
const METADATA: &str = "x-goog-meta-";

/// The server, stopped when dropped.
#[derive(Debug)]
pub struct Gcs {
    address: String,
    /// Seconds by which its clock is ahead.
    ahead: Arc<AtomicU64>,
    _end: oneshot::Sender<()>,
}

impl Gcs {
    /// Starts it. Buckets exist as soon as they are used.
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let key = EncodingKey::from_rsa_pem(KEY.as_bytes())?;
        let key = DecodingKey::from_jwk(&Jwk::from_encoding_key(&key, Algorithm::RS256)?)?;
        let ahead = Arc::new(AtomicU64::new(0));
        let state = State { ahead: Arc::clone(&ahead), ..State::default() };
        let store = Arc::new(Store { key, state: Mutex::new(state) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve(listener, store) => served.unwrap_or_else(|e| eprintln!("{e}")),
                    _ = ended => {}
                }
            });
        });
        Ok(Self { address, ahead, _end: end })
    }

    /// Lets time pass: objects that are written from now on are newer by that.
    pub fn pass(&self, time: Duration) {
        self.ahead.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    /// The settings of a registry with its data in a bucket.
    pub fn settings(&self, bucket: &str) -> Vec<(String, String)> {
        settings(&self.address, bucket)
    }
}

/// The settings of a registry with its data in a bucket of the server at
/// `address`.
pub(crate) fn settings(address: &str, bucket: &str) -> Vec<(String, String)> {
    let key = serde_json::json!({
        "type": "service_account",
        "private_key": KEY,
        "private_key_id": "1",
        "client_email": ACCOUNT,
    });
    [
        ("BUCKET", bucket.to_owned()),
        ("ENDPOINT", format!("http://{address}")),
        ("CREDENTIALS", key.to_string()),
    ]
    .map(|(name, value)| (format!("REGISTRY_STORAGE_GCS_{name}"), value))
    .into()
}

async fn serve(listener: std::net::TcpListener, store: Arc<Store>) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let store = Arc::clone(&store);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let store = Arc::clone(&store);
            async move {
                let (head, body) = request.into_parts();
                let answer = match Limited::new(body, BODY_LIMIT).collect().await {
                    Ok(body) => store.answer(&Asked::new(head, body.to_bytes())),
                    Err(_) => Err(Refusal(StatusCode::BAD_REQUEST, "IncompleteBody")),
                };
                Ok::<_, Infallible>(answer.unwrap_or_else(Refusal::answer))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

struct Store {
    key: DecodingKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By bucket and key.
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    serial: u64,
    ahead: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    generation: u64,
    metadata: HeaderMap,
    modified: SystemTime,
}

struct Upload {
    key: String,
    metadata: HeaderMap,
    parts: BTreeMap<usize, (String, Bytes)>,
}

/// An error: its status and its code.
struct Refusal(StatusCode, &'static str);

const NO_SUCH_KEY: Refusal = Refusal(StatusCode::NOT_FOUND, "NoSuchKey");
const NO_SUCH_UPLOAD: Refusal = Refusal(StatusCode::NOT_FOUND, "NoSuchUpload");
const FAILED_CONDITION: Refusal = Refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
const INVALID_PART: Refusal = Refusal(StatusCode::BAD_REQUEST, "InvalidPart");
const DENIED: Refusal = Refusal(StatusCode::FORBIDDEN, "AccessDenied");
const INVALID: Refusal = Refusal(StatusCode::BAD_REQUEST, "InvalidArgument");

impl Refusal {
    fn answer(self) -> Response<Full<Bytes>> {
        let mut answer = xml(&format!("<Error><Code>{}</Code></Error>", self.1));
        *answer.status_mut() = self.0;
        answer
    }
}

type Answer = Result<Response<Full<Bytes>>, Refusal>;

/// A parsed request.
struct Asked {
    head: http::request::Parts,
    body: Bytes,
    /// The bucket and the key in it.
    place: String,
    query: BTreeMap<String, String>,
}

impl Asked {
    fn new(head: http::request::Parts, body: Bytes) -> Self {
        let path = head.uri.path().trim_start_matches('/');
        let place = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let query = head.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { head, body, place, query }
    }

    fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    fn metadata(&self) -> HeaderMap {
        let kept =
            [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE];
        let ours = |name: &HeaderName| name.as_str().starts_with(METADATA) || kept.contains(name);
        let headers = self.head.headers.iter().filter(|(name, _)| ours(name));
        headers.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Store {
    fn answer(&self, asked: &Asked) -> Answer {
        self.authorize(asked)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.head.method {
            Method::GET if asked.get("list-type") == "2" => Ok(state.list(asked)),
            Method::GET | Method::HEAD => state.read(asked),
            Method::PUT if asked.has("partNumber") => state.put_part(asked),
            Method::PUT => state.put(asked),
            Method::POST if asked.has("uploads") => Ok(state.begin(asked)),
            Method::POST if asked.has("uploadId") => state.complete(asked),
            Method::DELETE if asked.has("uploadId") => {
                let ended = state.uploads.remove(asked.get("uploadId"));
                ended.map(|_| empty(StatusCode::NO_CONTENT)).ok_or(NO_SUCH_UPLOAD)
            }
            Method::DELETE => {
                let deleted = state.objects.remove(&asked.place);
                deleted.map(|_| empty(StatusCode::NO_CONTENT)).ok_or(NO_SUCH_KEY)
            }
            _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")),
        }
    }

    /// Checks a token or a URL that the account signed.
    fn authorize(&self, asked: &Asked) -> Result<(), Refusal> {
        if asked.place.is_empty() {
            return Ok(());
        }
        if let Some(token) = asked.header(AUTHORIZATION).and_then(|h| h.strip_prefix("Bearer ")) {
            let mut validation = Validation::new(Algorithm::RS256);
            validation.set_issuer(&[ACCOUNT]);
            validation.set_required_spec_claims(&["exp", "iss"]);
            let claims = jsonwebtoken::decode::<serde_json::Value>(token, &self.key, &validation);
            return claims.map(drop).map_err(|_| DENIED);
        }
        self.verify(asked).ok_or(Refusal(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"))
    }

    /// <https://cloud.google.com/storage/docs/authentication/signatures>
    fn verify(&self, asked: &Asked) -> Option<()> {
        asked.header(HOST)?;
        let signature = asked.get("X-Goog-Signature");
        let query = asked.head.uri.query()?.split('&');
        let mut query: Vec<_> =
            query.filter(|pair| !pair.starts_with("X-Goog-Signature=")).collect();
        query.sort_unstable();
        let (method, path) = (&asked.head.method, asked.head.uri.path());
        let canonical = format!(
            "{method}\n{path}\n{}\nhost:{SIGNED_HOST}\n\nhost\nUNSIGNED-PAYLOAD",
            query.join("&")
        );
        let scope = asked.get("X-Goog-Credential").split_once('/')?.1;
        let signed = format!(
            "GOOG4-RSA-SHA256\n{}\n{scope}\n{}",
            asked.get("X-Goog-Date"),
            digest(canonical.as_bytes()).trim_start_matches("sha256:")
        );
        let pairs = signature.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let signature = URL_SAFE_NO_PAD.encode(bytes?);
        let verified = jsonwebtoken::crypto::verify(
            &signature,
            signed.as_bytes(),
            &self.key,
            Algorithm::RS256,
        );
        verified.unwrap_or_default().then_some(())
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.serial += 1;
        FIRST_GENERATION + self.serial
    }

    fn store(&mut self, place: &str, bytes: Bytes, metadata: HeaderMap) -> Object {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::Relaxed));
        let modified = SystemTime::now() + ahead;
        let object = Object { bytes, generation: self.next(), metadata, modified };
        self.objects.insert(place.to_owned(), object.clone());
        object
    }

    fn put(&mut self, asked: &Asked) -> Answer {
        let (bytes, metadata) = match asked.header("x-goog-copy-source") {
            Some(source) => {
                let source = percent_decode_str(source).decode_utf8_lossy();
                let source = self.objects.get(source.trim_start_matches('/')).ok_or(NO_SUCH_KEY)?;
                (source.bytes.clone(), source.metadata.clone())
            }
            None => (asked.body.clone(), asked.metadata()),
        };
        if let Some(wanted) = asked.header(IF_GENERATION) {
            let generation = self.objects.get(&asked.place).map_or(0, |object| object.generation);
            if wanted != generation.to_string() {
                return Err(FAILED_CONDITION);
            }
        }
        let object = self.store(&asked.place, bytes, metadata);
        Ok(described(&object, empty(StatusCode::OK)))
    }

    fn read(&self, asked: &Asked) -> Answer {
        let object = self.objects.get(&asked.place).ok_or(NO_SUCH_KEY)?;
        let size = object.bytes.len();
        let mut answer = empty(StatusCode::OK);
        let mut bytes = object.bytes.clone();
        if let Some(range) = asked.header(RANGE).and_then(|range| range.strip_prefix("bytes=")) {
            let (start, end) = match range.split_once('-').ok_or(INVALID)? {
                ("", last) => (size.saturating_sub(last.parse().map_err(|_| INVALID)?), size),
                (first, "") => (first.parse().map_err(|_| INVALID)?, size),
                (first, last) => {
                    let last: usize = last.parse().map_err(|_| INVALID)?;
                    (first.parse().map_err(|_| INVALID)?, size.min(last.saturating_add(1)))
                }
            };
            if start >= end {
                return Err(Refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"));
            }
            bytes = bytes.slice(start..end);
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let covered = format!("bytes {start}-{}/{size}", end - 1);
            answer.headers_mut().insert(CONTENT_RANGE, covered.parse().map_err(|_| INVALID)?);
        }
        let headers = answer.headers_mut();
        headers.extend(object.metadata.clone());
        headers.insert(ACCEPT_RANGES, http::HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_LENGTH, bytes.len().into());
        if asked.head.method != Method::HEAD {
            *answer.body_mut() = Full::new(bytes);
        }
        Ok(described(object, answer))
    }

    /// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>
    fn list(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let root = format!("{}/", asked.place.trim_end_matches('/'));
        let (prefix, delimiter) = (asked.get("prefix"), asked.get("delimiter"));
        let token = asked.get("continuation-token");
        let after = if token.is_empty() { asked.get("start-after") } else { token };
        let most = asked.get("max-keys").parse().unwrap_or(PAGE).min(PAGE);
        let (mut items, mut seen, mut next) = (String::new(), BTreeSet::new(), None);
        let mut last = after.to_owned();
        let mut count = 0;
        for (place, object) in self.objects.range(root.clone()..) {
            let Some(key) = place.strip_prefix(&root) else { break };
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            let directory = match rest.find(delimiter) {
                Some(at) if !delimiter.is_empty() => &key[..prefix.len() + at + delimiter.len()],
                _ => "",
            };
            let name = if directory.is_empty() { key } else { directory };
            if name <= after || seen.contains(name) {
                continue;
            }
            if count == most {
                next = Some(last);
                break;
            }
            count += 1;
            name.clone_into(&mut last);
            if directory.is_empty() {
                let _ = write!(
                    items,
                    "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified>\
                     <ETag>&quot;{}&quot;</ETag></Contents>",
                    escaped(key),
                    object.bytes.len(),
                    rfc3339(object.modified),
                    object.generation
                );
            } else {
                seen.insert(name.to_owned());
                let _ = write!(
                    items,
                    "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                    escaped(name)
                );
            }
        }
        let next = next.map_or(String::new(), |next| {
            format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(&next))
        });
        xml(&format!("<ListBucketResult>{items}{next}</ListBucketResult>"))
    }

    fn begin(&mut self, asked: &Asked) -> Response<Full<Bytes>> {
        let id = format!("upload/{}", self.next());
        let (key, metadata) = (asked.place.clone(), asked.metadata());
        self.uploads.insert(id.clone(), Upload { key, metadata, parts: BTreeMap::new() });
        xml(&format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, asked: &Asked) -> Answer {
        let number: usize = asked.get("partNumber").parse().map_err(|_| INVALID)?;
        let e_tag = format!("\"part-{}\"", self.next());
        let upload = self.uploads.get_mut(asked.get("uploadId"));
        let upload = upload.filter(|upload| upload.key == asked.place).ok_or(NO_SUCH_UPLOAD)?;
        upload.parts.insert(number, (e_tag.clone(), asked.body.clone()));
        let mut answer = empty(StatusCode::OK);
        answer.headers_mut().insert(ETAG, e_tag.parse().map_err(|_| INVALID)?);
        Ok(answer)
    }

    fn complete(&mut self, asked: &Asked) -> Answer {
        let id = asked.get("uploadId");
        let upload = self.uploads.get(id).filter(|upload| upload.key == asked.place);
        let upload = upload.ok_or(NO_SUCH_UPLOAD)?;
        let text = String::from_utf8_lossy(&asked.body);
        let named = |text: &str, tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once(&format!("</{tag}>"))?.0.replace("&quot;", "\""))
        };
        let mut pieces: Vec<Bytes> = Vec::new();
        for part in text.split("<Part>").skip(1) {
            let number: usize =
                named(part, "PartNumber").and_then(|n| n.parse().ok()).ok_or(INVALID)?;
            let (e_tag, bytes) = upload.parts.get(&number).ok_or(INVALID_PART)?;
            if named(part, "ETag").as_ref() != Some(e_tag) {
                return Err(INVALID_PART);
            }
            pieces.push(bytes.clone());
        }
        if pieces.iter().rev().skip(1).any(|piece| piece.len() < LEAST_PART) {
            return Err(Refusal(StatusCode::BAD_REQUEST, "EntityTooSmall"));
        }
        let upload = self.uploads.remove(id).ok_or(NO_SUCH_UPLOAD)?;
        let object = self.store(&upload.key, pieces.concat().into(), upload.metadata);
        let answer = xml(&format!(
            "<CompleteMultipartUploadResult><ETag>&quot;{}&quot;</ETag>\
             </CompleteMultipartUploadResult>",
            object.generation
        ));
        Ok(described(&object, answer))
    }
}

/// Adds an object's headers to a response.
fn described(object: &Object, mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = answer.headers_mut();
    let mut insert = |name: HeaderName, value: String| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    insert(ETAG, format!("\"{}\"", object.generation));
    insert(HeaderName::from_static(GENERATION), object.generation.to_string());
    insert(LAST_MODIFIED, httpdate::fmt_http_date(object.modified));
    answer
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn xml(text: &str) -> Response<Full<Bytes>> {
    Response::new(Full::new(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{text}").into()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339()
}
