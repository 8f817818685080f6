//! Metadata of objects: what a directory keeps in objects of their own would
//! cost a request each.
//!
//! Names consist of letters only, as Azure takes nothing but identifiers.

use object_store::{Attribute, AttributeValue, Attributes};
use roadstead_oci::{MediaType, RepositoryName, UploadId};

const MEDIA_TYPE: &str = "mediatype";
const UPLOAD: &str = "upload";
const HOLDER: &str = "repository";

/// What is kept with an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Metadata<'a> {
    /// Of a link to a manifest: its media type.
    MediaType(&'a MediaType),
    /// Of a link to a blob: the upload session that made it. It says that this
    /// session has ended.
    Upload(&'a UploadId),
    /// Of a blob: a repository that may hold it, namely that of the session it
    /// was uploaded by. For mounts that name no repository.
    Holder(&'a RepositoryName),
}

impl<'a> Metadata<'a> {
    /// Its name and value.
    pub(crate) fn into_pair(self) -> (&'static str, &'a str) {
        match self {
            Self::MediaType(media_type) => (MEDIA_TYPE, media_type.as_str()),
            Self::Upload(id) => (UPLOAD, id.as_str()),
            Self::Holder(repository) => (HOLDER, repository.as_str()),
        }
    }
}

impl From<Metadata<'_>> for Attributes {
    fn from(metadata: Metadata<'_>) -> Self {
        let (name, value) = metadata.into_pair();
        let value = AttributeValue::from(value.to_owned());
        Self::from_iter([(Attribute::Metadata(name.into()), value)])
    }
}

/// The media type that a link was written with.
pub(crate) fn media_type(attributes: &Attributes) -> Option<MediaType> {
    MediaType::parse(value(attributes, MEDIA_TYPE)?).ok()
}

/// The upload session that made a link.
pub(crate) fn upload(attributes: &Attributes) -> Option<UploadId> {
    UploadId::parse(value(attributes, UPLOAD)?).ok()
}

/// A repository that may hold a blob.
pub(crate) fn holder(attributes: &Attributes) -> Option<RepositoryName> {
    RepositoryName::parse(value(attributes, HOLDER)?).ok()
}

fn value<'a>(attributes: &'a Attributes, name: &'static str) -> Option<&'a str> {
    attributes.get(&Attribute::Metadata(name.into())).map(AsRef::as_ref)
}
