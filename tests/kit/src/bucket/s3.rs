//! What S3 has besides: uploads by their hash, and lists of multipart uploads, as on GCS.

use super::{MemoryBucket, lock};
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt as _};
use roadstead_buckets::{
    OpenUpload, OpenUploads, S3Operations, SentParts, UploadLists, UploadMarker,
};
use roadstead_storage::StorageError;
use sha2::{Digest as _, Sha256};
use std::ops::Range;

/// What the request of [`S3Operations::put_verified`] does once it has a body.
#[derive(Clone)]
pub(crate) struct VerifiedPut {
    bucket: MemoryBucket,
    key: Path,
    sha256: Vec<u8>,
}

impl VerifiedPut {
    /// Sends the request with this body, and gives the response's status and
    /// body.
    pub(crate) async fn send(&self, body: Bytes) -> Result<(StatusCode, Bytes), StorageError> {
        let failed = |error: object_store::Error| StorageError::Failed(error.to_string());
        self.bucket.request("PUT", self.key.as_ref()).await.map_err(failed)?;
        self.bucket.check("PUT").map_err(failed)?;
        if *Sha256::digest(&body) != *self.sha256 {
            let text = Bytes::from_static(b"<Error><Code>BadDigest</Code></Error>");
            return Ok((StatusCode::BAD_REQUEST, text));
        }
        self.bucket.0.objects.put(&self.key, body.into()).await.map_err(failed)?;
        self.bucket.written(&self.key).await.map_err(failed)?;
        Ok((StatusCode::OK, Bytes::new()))
    }
}

#[async_trait]
impl S3Operations for MemoryBucket {
    async fn copy_part(
        &self,
        from: &Path,
        range: Range<u64>,
        to: &Path,
        id: &MultipartId,
        index: usize,
    ) -> object_store::Result<PartId> {
        let bytes = self.0.objects.get_range(from, range).await?;
        self.put_part(to, id, index, bytes.into()).await
    }

    async fn put_verified(
        &self,
        key: &Path,
        sha256: &[u8],
        _: Option<(&str, &str)>,
    ) -> object_store::Result<Parts> {
        let (mut head, ()) = http::Request::new(()).into_parts();
        let sha256 = sha256.to_vec();
        head.extensions.insert(VerifiedPut { bucket: self.clone(), key: key.clone(), sha256 });
        Ok(head)
    }

    async fn get(&self, _: &Path, _: Option<&str>) -> object_store::Result<Parts> {
        Ok(http::Request::new(()).into_parts().0)
    }

    async fn verifies(&self, key: &Path) -> object_store::Result<bool> {
        self.request("PUT", key.as_ref()).await?;
        Ok(true)
    }
}

#[async_trait]
impl UploadLists for MemoryBucket {
    async fn list_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadMarker>,
        limit: usize,
    ) -> object_store::Result<OpenUploads> {
        self.request("UPLOADS", prefix).await?;
        self.check("UPLOADS")?;
        let uploads = lock(&self.0.uploads);
        let open = uploads.iter().filter(|(_, upload)| upload.key.as_ref().starts_with(prefix));
        let mut open: Vec<_> =
            open.map(|(id, upload)| (upload.key.clone(), id.clone(), upload.initiated)).collect();
        open.sort();
        if let Some(UploadMarker { key, id }) = after {
            open.retain(|(of, number, _)| (of.as_ref(), number) > (key, id));
        }
        let marker = |(key, id, _): &(Path, String, _)| UploadMarker {
            key: key.to_string(),
            id: id.clone(),
        };
        let next = (open.len() > limit).then(|| open.get(limit - 1).map(marker)).flatten();
        open.truncate(limit);
        let uploads =
            open.into_iter().map(|(key, id, initiated)| OpenUpload { key, id, initiated });
        Ok(OpenUploads { uploads: uploads.collect(), next })
    }

    async fn sent_parts(
        &self,
        key: &Path,
        id: &MultipartId,
        after: usize,
    ) -> object_store::Result<SentParts> {
        self.request("PARTS", key.as_ref()).await?;
        self.check("PARTS")?;
        let uploads = lock(&self.0.uploads);
        let upload = uploads.get(id).filter(|upload| upload.key == *key);
        let missing = || object_store::Error::NotFound {
            path: key.to_string(),
            source: "no such upload".into(),
        };
        let upload = upload.ok_or_else(missing)?;
        let parts = || upload.parts.range(after..);
        let bytes = parts().map(|(_, (_, bytes))| bytes.len() as u64).sum();
        let newest = upload.newest.filter(|_| parts().next().is_some());
        Ok(SentParts { bytes, newest })
    }
}
