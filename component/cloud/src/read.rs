//! Objects are read, and pointers written.

use super::Bodies;
use super::bucket::{Bucket, HOLDER, MEDIA_TYPE, note};
use crate::store::{Content, Opened, Pointer, Stat, StorageError};
use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::response::Parts;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStoreExt as _};
use roadstead_oci::{ByteRange, ByteRangeSpec, Digest, MediaType, RepositoryName};
use std::ops::Range;
use std::time::Duration;

/// How long a client may take to begin to get an object from the store itself
/// (distribution's).
const URL_LIFETIME: Duration = Duration::from_mins(20);

impl Bucket {
    /// Opens an object; see [`crate::store::Storage::open`].
    pub(super) async fn open<B: Bodies>(
        &self,
        key: &Path,
        range: Option<ByteRange>,
        companions: &[Path],
    ) -> Result<Opened<B::Download>, StorageError> {
        let (found, companions) =
            try_join(self.find::<B>(key, range), self.values_of(companions)).await?;
        Ok(match found {
            Found::Handle { size, range, content } => {
                Opened { size, range, companions, content: Content::Stream(content) }
            }
            Found::Object(found) => Opened {
                size: found.meta.size,
                range: found.range.clone(),
                companions,
                content: Content::Stream(B::download(found.into_stream())),
            },
            Found::Empty => {
                Opened { size: 0, range: 0..0, companions, content: Content::Bytes(Bytes::new()) }
            }
        })
    }

    /// Gets an object, or a part of it, by a handle if that is possible and
    /// all goes well.
    async fn find<B: Bodies>(
        &self,
        key: &Path,
        range: Option<ByteRange>,
    ) -> Result<Found<B::Download>, StorageError> {
        if let Some(s3) = &self.backend.s3 {
            let header = match range.map(asked) {
                None => Some(None),
                Some(asked) => asked.as_ref().map(GetRange::to_string).map(Some),
            };
            if let Some(header) = header
                && let Some((head, content)) =
                    B::fetch(s3.get(&self.full(key), header.as_deref())?).await
            {
                if head.status == StatusCode::NOT_FOUND {
                    return Err(StorageError::NotFound);
                }
                if let Some((size, range)) = covered(&head) {
                    return Ok(Found::Handle { size, range, content });
                }
            }
        }
        self.get(key, range).await
    }

    /// Gets an object, or a part of it. What is wrong with a range is asked
    /// for only if there is something: stores say it in different ways.
    async fn get<D>(&self, key: &Path, range: Option<ByteRange>) -> Result<Found<D>, StorageError> {
        let Some(range) = range else {
            return Ok(Found::Object(self.objects().get(key).await?));
        };
        if let Some(range) = asked(range) {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            match self.objects().get_opts(key, options).await {
                Ok(found) => return Ok(Found::Object(found)),
                Err(object_store::Error::NotFound { .. }) => return Err(StorageError::NotFound),
                Err(_) => {}
            }
        }
        let size = self.objects().head(key).await?.size;
        if size == 0 {
            return Ok(Found::Empty);
        }
        let range = range.resolve(size).ok_or(StorageError::Range(size))?;
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        Ok(Found::Object(self.objects().get_opts(key, options).await?))
    }

    /// The size of an object; see [`crate::store::Storage::stat`].
    pub(super) async fn stat(&self, key: &Path, companions: &[Path]) -> Result<Stat, StorageError> {
        let size = async { Ok(self.objects().head(key).await?.size) };
        let (size, companions) = try_join(size, self.values_of(companions)).await?;
        Ok(Stat { size, companions })
    }

    /// The values of small objects, all asked for at once.
    async fn values_of(&self, keys: &[Path]) -> Result<Vec<Option<String>>, StorageError> {
        try_join_all(keys.iter().map(|key| self.value(key))).await
    }

    /// The value of a small object, if there is one.
    pub(super) async fn value(&self, key: &Path) -> Result<Option<String>, StorageError> {
        let bytes = match self.objects().get(key).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8(bytes.into());
        Ok(Some(text.map_err(|_| StorageError::Failed(format!("{key} is not text")))?))
    }

    /// Reads a pointer with the media type that is kept with it.
    pub(super) async fn pointer(&self, key: &Path) -> Result<Pointer, StorageError> {
        let found = self.objects().get(key).await?;
        let media_type = note(&found.attributes, MEDIA_TYPE);
        let pointer = Pointer::parse(key, &found.bytes().await?)?;
        let media_type = media_type.and_then(|text| MediaType::parse(&text).ok());
        Ok(Pointer { media_type, ..pointer })
    }

    /// A repository that may hold a blob.
    pub(super) async fn holder(&self, key: &Path) -> Result<Option<RepositoryName>, StorageError> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let attributes = self.objects().get_opts(key, head).await?.attributes;
        Ok(note(&attributes, HOLDER).and_then(|name| RepositoryName::parse(&name).ok()))
    }

    pub(super) async fn point(
        &self,
        key: &Path,
        digest: &Digest,
        media_type: Option<&MediaType>,
    ) -> Result<(), StorageError> {
        let note = media_type.map(|media_type| (MEDIA_TYPE, media_type.as_str().to_owned()));
        Ok(self.put_noted(key, digest.to_string().into(), note).await?)
    }

    /// Deletes an object that must be there: most stores do not say whether it
    /// was.
    pub(super) async fn remove(&self, key: &Path) -> Result<(), StorageError> {
        self.objects().head(key).await?;
        Ok(self.delete(key).await?)
    }

    /// Deletes an object, if it has a value. No store deletes under a
    /// condition that all have: a value that is written between the two steps
    /// is lost, as if it had been written before.
    pub(super) async fn delete_value(&self, key: &Path, value: &str) -> Result<(), StorageError> {
        match self.value(key).await? {
            Some(found) if found == value => Ok(self.delete(key).await?),
            _ => Ok(()),
        }
    }

    /// Where a client gets an object from the store itself.
    pub(super) async fn url(&self, key: &Path) -> Result<Option<String>, StorageError> {
        let Some(signer) = &self.backend.signer else { return Ok(None) };
        let key = self.full(key);
        Ok(Some(signer.signed_url(http::Method::GET, &key, URL_LIFETIME).await?.into()))
    }
}

enum Found<D> {
    Handle {
        size: u64,
        range: Range<u64>,
        content: D,
    },
    Object(GetResult),
    /// One of no bytes, of which there are no parts.
    Empty,
}

/// The size of an object and the part of it that an answer is, if it is one.
fn covered(head: &Parts) -> Option<(u64, Range<u64>)> {
    let text = |name| head.headers.get(name)?.to_str().ok();
    match head.status {
        StatusCode::OK => {
            let size = text(CONTENT_LENGTH)?.parse().ok()?;
            Some((size, 0..size))
        }
        StatusCode::PARTIAL_CONTENT => {
            let (range, size) = text(CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            Some((size.parse().ok()?, first..last.checked_add(1)?))
        }
        _ => None,
    }
}

/// A range as stores are asked for it, if it is one of any object.
fn asked(range: ByteRange) -> Option<GetRange> {
    match range.spec() {
        ByteRangeSpec::Between(first, last) if first <= last => {
            Some(GetRange::Bounded(first..last.saturating_add(1)))
        }
        ByteRangeSpec::From(first) => Some(GetRange::Offset(first)),
        ByteRangeSpec::Suffix(length) if length > 0 => Some(GetRange::Suffix(length)),
        ByteRangeSpec::Between(..) | ByteRangeSpec::Suffix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::covered;

    #[test]
    fn answers_say_what_they_cover() {
        for (status, name, value, expected) in [
            (200, "content-length", "12", Some((12, 0..12))),
            (200, "content-length", "x", None),
            (200, "content-range", "bytes 0-1/2", None),
            (206, "content-range", "bytes 3-11/20", Some((20, 3..12))),
            (206, "content-range", "bytes 3-11/*", None),
            (206, "content-range", "bytes 0-18446744073709551615/20", None),
            (206, "content-range", "3-11/20", None),
            (206, "content-length", "9", None),
            (403, "content-length", "12", None),
            (416, "content-range", "bytes */20", None),
        ] {
            let head = http::Response::builder().status(status).header(name, value).body(());
            let (head, ()) = head.unwrap().into_parts();
            assert_eq!(covered(&head), expected, "{status} {value}");
        }
    }
}
