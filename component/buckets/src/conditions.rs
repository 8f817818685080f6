//! Detects whether a store honours conditional writes, or silently ignores the
//! conditions.

use crate::{Bucket, Refusal};
use http::StatusCode;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode, UpdateVersion};

/// The object for this test, below the registry's root. It is kept, so that
/// later tests need one request less.
const KEY: [&str; 2] = [".roadstead", "conditional-writes"];

/// An entity tag that no object has.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

/// The content of that object, for people who find it.
const TEXT: &str = "Made to find out whether this store honours If-None-Match.\n";

/// Tests with two requests, or three the first time, whether `bucket` honours
/// conditional writes.
///
/// # Errors
/// When it cannot be written to at all.
pub async fn honours_conditions(bucket: &dyn Bucket, root: &Path) -> Result<bool, Error> {
    let key = key(root);
    // The first one may create the object; the second one must fail.
    for _ in 0..2 {
        match bucket.put_opts(&key, TEXT.into(), PutMode::Create.into()).await {
            Ok(_) => {}
            Err(error) if is_refusal(&error) => return honours_versions(bucket, &key).await,
            // The store may reject the condition itself.
            Err(_) => return bucket.put(&key, TEXT.into()).await.map(|_| false),
        }
    }
    Ok(false)
}

/// Whether a write on the condition of a version that never existed leaves the
/// object unchanged.
async fn honours_versions(bucket: &dyn Bucket, key: &Path) -> Result<bool, Error> {
    let never = UpdateVersion { e_tag: Some(NO_TAG.to_owned()), version: Some("1".to_owned()) };
    match bucket.put_opts(key, TEXT.into(), PutMode::Update(never).into()).await {
        Err(error) => Ok(is_refusal(&error)),
        Ok(_) => Ok(false),
    }
}

/// Whether a bucket that cannot be written to, for this reason, can be read: its
/// content can be served, while pushes fail.
pub async fn is_readable(bucket: &dyn Bucket, root: &Path, reason: &Error) -> bool {
    let refuses_writes = |refusal: &Refusal| match refusal {
        Refusal::Unavailable { status, .. } => {
            *status == StatusCode::FORBIDDEN || refusal.is_full()
        }
        Refusal::MissingParts(_) | Refusal::NoCredentials(_) => false,
    };
    Refusal::cause_of(reason).is_some_and(refuses_writes)
        && matches!(bucket.get(&key(root)).await, Ok(_) | Err(Error::NotFound { .. }))
}

fn key(root: &Path) -> Path {
    root.parts().chain(KEY.map(Into::into)).collect()
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. })
}
