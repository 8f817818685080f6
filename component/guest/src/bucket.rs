//! The object store that the configuration names.

use crate::outbound;
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::path::Path;
use roadstead_buckets::{Backend, Bucket, OpenBucket, honours_conditions};
use roadstead_cloud::Options;
use roadstead_config::{Cloud, ConditionalWrites, Config, Service};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;

/// What the secret of upload sessions is made for, so that it is good for
/// nothing else.
const PURPOSE: &[u8] = b"roadstead upload sessions";

/// How old uploads are that are removed: distribution's default.
const PURGE_AFTER: Duration = Duration::from_hours(168);

/// The bucket to keep everything in, if it is to be one.
pub(crate) async fn open(config: &Config) -> Result<Option<(Backend, Options)>, String> {
    let Some(cloud) = &config.cloud else { return Ok(None) };
    let OpenBucket { bucket, s3 } = outbound::open(cloud)?;
    let root = Path::from(cloud.prefix.as_str());
    let (conditional, equal_parts) = match &cloud.service {
        Service::S3(s3) => {
            let conditional = match s3.conditional_writes {
                ConditionalWrites::On => true,
                ConditionalWrites::Off => false,
                // Nothing is written that a condition could be for.
                ConditionalWrites::Auto if config.read_only => false,
                ConditionalWrites::Auto => ask(cloud, &*bucket, &root).await?,
            };
            (conditional, s3.equal_parts)
        }
        Service::Gcs(_) | Service::Azure(_) => (true, false),
    };
    let backend = Backend {
        store: Arc::clone(&bucket) as _,
        multipart: Arc::clone(&bucket) as _,
        lists: Arc::clone(&bucket) as _,
        s3,
        signer: config.redirect.then_some(bucket as _),
        root,
        conditional,
        equal_parts,
        part_size: cloud.part_size,
    };
    let options = Options { secret: secret(config, cloud), purge_after: Some(PURGE_AFTER) };
    Ok(Some((backend, options)))
}

async fn ask(cloud: &Cloud, bucket: &dyn Bucket, root: &Path) -> Result<bool, String> {
    honours_conditions(bucket, root).await.map_err(|error| {
        format!(
            "cannot write to {}; see {} and the settings beside it: {error}",
            cloud.location(),
            cloud.setting()
        )
    })
}

/// What sessions' identifiers are signed with: the same for all who share the
/// bucket, as they share what opens it.
fn secret(config: &Config, cloud: &Cloud) -> Option<Vec<u8>> {
    // Not the other way round: a native host keeps its secret to itself.
    let known = cloud.secret().or(config.auth.secret.as_ref())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(known.0.as_bytes()).ok()?;
    mac.update(PURPOSE);
    Some(mac.finalize().into_bytes().to_vec())
}
