//! Why a pushed manifest is refused.

use std::error::Error;
use std::fmt;

use super::manifest_limits;
use super::media_type::MediaType;

/// Why bytes are not a [`crate::Manifest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidManifest {
    /// There are more than [`crate::Manifest::MAX_SIZE`] bytes.
    TooLarge {
        /// How many there are.
        size: usize,
    },
    /// Not UTF-8, not JSON, not an object, or a property with a wrong value or
    /// occurring twice.
    Json {
        /// The line of the fault, from 1.
        line: usize,
        /// The column of the fault in bytes, from 1; 0 before a line's first.
        column: usize,
        /// The fault, cut to [`InvalidManifest::MAX_MESSAGE`] characters.
        message: String,
    },
    /// A property whose name differs only in case from a specified one, which
    /// some clients would read and others would not.
    KeyCase {
        /// The name as sent.
        key: String,
    },
    /// The `Content-Type` header and the `mediaType` property differ.
    MediaTypeMismatch {
        /// The header.
        header: MediaType,
        /// The property.
        field: MediaType,
    },
    /// No media type was sent, and the structure does not determine it.
    UnknownMediaType,
    /// There is `manifests` as well as `config` or `layers`
    /// (GHSA-qq97-vm5h-rrhg).
    Ambiguous,
    /// A property that a manifest of this media type must not have.
    UnexpectedField {
        /// The media type.
        media_type: MediaType,
        /// The property.
        field: &'static str,
    },
    /// A property that a manifest of this media type must have.
    MissingField {
        /// The media type.
        media_type: MediaType,
        /// The property.
        field: &'static str,
    },
    /// A Docker schema 1 manifest.
    Schema1,
    /// A `schemaVersion` that is neither 1 nor 2.
    SchemaVersion {
        /// The number.
        found: u64,
    },
    /// There are more than [`crate::Manifest::MAX_DESCRIPTORS`] descriptors.
    TooManyDescriptors {
        /// How many there are.
        count: usize,
    },
    /// There are more than [`crate::Manifest::MAX_ANNOTATIONS`] annotations.
    TooManyAnnotations {
        /// How many there are.
        count: usize,
    },
    /// A media type that is not one of JSON.
    NotJson {
        /// The media type.
        media_type: MediaType,
    },
}

impl InvalidManifest {
    /// How much of a JSON error's description is kept; it may quote values of
    /// the manifest, whose length the client controls.
    ///
    /// Limit: the characters of a manifest that an error quotes; test: `messages_are_short_and_placed`.
    pub const MAX_MESSAGE: usize = 300;

    /// The error of bytes of which only the first `valid` are UTF-8.
    pub(super) fn not_utf8(bytes: &[u8], valid: usize) -> Self {
        let before = bytes.get(..valid).unwrap_or(bytes);
        let column = before.rsplit(|byte| *byte == b'\n').next();
        Self::Json {
            line: before.split(|byte| *byte == b'\n').count(),
            column: column.map_or(0, <[u8]>::len) + 1,
            message: "invalid UTF-8".to_owned(),
        }
    }
}

impl From<serde_json::Error> for InvalidManifest {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let place = format!(" at line {line} column {column}");
        let fault = text.strip_suffix(&place).unwrap_or(&text);
        let mut message: String = fault.chars().take(Self::MAX_MESSAGE).collect();
        if message.len() < fault.len() {
            message.push_str("...");
        }
        Self::Json { line, column, message }
    }
}

impl fmt::Display for InvalidManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size } => write!(
                f,
                "manifest is {size} bytes long; at most {} are allowed, \
                 put large content in blobs",
                manifest_limits::MAX_SIZE
            ),
            Self::Json { line, column, message } => {
                write!(f, "manifest cannot be read: {message} (line {line}, column {column})")
            }
            Self::KeyCase { key } => write!(
                f,
                "manifest has a property {key:?}; write it in the case of the OCI image-spec"
            ),
            Self::MediaTypeMismatch { header, field } => write!(
                f,
                "Content-Type is {header} but the manifest's mediaType is {field}; \
                 send the same in both"
            ),
            Self::UnknownMediaType => write!(
                f,
                "manifest has no mediaType and does not look like an image or an index; \
                 send its media type as Content-Type"
            ),
            Self::Ambiguous => write!(
                f,
                "manifest has both \"manifests\" and \"config\" or \"layers\"; \
                 it must be either an index or an image"
            ),
            Self::UnexpectedField { media_type, field } => write!(
                f,
                "manifest of type {media_type} must not have {field:?}; \
                 push it with the media type it is of"
            ),
            Self::MissingField { media_type, field } => {
                write!(f, "manifest of type {media_type} must have {field:?}")
            }
            Self::Schema1 => write!(
                f,
                "Docker schema 1 manifests are not supported; \
                 push with a client that writes Docker schema 2 or OCI manifests"
            ),
            Self::SchemaVersion { found } => {
                write!(f, "manifest has schemaVersion {found}; it must be 2")
            }
            Self::TooManyDescriptors { count } => write!(
                f,
                "manifest has {count} descriptors; at most {} are allowed, \
                 split it into several",
                manifest_limits::MAX_DESCRIPTORS
            ),
            Self::TooManyAnnotations { count } => write!(
                f,
                "manifest has {count} annotations; at most {} are allowed, \
                 put large content in blobs",
                manifest_limits::MAX_ANNOTATIONS
            ),
            Self::NotJson { media_type } => write!(
                f,
                "manifests of type {media_type} are not accepted; \
                 a manifest is application/json or application/<name>+json"
            ),
        }
    }
}

impl Error for InvalidManifest {}
