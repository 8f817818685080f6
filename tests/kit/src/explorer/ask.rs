//! Requests of which scenarios consist, and the content that they are about.

use bytes::Bytes;
use http::{Method, Request};
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::sync::Mutex;

/// The repository of all requests.
pub(crate) const NAME: &str = "explored";

/// The repository that blobs are mounted from.
pub(crate) const SOURCE: &str = "source";

/// The bytes of the blob.
pub(crate) const BLOB: &[u8] = b"the bytes of a blob";

/// A tag that never changes, in the scenarios that name it.
pub(crate) const FIXED: &str = "f";

/// A manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Item {
    /// Of a type that its bytes do not say.
    Plain,
    /// An image manifest, which needs the blob.
    Image,
    /// A manifest that refers to [`Item::Plain`].
    Referrer,
    /// An index that lists [`Item::Plain`]. Only beside a collector.
    Index,
}

impl Item {
    /// All of them, but for the index.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Image, Self::Referrer];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.example.plain+json",
            Self::Image => "application/vnd.oci.image.manifest.v1+json",
            Self::Referrer => "application/vnd.example.referrer+json",
            Self::Index => "application/vnd.oci.image.index.v1+json",
        }
    }

    /// Its bytes.
    pub fn bytes(self) -> Bytes {
        let text = match self {
            Self::Plain => r#"{"plain":true}"#.to_owned(),
            Self::Image => {
                let (digest, size) = (digest(BLOB), BLOB.len());
                let config = format!(
                    r#"{{"mediaType":"application/vnd.example.config","digest":"{digest}","size":{size}}}"#
                );
                format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#)
            }
            Self::Index => {
                let child = Self::Plain;
                let (digest, size) = (child.digest(), child.bytes().len());
                let media_type = child.media_type();
                format!(
                    r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}]}}"#
                )
            }
            Self::Referrer => {
                let subject = Self::Plain;
                let (digest, size) = (subject.digest(), subject.bytes().len());
                let media_type = subject.media_type();
                format!(
                    r#"{{"subject":{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}}}"#
                )
            }
        };
        text.into()
    }

    /// Its digest.
    pub fn digest(self) -> Digest {
        digest(&self.bytes())
    }

    /// The manifest of a digest.
    pub fn of(digest: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|item| item.digest().as_str() == digest)
    }
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Pushes a manifest, by tag or by digest.
    Put(Item, Option<&'static str>),
    /// Deletes a manifest by digest.
    Delete(Item),
    /// Deletes a tag.
    DeleteTag(&'static str),
    /// Deletes the repository.
    DeleteRepository,
    /// Pulls a manifest by digest.
    Get(Item),
    /// Pulls a manifest by tag.
    GetTag(&'static str),
    /// Lists tags.
    Tags,
    /// Lists the referrers of [`Item::Plain`].
    Referrers,
    /// Pushes the blob in one request.
    PushBlob,
    /// Pushes the blob to the repository that it is mounted from.
    PushSource,
    /// Mounts the blob.
    Mount,
    /// Deletes the blob.
    DeleteBlob,
    /// Looks whether the blob is there.
    HeadBlob,
    /// Pulls the blob.
    GetBlob,
    /// Begins the upload session.
    Start,
    /// Appends the blob's bytes to it.
    Append,
    /// Appends more to it.
    AppendMore,
    /// Ends it, as the blob.
    Commit,
    /// Removes it.
    Cancel,
}

/// The upload session of a scenario.
#[derive(Debug, Default)]
pub struct Upload(Mutex<String>);

impl Upload {
    fn location(&self) -> String {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Remembers where it is.
    pub(crate) fn moved(&self, location: &str) {
        let mut place = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        location.clone_into(&mut place);
    }
}

impl Ask {
    /// Whether it names the tag that never changes.
    pub(crate) fn is_fixed(self) -> bool {
        matches!(self, Self::Put(_, Some(FIXED)) | Self::DeleteTag(FIXED))
    }

    /// The request.
    ///
    /// # Panics
    /// Not with the contents of this module.
    pub fn request(self, upload: &Upload) -> Request<Bytes> {
        let manifest = |reference: &str| format!("/v2/{NAME}/manifests/{reference}");
        let blob = digest(BLOB);
        let (method, path, body, media_type) = match self {
            Self::Put(item, tag) => {
                let digest = item.digest();
                let path = manifest(tag.unwrap_or(digest.as_str()));
                (Method::PUT, path, item.bytes(), Some(item.media_type()))
            }
            Self::Delete(item) => {
                (Method::DELETE, manifest(item.digest().as_str()), Bytes::new(), None)
            }
            Self::DeleteTag(tag) => (Method::DELETE, manifest(tag), Bytes::new(), None),
            Self::DeleteRepository => {
                (Method::DELETE, format!("/v2/{NAME}/_roadstead/repository"), Bytes::new(), None)
            }
            Self::Get(item) => (Method::GET, manifest(item.digest().as_str()), Bytes::new(), None),
            Self::GetTag(tag) => (Method::GET, manifest(tag), Bytes::new(), None),
            Self::Tags => (Method::GET, format!("/v2/{NAME}/tags/list"), Bytes::new(), None),
            Self::Referrers => {
                let subject = Item::Plain.digest();
                (Method::GET, format!("/v2/{NAME}/referrers/{subject}"), Bytes::new(), None)
            }
            Self::PushBlob | Self::PushSource => {
                let name = if self == Self::PushBlob { NAME } else { SOURCE };
                let path = format!("/v2/{name}/blobs/uploads/?digest={blob}");
                (Method::POST, path, Bytes::from_static(BLOB), None)
            }
            Self::Mount => {
                let path = format!("/v2/{NAME}/blobs/uploads/?mount={blob}&from={SOURCE}");
                (Method::POST, path, Bytes::new(), None)
            }
            Self::DeleteBlob => {
                (Method::DELETE, format!("/v2/{NAME}/blobs/{blob}"), Bytes::new(), None)
            }
            Self::HeadBlob => {
                (Method::HEAD, format!("/v2/{NAME}/blobs/{blob}"), Bytes::new(), None)
            }
            Self::GetBlob => (Method::GET, format!("/v2/{NAME}/blobs/{blob}"), Bytes::new(), None),
            Self::Start => (Method::POST, format!("/v2/{NAME}/blobs/uploads/"), Bytes::new(), None),
            Self::Append => (Method::PATCH, upload.location(), Bytes::from_static(BLOB), None),
            Self::AppendMore => (Method::PATCH, upload.location(), Bytes::from_static(b"!"), None),
            Self::Commit => {
                let location = upload.location();
                let joint = if location.contains('?') { '&' } else { '?' };
                (Method::PUT, format!("{location}{joint}digest={blob}"), Bytes::new(), None)
            }
            Self::Cancel => (Method::DELETE, upload.location(), Bytes::new(), None),
        };
        let mut request = Request::builder().method(method).uri(path);
        if let Some(media_type) = media_type {
            request = request.header(http::header::CONTENT_TYPE, media_type);
        }
        request.body(body).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes));
    digest.unwrap_or_else(|| panic!("a hash of another length"))
}
