//! The objects of a store in memory, by the XML protocol that Amazon S3 and Google
//! Cloud Storage share, with the conditions of both.

use super::{Answer, Asked, INVALID, NO_SUCH_KEY, NO_SUCH_UPLOAD, Refusal, empty, xml};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// The minimum size of all parts except the last, in bytes.
const LEAST_PART: usize = 5 * 1024 * 1024;

/// The most keys of a list.
const PAGE: usize = 1000;

/// Generations are times in microseconds.
const FIRST_GENERATION: u64 = 1_700_000_000_000_000;

const GENERATION: &str = "x-goog-generation";
const IF_GENERATION: &str = "x-goog-if-generation-match";

/// Headers that name an object to copy: of Google's stores, and Amazon's.
const SOURCES: [&str; 2] = ["x-goog-copy-source", "x-amz-copy-source"];

const FAILED_CONDITION: Refusal = Refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
const INVALID_PART: Refusal = Refusal(StatusCode::BAD_REQUEST, "InvalidPart");

#[derive(Default)]
pub(crate) struct State {
    /// By bucket and key.
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    serial: u64,
    ahead: Arc<AtomicI64>,
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
    initiated: SystemTime,
    parts: BTreeMap<usize, Part>,
}

struct Part {
    e_tag: String,
    bytes: Bytes,
    modified: SystemTime,
}

impl State {
    /// A store whose clock is ahead by so many seconds, or behind if they are negative.
    pub(crate) fn new(ahead: Arc<AtomicI64>) -> Self {
        Self { ahead, ..Self::default() }
    }

    /// Answers a request that is authorized.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Answer {
        match asked.head.method {
            Method::GET if asked.get("list-type") == "2" => Ok(self.list(asked)),
            Method::GET if asked.has("uploads") => Ok(self.list_uploads(asked)),
            Method::GET if asked.has("uploadId") => self.list_parts(asked),
            Method::GET | Method::HEAD => self.read(asked),
            Method::PUT if asked.has("partNumber") => self.put_part(asked),
            Method::PUT => self.put(asked),
            Method::POST if asked.has("uploads") => Ok(self.begin(asked)),
            Method::POST if asked.has("uploadId") => self.complete(asked),
            Method::DELETE if asked.has("uploadId") => {
                let ended = self.uploads.remove(asked.get("uploadId"));
                ended.map(|_| empty(StatusCode::NO_CONTENT)).ok_or(NO_SUCH_UPLOAD)
            }
            Method::DELETE => {
                let deleted = self.objects.remove(&asked.place);
                deleted.map(|_| empty(StatusCode::NO_CONTENT)).ok_or(NO_SUCH_KEY)
            }
            _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")),
        }
    }

    /// The object that a request wants copied.
    fn source(&self, asked: &Asked) -> Result<Option<&Object>, Refusal> {
        let Some(source) = SOURCES.iter().find_map(|name| asked.header(*name)) else {
            return Ok(None);
        };
        let source = percent_decode_str(source).decode_utf8_lossy();
        let found = self.objects.get(source.trim_start_matches('/'));
        found.map(Some).ok_or(NO_SUCH_KEY)
    }

    /// Checks the conditions of a write.
    fn check(&self, asked: &Asked) -> Result<(), Refusal> {
        let generation = self.objects.get(&asked.place).map_or(0, |object| object.generation);
        let is = |wanted: &str| wanted.trim_matches('"') == generation.to_string();
        let failed = asked.header(IF_GENERATION).is_some_and(|wanted| !is(wanted))
            || asked.header(IF_MATCH).is_some_and(|wanted| !is(wanted))
            || asked.header(IF_NONE_MATCH).is_some_and(|_| generation != 0);
        if failed { Err(FAILED_CONDITION) } else { Ok(()) }
    }

    fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        FIRST_GENERATION + self.serial
    }

    fn store(&mut self, place: &str, bytes: Bytes, metadata: HeaderMap) -> Object {
        let modified = self.now();
        let object = Object { bytes, generation: self.next(), metadata, modified };
        self.objects.insert(place.to_owned(), object.clone());
        object
    }

    /// All objects of a bucket, in the order of their keys: key, size, entity tag and
    /// time.
    pub(crate) fn all(
        &self,
        bucket: &str,
    ) -> impl Iterator<Item = (String, usize, String, SystemTime)> {
        self.objects.iter().filter_map(move |(place, object)| {
            let key = place.strip_prefix(bucket)?.to_owned();
            let e_tag = format!("\"{}\"", object.generation);
            Some((key, object.bytes.len(), e_tag, object.modified))
        })
    }

    pub(crate) fn put(&mut self, asked: &Asked) -> Answer {
        let Some(source) = self.source(asked)? else {
            self.check(asked)?;
            let object = self.store(&asked.place, asked.body.clone(), asked.metadata());
            return Ok(described(&object, empty(StatusCode::OK)));
        };
        let (bytes, metadata) = (source.bytes.clone(), source.metadata.clone());
        self.check(asked)?;
        let object = self.store(&asked.place, bytes, metadata);
        let text = format!(
            "<CopyObjectResult><ETag>&quot;{}&quot;</ETag></CopyObjectResult>",
            object.generation
        );
        Ok(described(&object, xml(&text)))
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

    /// <https://cloud.google.com/storage/docs/xml-api/get-bucket-uploads>
    fn list_uploads(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let root = format!("{}/", asked.place.trim_end_matches('/'));
        let most = asked.get("max-uploads").parse().unwrap_or(PAGE).min(PAGE);
        let after = (asked.get("key-marker"), asked.get("upload-id-marker"));
        let is_after = |key: &str, id: &str| match after {
            (after, "") => key > after,
            after => (key, id) > after,
        };
        let mut found: Vec<_> = self
            .uploads
            .iter()
            .filter_map(|(id, upload)| Some((upload.key.strip_prefix(&root)?, id, upload)))
            .filter(|(key, id, _)| key.starts_with(asked.get("prefix")) && is_after(key, id))
            .collect();
        found.sort_by_key(|(key, id, _)| (*key, *id));
        let truncated = found.len() > most;
        found.truncate(most);
        let mut items = String::new();
        for (key, id, upload) in &found {
            let _ = write!(
                items,
                "<Upload><Key>{}</Key><UploadId>{id}</UploadId><StorageClass>STANDARD\
                 </StorageClass><Initiated>{}</Initiated></Upload>",
                escaped(key),
                rfc3339(upload.initiated)
            );
        }
        let next = found.last().filter(|_| truncated).map_or(String::new(), |(key, id, _)| {
            format!(
                "<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
                escaped(key)
            )
        });
        xml(&format!(
            "<ListMultipartUploadsResult><IsTruncated>{truncated}</IsTruncated>{next}{items}\
             </ListMultipartUploadsResult>"
        ))
    }

    /// <https://cloud.google.com/storage/docs/xml-api/get-object-multipart>
    fn list_parts(&self, asked: &Asked) -> Answer {
        let upload = self.uploads.get(asked.get("uploadId"));
        let upload = upload.filter(|upload| upload.key == asked.place).ok_or(NO_SUCH_UPLOAD)?;
        let after = asked.get("part-number-marker").parse().unwrap_or(0);
        let mut found: Vec<_> = upload.parts.range(after + 1..).collect();
        let truncated = found.len() > PAGE;
        found.truncate(PAGE);
        let mut items = String::new();
        for (number, part) in &found {
            let _ = write!(
                items,
                "<Part><PartNumber>{number}</PartNumber><LastModified>{}</LastModified>\
                 <ETag>{}</ETag><Size>{}</Size></Part>",
                rfc3339(part.modified),
                part.e_tag,
                part.bytes.len()
            );
        }
        let next = found.last().filter(|_| truncated).map_or(String::new(), |(number, _)| {
            format!("<NextPartNumberMarker>{number}</NextPartNumberMarker>")
        });
        Ok(xml(&format!(
            "<ListPartsResult><IsTruncated>{truncated}</IsTruncated>{next}{items}\
             </ListPartsResult>"
        )))
    }

    fn begin(&mut self, asked: &Asked) -> Response<Full<Bytes>> {
        let id = format!("upload/{}", self.next());
        let (key, metadata, initiated) = (asked.place.clone(), asked.metadata(), self.now());
        let upload = Upload { key, metadata, initiated, parts: BTreeMap::new() };
        self.uploads.insert(id.clone(), upload);
        xml(&format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, asked: &Asked) -> Answer {
        let number: usize = asked.get("partNumber").parse().map_err(|_| INVALID)?;
        let copied = self.source(asked)?.map(|source| source.bytes.clone());
        let (e_tag, modified) = (format!("\"part-{}\"", self.next()), self.now());
        let upload = self.uploads.get_mut(asked.get("uploadId"));
        let upload = upload.filter(|upload| upload.key == asked.place).ok_or(NO_SUCH_UPLOAD)?;
        let is_copy = copied.is_some();
        let bytes = copied.unwrap_or_else(|| asked.body.clone());
        upload.parts.insert(number, Part { e_tag: e_tag.clone(), bytes, modified });
        let mut answer = if is_copy {
            xml(&format!("<CopyPartResult><ETag>{e_tag}</ETag></CopyPartResult>"))
        } else {
            empty(StatusCode::OK)
        };
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
            let sent = upload.parts.get(&number).ok_or(INVALID_PART)?;
            if named(part, "ETag").as_ref() != Some(&sent.e_tag) {
                return Err(INVALID_PART);
            }
            pieces.push(sent.bytes.clone());
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

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339()
}
