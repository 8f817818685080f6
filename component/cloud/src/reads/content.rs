//! Opens objects, and parts of them.

use crate::error::Error;
use crate::objects::Objects;
use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::response::Parts;
use object_store::{GetRange, GetResult};
use roadstead_oci::{ByteRange, ByteRangeSpec};
use roadstead_storage::{Blob, Bodies, Content, Key, StorageError};
use std::ops::Range;

impl Objects {
    /// Opens an object or a part of it: as a handle, if the platform passes
    /// handles, and else as a stream.
    pub(super) async fn open<B: Bodies>(
        &self,
        key: &Key,
        range: Option<ByteRange>,
    ) -> Result<Blob<B::Download>, Error> {
        match self.open_handle::<B>(key, range).await? {
            Some(blob) => Ok(blob),
            None => self.open_stream::<B>(key, range).await,
        }
    }

    /// Opens an object as a handle. `None` means that it has to be a stream:
    /// the platform passes no handles, or the store's response is unexpected.
    async fn open_handle<B: Bodies>(
        &self,
        key: &Key,
        range: Option<ByteRange>,
    ) -> Result<Option<Blob<B::Download>>, Error> {
        let Some(s3) = &self.backend.s3 else { return Ok(None) };
        let range = match range.map(range_for_store) {
            None => None,
            Some(Some(range)) => Some(range.to_string()),
            Some(None) => return Ok(None),
        };
        let request = s3.get(&self.path(key), range.as_deref()).await?;
        let Some((head, content)) = B::fetch(request).await? else { return Ok(None) };
        if head.status == StatusCode::NOT_FOUND {
            return Err(Error::NOT_FOUND);
        }
        let content = Content::Stream(content);
        Ok(response_range(&head).map(|(size, range)| Blob { size, range, content }))
    }

    /// Opens an object as a stream. Stores refuse a range that they cannot
    /// satisfy in different ways, so the size is asked for when one is refused.
    async fn open_stream<B: Bodies>(
        &self,
        key: &Key,
        range: Option<ByteRange>,
    ) -> Result<Blob<B::Download>, Error> {
        let Some(range) = range else { return Ok(streamed::<B>(self.get(key).await?)) };
        if let Some(range) = range_for_store(range) {
            match self.get_range(key, range).await {
                Ok(found) => return Ok(streamed::<B>(found)),
                // The size would take as long to ask for.
                Err(
                    error @ Error::Storage(StorageError::NotFound | StorageError::Unavailable(_)),
                ) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        let size = self.head(key).await?.size;
        if size == 0 {
            return Ok(Blob { size, range: 0..0, content: Content::Bytes(Bytes::new()) });
        }
        let range = range.resolve(size).ok_or(StorageError::Range(size))?;
        Ok(streamed::<B>(self.get_range(key, range.into()).await?))
    }
}

fn streamed<B: Bodies>(found: GetResult) -> Blob<B::Download> {
    let (size, range) = (found.meta.size, found.range.clone());
    let bytes = found.into_stream().map_err(|error| Error::from(error).into());
    Blob { size, range, content: Content::Stream(B::download(bytes.boxed())) }
}

/// The size of an object and the range of it that a response contains, if it
/// contains one.
fn response_range(head: &Parts) -> Option<(u64, Range<u64>)> {
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

/// A range as stores are asked for it. `None` when no object has it.
fn range_for_store(range: ByteRange) -> Option<GetRange> {
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
    use super::response_range;

    #[test]
    fn ranges_of_responses() {
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
            assert_eq!(response_range(&head), expected, "{status} {value}");
        }
    }
}
