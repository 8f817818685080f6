//! Reads `storage.s3`.

use super::{required, url};
use crate::reader::Reader;
use crate::settings as rows;
use roadstead_access::Secret;

/// The region where an endpoint is named and no region: most stores but
/// Amazon's take any.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket of Amazon S3, or of a store that speaks its protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3 {
    /// `_BUCKET`.
    pub bucket: String,
    /// `_REGION`.
    pub region: String,
    /// Where the bucket is, as a URL without a slash at its end: with
    /// `path_style`, of the store, and otherwise of the bucket itself. From
    /// `_REGIONENDPOINT`, `_SECURE`, `_ACCELERATE` and `_USEDUALSTACK`.
    pub endpoint: String,
    /// `_FORCEPATHSTYLE`: the bucket is the first part of the path, and not of
    /// the host's name. By default it is, but at Amazon.
    pub path_style: bool,
    /// The key that requests are signed with; `None` for the platform's
    /// credentials.
    pub key: Option<S3Key>,
    /// `_ENCRYPT` and `_KEYID`.
    pub encryption: Encryption,
    /// `_CONDITIONALWRITES`.
    pub conditional_writes: ConditionalWrites,
    /// `_EQUALPARTS`: all parts of an upload but the last have one size.
    pub equal_parts: bool,
}

/// A key that requests are signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Key {
    /// `_ACCESSKEY`: its ID.
    pub id: String,
    /// `_SECRETKEY`.
    pub secret: Secret,
    /// `_SESSIONTOKEN`: session token of temporary credentials.
    pub session_token: Option<Secret>,
}

/// How the store encrypts what it keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// Whatever the bucket's default is.
    Default,
    /// With a key of its own (SSE-S3).
    Store,
    /// With a key of its key service (SSE-KMS).
    Key(String),
}

/// Whether the store honours `If-None-Match` and `If-Match` when it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ConditionalWrites {
    /// A request finds out.
    #[default]
    Auto,
    /// It does.
    On,
    /// It does not: the last of two writers at once wins.
    Off,
}

impl S3 {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        refuse(reader);
        let bucket = required(reader, &rows::STORAGE_S3_BUCKET, "the bucket that holds the data");
        let key = key(reader);
        let bucket = bucket?;
        let (region, endpoint, path_style) = place(reader, &bucket)?;
        Some(Self {
            bucket,
            region,
            endpoint,
            path_style,
            key,
            encryption: encryption(reader),
            conditional_writes: reader.read(&rows::STORAGE_S3_CONDITIONALWRITES),
            equal_parts: reader.read(&rows::STORAGE_S3_EQUALPARTS),
        })
    }
}

/// The key of the settings, if they have one.
fn key(reader: &mut Reader<'_>) -> Option<S3Key> {
    let id = reader.read(&rows::STORAGE_S3_ACCESSKEY);
    let secret = reader.read(&rows::STORAGE_S3_SECRETKEY).map(Secret);
    let session_token = reader.read(&rows::STORAGE_S3_SESSIONTOKEN).map(Secret);
    match (id, secret, session_token) {
        (Some(id), Some(secret), session_token) => Some(S3Key { id, secret, session_token }),
        (None, None, None) => None,
        _ => {
            reader.problem(format!(
                "{} needs both {} and {}; set neither of them, and no {}, to use the \
                 platform's credentials",
                reader.section(&rows::STORAGE_S3),
                reader.name(&rows::STORAGE_S3_ACCESSKEY.row),
                reader.name(&rows::STORAGE_S3_SECRETKEY.row),
                reader.name(&rows::STORAGE_S3_SESSIONTOKEN.row)
            ));
            None
        }
    }
}

/// What distribution can do and this registry cannot, unless it is what
/// happens anyway.
fn refuse(reader: &mut Reader<'_>) {
    for setting in [
        &rows::STORAGE_S3_SKIPVERIFY,
        &rows::STORAGE_S3_V4AUTH,
        &rows::STORAGE_S3_USEFIPSENDPOINT,
        &rows::STORAGE_S3_STORAGECLASS,
        &rows::STORAGE_S3_OBJECTACL,
    ] {
        reader.read(setting);
    }
}

/// The region, the endpoint, and whether the bucket is in the path.
fn place(reader: &mut Reader<'_>, bucket: &str) -> Option<(String, String, bool)> {
    let secure = reader.read(&rows::STORAGE_S3_SECURE);
    let scheme = if secure { "https" } else { "http" };
    let named = reader.read(&rows::STORAGE_S3_REGIONENDPOINT);
    let named = match named.map(|value| url::parse(&value, scheme)) {
        Some(None) => {
            // The value may hold credentials.
            let name = reader.name(&rows::STORAGE_S3_REGIONENDPOINT.row);
            reader.problem(format!("{name} {}", url::RULE));
            return None;
        }
        named => named.flatten(),
    };
    let region = reader.read(&rows::STORAGE_S3_REGION);
    let region = region.or(named.as_ref().map(|_| DEFAULT_REGION.to_owned())).filter(|region| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        region.bytes().all(plain)
    });
    let Some(region) = region else {
        let name = reader.name(&rows::STORAGE_S3_REGION.row);
        reader.problem(format!(
            "{name} is missing or not valid: the bucket's region, as in eu-central-1"
        ));
        return None;
    };
    let accelerate = reader.read(&rows::STORAGE_S3_ACCELERATE);
    let dual_stack = reader.read(&rows::STORAGE_S3_USEDUALSTACK);
    // Most other stores than Amazon's know paths, and have no names for buckets in DNS.
    // Certificates for all buckets do not cover a name with dots in it.
    let natural = named.as_deref().is_some_and(|url| !url::is_of_amazon(url))
        || (secure && bucket.contains('.') && !accelerate);
    let forced = reader.read(&rows::STORAGE_S3_FORCEPATHSTYLE);
    let path_style =
        if reader.is_given(&rows::STORAGE_S3_FORCEPATHSTYLE.row) { forced } else { natural };
    check_endpoints(reader, named.as_deref(), path_style, accelerate, dual_stack);
    let endpoint = named.unwrap_or_else(|| match (accelerate, dual_stack) {
        (false, false) => format!("{scheme}://s3.{region}.amazonaws.com"),
        (false, true) => format!("{scheme}://s3.dualstack.{region}.amazonaws.com"),
        (true, false) => format!("{scheme}://s3-accelerate.amazonaws.com"),
        (true, true) => format!("{scheme}://s3-accelerate.dualstack.amazonaws.com"),
    });
    let endpoint = if path_style { endpoint } else { url::with_label(&endpoint, bucket) };
    Some((region, endpoint, path_style))
}

/// Refuses what Amazon's special endpoints exclude.
fn check_endpoints(
    reader: &mut Reader<'_>,
    named: Option<&str>,
    path_style: bool,
    accelerate: bool,
    dual_stack: bool,
) {
    let of_accelerate = reader.name(&rows::STORAGE_S3_ACCELERATE.row);
    if named.is_some() && (accelerate || dual_stack) {
        reader.problem(format!(
            "{of_accelerate} and {} choose among Amazon's endpoints; {} names another one",
            reader.name(&rows::STORAGE_S3_USEDUALSTACK.row),
            reader.name(&rows::STORAGE_S3_REGIONENDPOINT.row)
        ));
    } else if path_style && accelerate {
        let of_path_style = reader.name(&rows::STORAGE_S3_FORCEPATHSTYLE.row);
        reader.problem(format!("{of_accelerate} and {of_path_style} exclude each other"));
    }
}

fn encryption(reader: &mut Reader<'_>) -> Encryption {
    let encrypt = reader.read(&rows::STORAGE_S3_ENCRYPT);
    match (encrypt, reader.read(&rows::STORAGE_S3_KEYID)) {
        (true, Some(key)) => Encryption::Key(key),
        (true, None) => Encryption::Store,
        (false, None) => Encryption::Default,
        (false, Some(_)) => {
            let encrypt = reader.with(&rows::STORAGE_S3_ENCRYPT.row, "true");
            let key = reader.name(&rows::STORAGE_S3_KEYID.row);
            reader.problem(format!("{key} needs {encrypt}"));
            Encryption::Default
        }
    }
}
