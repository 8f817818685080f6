//! Every way in which a request can fail, and the response to the client.

use crate::challenge::{Reason, Scope};
use crate::over_quota::OverQuota;
use http::{Method, StatusCode};
use roadstead_oci::{
    Digest, ErrorCode, InvalidContentRange, InvalidDigest, InvalidManifest, InvalidName,
    InvalidPageSize, InvalidTag, InvalidUploadId, Manifest, Reference, RepositoryName, Tag,
    UploadId,
};
use roadstead_storage::PAGE_BYTES;
use serde_json::{Value, json};
use std::fmt;

/// Why a request was refused.
#[derive(Debug)]
pub enum Error {
    /// No endpoint has this path.
    UnknownEndpoint,
    /// Deletion is disabled in the settings.
    DeleteDisabled,
    /// Garbage collection is disabled in the settings.
    CollectionDisabled,
    /// Another request does a slice of garbage collection.
    Collecting,
    /// Another request does a slice of a scrub.
    Scrubbing,
    /// The request for a scrub is invalid.
    ScrubRequest(String),
    /// The request for garbage collection is invalid.
    CollectionRequest(String),
    /// The registry is read-only by its settings.
    ReadOnly,
    /// The caller is not authenticated, or the token does not grant the needed
    /// access.
    Unauthorized {
        /// The `WWW-Authenticate` header.
        challenge: String,
        /// Why.
        reason: Reason,
        /// The access that the request needs.
        scope: Option<Box<Scope>>,
    },
    /// The caller is not permitted to do what the request asks for.
    Denied(Option<Box<Scope>>),
    /// A browser sends it for a page of another site, and it would change something.
    CrossSite,
    /// There were too many wrong passwords.
    TooManyAttempts {
        /// How many seconds to wait.
        seconds: u64,
    },
    /// Too many passwords are being verified at the moment.
    Busy,
    /// The built-in token service is disabled.
    NoTokens,
    /// The token request is invalid.
    TokenRequest(&'static str),
    /// The query has more than `limit` `tag` parameters.
    TooManyTags {
        /// The limit.
        limit: usize,
    },
    /// The endpoint does not support the request's method, only these.
    MethodNotAllowed(&'static [Method]),
    /// The path contains no valid repository name.
    Name(InvalidName),
    /// There is no such repository.
    NameUnknown(RepositoryName),
    /// The path contains no valid tag.
    Tag(InvalidTag),
    /// The tag never changes, by a rule of the settings.
    TagImmutable(Box<ImmutableTag>),
    /// A quota of the settings has no room.
    OverQuota(Box<OverQuota>),
    /// The query's `before` or `since` is no time. Holds the parameter's name.
    Time(&'static str),
    /// A parameter of the query has a value that it cannot have.
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// A tag has had so many manifests that they are not put into order.
    HistoryTooLong {
        /// How many are.
        limit: usize,
    },
    /// The path or the query contains no valid digest.
    Digest(InvalidDigest),
    /// The query lacks the digest of the uploaded content.
    DigestMissing,
    /// The content does not match the expected digest.
    DigestMismatch {
        /// The digest that the client sent.
        expected: Digest,
        /// The digest of the received content, if it is known.
        actual: Option<Digest>,
    },
    /// The repository does not hold the blob.
    BlobUnknown(Digest),
    /// No byte of the range is in the blob.
    RangeNotSatisfiable {
        /// The blob's size in bytes.
        size: u64,
    },
    /// The path contains no valid upload id.
    UploadId(InvalidUploadId),
    /// The repository has no such upload.
    UploadUnknown(UploadId),
    /// The chunk does not start at the current end of the upload.
    ChunkOrder {
        /// The current end of the upload, in bytes.
        offset: u64,
    },
    /// Another request is adding to the upload.
    UploadBusy,
    /// The `Content-Range` of a chunk is malformed.
    ContentRange(InvalidContentRange),
    /// The body does not have the announced length.
    BodyLength {
        /// The length announced by `Content-Range`.
        announced: u64,
    },
    /// The body ended early.
    BodyAborted,
    /// The client sent the body too slowly.
    BodyTooSlow,
    /// The repository does not hold the manifest.
    ManifestUnknown(Reference),
    /// The body is not a manifest of a supported type.
    Manifest(InvalidManifest),
    /// The manifest is longer than [`Manifest::MAX_SIZE`].
    ManifestTooLarge,
    /// The annotations of a manifest with a subject are longer than a list of
    /// referrers has room for.
    ReferrerTooLarge,
    /// The `Content-Type` is not a valid media type. Holds its beginning.
    ContentType(String),
    /// The manifest names blobs that the repository does not hold.
    ManifestBlobUnknown(Vec<Digest>),
    /// The query's `n` is not a valid page size.
    PageSize(InvalidPageSize),
    /// The registry is not ready: its settings are invalid, or its storage is
    /// not usable. The text is for the log.
    NotReady(String),
    /// The storage is unreachable or unavailable. The text is for the log.
    Unavailable(String),
    /// The storage has no room. The text is for the log.
    StorageFull(String),
    /// The storage cannot be written. The text is for the log.
    StorageReadOnly(String),
    /// An internal error, not caused by the client. The text is for the log.
    Internal(String),
}

/// A tag that never changes, as a push or a deletion has found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImmutableTag {
    /// The tag.
    pub tag: Tag,
    /// What it points to, if that is known.
    pub digest: Option<Digest>,
    /// The name of the rule.
    pub rule: String,
    /// Whether it was to be deleted, and not to be moved.
    pub deletion: bool,
}

/// How much of what a client sent is repeated to it, in characters, where its
/// length has no limit of its own.
///
/// Limit: the characters of a header that an error quotes; test: `errors_are_short`.
const QUOTE_LIMIT: usize = 100;

/// How many missing blobs are listed.
///
/// Limit: the missing blobs that an error lists; test: `errors_are_short`.
const MISSING_LIMIT: usize = 100;

impl Error {
    /// [`Self::ContentType`] for this header.
    pub(crate) fn content_type(text: &str) -> Self {
        Self::ContentType(text.chars().take(QUOTE_LIMIT).collect())
    }

    /// Status and code: the one place where they are chosen.
    pub fn status_and_code(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::UnknownEndpoint | Self::NoTokens => {
                (StatusCode::NOT_FOUND, ErrorCode::Unsupported)
            }
            Self::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized),
            // Clients try again after most others.
            Self::Denied(_) | Self::OverQuota(_) | Self::CrossSite => {
                (StatusCode::FORBIDDEN, ErrorCode::Denied)
            }
            Self::TooManyAttempts { .. } | Self::Collecting | Self::Scrubbing => {
                (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests)
            }
            Self::Busy | Self::NotReady(_) | Self::Unavailable(_) | Self::StorageReadOnly(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable)
            }
            Self::StorageFull(_) => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable),
            Self::TokenRequest(_)
            | Self::CollectionRequest(_)
            | Self::ScrubRequest(_)
            | Self::Time(_)
            | Self::Parameter { .. }
            | Self::HistoryTooLong { .. } => (StatusCode::BAD_REQUEST, ErrorCode::Unsupported),
            Self::MethodNotAllowed(_)
            | Self::DeleteDisabled
            | Self::CollectionDisabled
            | Self::ReadOnly => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
            Self::TooManyTags { .. } => (StatusCode::URI_TOO_LONG, ErrorCode::TagInvalid),
            Self::Name(_) => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
            Self::NameUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
            Self::Tag(_) => (StatusCode::BAD_REQUEST, ErrorCode::TagInvalid),
            Self::TagImmutable(_) => (StatusCode::CONFLICT, ErrorCode::Denied),
            Self::Digest(_) | Self::DigestMissing | Self::DigestMismatch { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid)
            }
            Self::BlobUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
            Self::RangeNotSatisfiable { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid)
            }
            Self::UploadId(_) | Self::UploadUnknown(_) => {
                (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown)
            }
            Self::ChunkOrder { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid)
            }
            Self::UploadBusy => (StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid),
            Self::ContentRange(_) | Self::BodyAborted => {
                (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid)
            }
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid),
            Self::BodyLength { .. } => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
            Self::ManifestUnknown(_) => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            Self::Manifest(_) | Self::ReferrerTooLarge | Self::ContentType(_) => {
                (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid)
            }
            Self::ManifestTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
            Self::ManifestBlobUnknown(_) => {
                (StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown)
            }
            Self::PageSize(_) => (StatusCode::BAD_REQUEST, ErrorCode::PaginationNumberInvalid),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
        }
    }

    /// Why the registry failed, if it did, for the log alone.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::NotReady(cause)
            | Self::Unavailable(cause)
            | Self::StorageFull(cause)
            | Self::StorageReadOnly(cause)
            | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }

    /// The error body of the specification ("Error Codes"). If the log has the cause of the error,
    /// the detail is the identifier of the request that the log line has.
    pub fn body(&self, request: Option<&str>) -> Vec<u8> {
        let (_, code) = self.status_and_code();
        let mut error = json!({ "code": code.as_str(), "message": self.to_string() });
        let detail = match request {
            Some(request) if self.cause().is_some() => json!({ "request": request }),
            _ => self.detail(),
        };
        if !detail.is_null() {
            error["detail"] = detail;
        }
        // Serializing JSON to a `String` cannot fail.
        json!({ "errors": [error] }).to_string().into_bytes()
    }

    fn detail(&self) -> Value {
        match self {
            Self::Unauthorized { scope: Some(scope), .. } | Self::Denied(Some(scope)) => {
                let actions = scope.actions.split(',').map(|action| (&scope.name, action));
                let from = scope.from.iter().map(|from| (from, "pull"));
                let needed = actions.chain(from).map(
                    |(name, action)| json!({ "Type": scope.kind, "Name": name, "Action": action }),
                );
                needed.collect()
            }
            Self::NameUnknown(name) => json!({ "name": name.as_str() }),
            Self::TagImmutable(found) => json!({
                "tag": found.tag.as_str(),
                "digest": found.digest.as_ref().map(Digest::as_str),
                "rule": found.rule,
            }),
            Self::OverQuota(over) => over.detail(),
            Self::HistoryTooLong { limit } => json!({ "limit": limit }),
            Self::DigestMismatch { expected, actual } => {
                let actual = actual.as_ref().map(Digest::as_str);
                json!({ "expected": expected.as_str(), "actual": actual })
            }
            Self::BlobUnknown(digest) => json!({ "digest": digest.as_str() }),
            Self::RangeNotSatisfiable { size } => json!({ "size": size }),
            Self::UploadUnknown(id) => json!({ "upload": id.as_str() }),
            Self::ChunkOrder { offset } => json!({ "offset": offset }),
            Self::ManifestUnknown(reference) => json!({ "reference": reference.to_string() }),
            Self::ManifestTooLarge => json!({ "limit": Manifest::MAX_SIZE }),
            Self::ManifestBlobUnknown(digests) => {
                let digests = digests.iter().take(MISSING_LIMIT).map(Digest::as_str);
                json!({ "digests": digests.collect::<Vec<_>>() })
            }
            _ => Value::Null,
        }
    }
}

impl fmt::Display for Error {
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEndpoint => f.write_str("no such endpoint; the API is at /v2/"),
            Self::MethodNotAllowed(_) => {
                f.write_str("this endpoint does not have this method; see the Allow header")
            }
            Self::Unauthorized { reason, .. } => reason.fmt(f),
            Self::Denied(_) => {
                f.write_str("this is not permitted; ask the operator for a rule that allows it")
            }
            Self::CrossSite => f.write_str(
                "a page of another site sent this request; only the registry's own page may change \
                 something",
            ),
            Self::TooManyAttempts { seconds } => write!(
                f,
                "there were too many wrong passwords; wait {seconds} s and use the right one"
            ),
            Self::Busy => f.write_str("too many passwords are being verified; try again"),
            Self::NoTokens => f.write_str(
                "this registry issues no tokens; the operator can set REGISTRY_AUTH=token",
            ),
            Self::TokenRequest(problem) => write!(f, "invalid token request: {problem}"),
            Self::DeleteDisabled => f.write_str(
                "deletion is disabled; the operator can set REGISTRY_STORAGE_DELETE_ENABLED",
            ),
            Self::CollectionDisabled => f.write_str(
                "garbage collection is disabled; the operator can set \
                 REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED",
            ),
            Self::Collecting => {
                f.write_str("a slice of garbage collection is being done; try again")
            }
            Self::Scrubbing => f.write_str("a slice of a scrub is being done; try again"),
            Self::ScrubRequest(problem) => write!(
                f,
                "invalid request for a scrub: {problem}; its body is empty, or has some of \
                 {{\"cursor\": \"<cursor of the last answer>\", \"bytes\": 33554432, \"hash\": true, \
                 \"quarantine\": false}}"
            ),
            Self::CollectionRequest(problem) => write!(
                f,
                "invalid request for garbage collection: {problem}; its body is empty, or has \
                 some of {{\"run\": \"<run>\", \"dry_run\": true, \"untagged\": 604800, \"undo\": \"<run>\"}}"
            ),
            Self::ReadOnly => f.write_str(
                "this registry is read-only, by REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED",
            ),
            Self::TooManyTags { limit } => {
                write!(f, "a manifest is pushed with at most {limit} tag parameters")
            }
            Self::Name(error) => error.fmt(f),
            Self::NameUnknown(name) => write!(f, "there is no repository {name}"),
            Self::Tag(error) => error.fmt(f),
            Self::TagImmutable(found) => found.fmt(f),
            Self::OverQuota(over) => over.fmt(f),
            Self::Parameter { name, expected } => {
                write!(f, "the parameter {name} has to be {expected}")
            }
            Self::Time(name) => {
                write!(f, "{name} is not a time of RFC 3339, such as 2026-05-04T03:02:01Z")
            }
            Self::HistoryTooLong { limit } => write!(
                f,
                "the tag has had more than {limit} manifests, which are not put into order; ask \
                 for one of them with ?digest="
            ),
            Self::Digest(error) => error.fmt(f),
            Self::DigestMissing => {
                f.write_str("the digest is missing; add ?digest=<digest> to end an upload")
            }
            Self::DigestMismatch { expected, actual } => {
                match actual {
                    Some(actual) => {
                        write!(f, "the content has the digest {actual} and not {expected}")
                    }
                    None => write!(f, "the content does not have the digest {expected}"),
                }?;
                f.write_str("; nothing was kept, push it again")
            }
            Self::BlobUnknown(_) => f.write_str("the repository does not hold this blob"),
            Self::RangeNotSatisfiable { size } => {
                write!(f, "no byte of the range is in the blob, which has {size} bytes")
            }
            Self::UploadId(error) => error.fmt(f),
            Self::UploadUnknown(_) => f.write_str(
                "the repository has no such upload; it ended or was cancelled, start another",
            ),
            Self::ChunkOrder { offset } => {
                write!(f, "the next chunk of this upload must start at byte {offset}")
            }
            Self::UploadBusy => {
                f.write_str("another request is adding to this upload; send one chunk at a time")
            }
            Self::ContentRange(error) => error.fmt(f),
            Self::BodyLength { announced } => {
                write!(
                    f,
                    "the body does not have the {announced} bytes that Content-Range announces"
                )
            }
            Self::BodyAborted => f.write_str("the body ended early"),
            Self::BodyTooSlow => f.write_str("the body was sent too slowly; try again"),
            Self::ManifestUnknown(_) => f.write_str("the repository does not hold this manifest"),
            Self::Manifest(error) => error.fmt(f),
            Self::ManifestTooLarge => {
                write!(f, "a manifest has at most {} bytes", Manifest::MAX_SIZE)
            }
            Self::ReferrerTooLarge => write!(
                f,
                "the annotations of a manifest with a subject have at most {PAGE_BYTES} bytes, \
                 as they are listed with it; put large content in blobs"
            ),
            Self::ContentType(text) => write!(f, "Content-Type {text:?} is not a valid media type"),
            Self::ManifestBlobUnknown(digests) => write!(
                f,
                "the manifest names {} blobs that the repository does not hold; push them first",
                digests.len()
            ),
            Self::PageSize(error) => error.fmt(f),
            Self::NotReady(_) => {
                f.write_str("the registry cannot serve; its log says why, and what to do")
            }
            Self::Unavailable(_) => f.write_str(
                "the registry's storage does not serve now; try again, its log has the cause under \
                 this request's id",
            ),
            Self::StorageFull(_) => f.write_str(
                "the registry's storage is full; push again when its operator has freed space",
            ),
            Self::StorageReadOnly(_) => f.write_str(
                "the registry's storage cannot be written now; its operator has to make it \
                 writable, pulls go on",
            ),
            Self::Internal(_) => {
                f.write_str("the registry failed; its log has the cause under this request's id")
            }
        }
    }
}

impl fmt::Display for ImmutableTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, digest, rule, deletion } = self;
        write!(f, "tag {tag} is immutable by the rule {rule:?} of REGISTRY_POLICY_IMMUTABLE")?;
        if let Some(digest) = digest {
            write!(f, ", and points to {digest}")?;
        }
        f.write_str(if *deletion {
            "; the operator can let it be deleted, by [deletable] at the end of the rule"
        } else {
            "; push under another tag"
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::Error;
    use roadstead_oci::{Digest, Manifest, MediaType};
    use serde_json::Value;

    /// The most bytes of an error response: a list of missing blobs.
    const LIMIT: usize = 16 * 1024;

    fn media_type(text: &str) -> MediaType {
        MediaType::parse(text).unwrap()
    }

    /// Errors repeat little of what a client sent, whatever that is as JSON.
    #[test]
    fn errors_are_short() {
        let digest = |i: usize| Digest::parse(&format!("sha512:{i:0128x}")).unwrap();
        let refused = |json: &str, media_type: Option<MediaType>| {
            Error::Manifest(Manifest::parse(json.as_bytes(), media_type.as_ref()).unwrap_err())
        };
        let (long, control) = ("x".repeat(64 * 1024), "\\u0001".repeat(64 * 1024));
        let most = "a".repeat(MediaType::MAX_PART_LENGTH);
        for error in [
            Error::content_type(&long),
            Error::content_type(&"\u{fffd}".repeat(64 * 1024)),
            Error::content_type(&"\u{1}\"\\".repeat(64 * 1024)),
            Error::ManifestBlobUnknown((0..10_000).map(digest).collect()),
            refused(&format!(r#"{{"mediaType":"{long}"}}"#), None),
            refused(&format!(r#"{{"mediaType":"{control}"}}"#), None),
            refused(&format!(r#"{{"subject":"{control}"}}"#), Some(media_type("application/json"))),
            refused(&format!(r#"{{"{control}":1}}"#), None),
            refused("{}", Some(media_type(&format!("{most}/{most}")))),
        ] {
            let body = error.body(None);
            assert!(body.len() <= LIMIT, "{} bytes: {error:.200}", body.len());
            let json: Value = serde_json::from_slice(&body).unwrap();
            assert!(json["errors"][0]["code"].is_string());
        }
        let many = Error::ManifestBlobUnknown((0..10_000).map(digest).collect());
        assert!(many.to_string().contains("10000 blobs"), "{many}");
    }
}
