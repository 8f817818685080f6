//! The vocabulary of an OCI registry: names, digests, tags, media types,
//! manifests and ranges, as types whose values are always valid.
//!
//! Everything here is pure: text or bytes in, a value or an error out. Each
//! type has private content and a `parse` function (plus, where the registry
//! itself makes values, one that builds from raw bytes), so code that holds a
//! value need not check it again. Error types are closed enums whose messages
//! are meant for the client's user. No input causes a panic.
//!
//! Sources: the OCI distribution-spec 1.1, the OCI image-spec 1.1 (descriptors,
//! manifests, digests), RFC 9110 (ranges), RFC 6838 (media types), RFC 9562
//! (UUIDs), and the CNCF distribution registry where clients rely on it.

pub mod code;
pub mod conditional;
pub mod descriptor;
pub mod digest;
pub mod manifest;
pub mod manifest_error;
pub mod media_type;
pub mod name;
pub mod page;
pub mod range;
pub mod reference;
pub mod target;
pub mod upload_id;
pub mod upload_range;

mod document;
mod manifest_limits;
mod text;

#[cfg(test)]
mod tests;

pub use code::ErrorCode;
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use manifest::{Manifest, ManifestKind};
pub use manifest_error::InvalidManifest;
pub use media_type::{InvalidMediaType, MediaType};
pub use name::{InvalidName, RepositoryName};
pub use page::{InvalidPageSize, PageSize};
pub use range::{ByteRange, ByteRangeSpec, content_range};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};
pub use target::Target;
pub use upload_id::{InvalidUploadId, UploadId};
pub use upload_range::{ContentRange, InvalidContentRange, UploadRange};
