//! The object store that the configuration names.

use crate::outbound;
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::path::Path;
use roadstead_bridge::{Services, log};
use roadstead_buckets::{Backend, Bucket, OpenBucket, honours_conditions, is_readable};
use roadstead_cloud::{Options, PurgeLine, Purging};
use roadstead_config::{Cloud, ConditionalWrites, Config, LogLevel, Service, UploadPurging};
use sha2::Sha256;
use std::sync::Arc;

/// The purpose of the derived secret of upload sessions, so that it is valid
/// for nothing else.
const PURPOSE: &[u8] = b"roadstead upload sessions";

/// Opens the bucket, if the configuration names one.
pub(crate) async fn open(
    config: &Config,
    services: Services,
) -> Result<Option<(Backend, Options)>, String> {
    let Some(cloud) = &config.cloud else { return Ok(None) };
    let OpenBucket { bucket, s3, uploads, signer } = outbound::open(cloud, services)?;
    let root = Path::from(cloud.prefix.as_str());
    let (conditional, equal_parts) = match &cloud.service {
        Service::S3(s3) => {
            let conditional = match s3.conditional_writes {
                ConditionalWrites::On => true,
                ConditionalWrites::Off => false,
                // A read-only registry writes nothing, so needs no conditional
                // writes.
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
        lists: bucket as _,
        s3,
        uploads,
        signer: signer.filter(|_| config.redirect),
        root,
        conditional,
        equal_parts,
        part_size: cloud.part_size,
    };
    let options = Options { secret: secret(config, cloud), purging: purging(config) };
    Ok(Some((backend, options)))
}

/// How abandoned uploads are removed.
fn purging(config: &Config) -> Option<Purging> {
    let UploadPurging { age, interval, dry_run } = config.upload_purging?;
    let log: fn(PurgeLine, &str) = match config.log_level {
        LogLevel::Debug => write_line,
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => |line, text| {
            if line != PurgeLine::Detail {
                write_line(line, text);
            }
        },
    };
    Some(Purging { age, interval, dry_run, log })
}

fn write_line(line: PurgeLine, text: &str) {
    let level = match line {
        PurgeLine::Problem => log::Level::Warning,
        PurgeLine::Summary => log::Level::Info,
        PurgeLine::Detail => log::Level::Debug,
    };
    eprintln!("{}", log::line(level, text));
}

async fn ask(cloud: &Cloud, bucket: &dyn Bucket, root: &Path) -> Result<bool, String> {
    let error = match honours_conditions(bucket, root).await {
        Ok(honours) => return Ok(honours),
        Err(error) => error,
    };
    let problem = format!(
        "cannot write to {}; see {} and the settings beside it: {error}",
        cloud.location(),
        cloud.setting()
    );
    if !is_readable(bucket, root, &error).await {
        return Err(problem);
    }
    // Nothing is written now; if that changes, last writes win until this instance
    // ends.
    eprintln!("{problem}; pulls are served, and pushes are refused");
    Ok(false)
}

/// The key that signs sessions' identifiers: the same for all instances that
/// share the bucket, as they share its credentials.
fn secret(config: &Config, cloud: &Cloud) -> Option<Vec<u8>> {
    // The bucket's secret comes first, since a native host does not share its
    // own.
    let known = cloud.secret().or(config.auth.secret.as_ref())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(known.0.as_bytes()).ok()?;
    mac.update(PURPOSE);
    Some(mac.finalize().into_bytes().to_vec())
}
