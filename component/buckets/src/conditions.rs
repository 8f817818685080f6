//! Whether a store keeps to a condition, or writes in any case and says
//! nothing.

use crate::Bucket;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload};

/// The object that is made for it, below the registry's root. It stays: whoever
/// asks next needs one request.
const KEY: [&str; 2] = [".roadstead", "conditional-writes"];

/// What that object says to people.
const TEXT: &str = "Made to find out whether this store honours If-None-Match.\n";

/// Finds out by a request or two whether `bucket` honours conditions of writes.
///
/// # Errors
/// When it cannot be written to at all.
pub async fn honours_conditions(bucket: &dyn Bucket, root: &Path) -> Result<bool, Error> {
    let key: Path = root.parts().chain(KEY.map(Into::into)).collect();
    // The first one may make the object; the second one must not.
    for _ in 0..2 {
        match bucket.put_opts(&key, PutPayload::from(TEXT), PutMode::Create.into()).await {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Ok(true),
            // It may be the condition that it dislikes.
            Err(_) => return bucket.put(&key, TEXT.into()).await.map(|_| false),
        }
    }
    Ok(false)
}
