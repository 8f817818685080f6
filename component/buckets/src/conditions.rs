//! Whether a store keeps to a condition, or writes in any case and says
//! nothing.

use crate::Bucket;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode, UpdateVersion};

/// The object that is made for it, below the registry's root. It stays: whoever
/// asks next needs one request.
const KEY: [&str; 2] = [".roadstead", "conditional-writes"];

/// An entity tag of nothing.
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

/// What that object says to people.
const TEXT: &str = "Made to find out whether this store honours If-None-Match.\n";

/// Finds out by two requests, or three for the first time, whether `bucket`
/// honours conditions of writes.
///
/// # Errors
/// When it cannot be written to at all.
pub async fn honours_conditions(bucket: &dyn Bucket, root: &Path) -> Result<bool, Error> {
    let key: Path = root.parts().chain(KEY.map(Into::into)).collect();
    // The first one may make the object; the second one must not.
    for _ in 0..2 {
        match bucket.put_opts(&key, TEXT.into(), PutMode::Create.into()).await {
            Ok(_) => {}
            Err(error) if is_refusal(&error) => return keeps_to_versions(bucket, &key).await,
            // It may be the condition that it dislikes.
            Err(_) => return bucket.put(&key, TEXT.into()).await.map(|_| false),
        }
    }
    Ok(false)
}

/// Whether an object is left alone that is to be replaced only in a version
/// that it never had.
async fn keeps_to_versions(bucket: &dyn Bucket, key: &Path) -> Result<bool, Error> {
    let never = UpdateVersion { e_tag: Some(NO_TAG.to_owned()), version: Some("1".to_owned()) };
    match bucket.put_opts(key, TEXT.into(), PutMode::Update(never).into()).await {
        Err(error) => Ok(is_refusal(&error)),
        Ok(_) => Ok(false),
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. })
}
