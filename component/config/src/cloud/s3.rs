//! `REGISTRY_STORAGE_S3_*`.

use super::{must_be, required, url};
use crate::PREFIX;
use crate::reader::{Reader, boolean};
use roadstead_access::Secret;

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
    /// the host's name.
    pub path_style: bool,
    /// `_ACCESSKEY`: whose requests these are.
    pub access_key: String,
    /// `_SECRETKEY`: what they are signed with.
    pub secret_key: Secret,
    /// `_SESSIONTOKEN`: what goes with a key that was lent.
    pub session_token: Option<Secret>,
    /// `_ENCRYPT` and `_KEYID`.
    pub encryption: Encryption,
    /// `_CONDITIONALWRITES`.
    pub conditional_writes: ConditionalWrites,
    /// `_EQUALPARTS`: all parts of an upload but the last have one size.
    pub equal_parts: bool,
}

/// How the store encrypts what it keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// As it likes.
    Default,
    /// By a key of its own (SSE-S3).
    Store,
    /// By a key of its key service (SSE-KMS).
    Key(String),
}

/// Whether the store honours `If-None-Match` and `If-Match` when it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ConditionalWrites {
    /// That is to be found out.
    #[default]
    Auto,
    /// It does.
    On,
    /// It does not: the last of two writers at once wins.
    Off,
}

impl S3 {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        refuse(reader);
        let bucket = required(reader, "STORAGE_S3_BUCKET", "the bucket that holds the data");
        if reader.text("STORAGE_S3_ACCESSKEY").is_none()
            || reader.text("STORAGE_S3_SECRETKEY").is_none()
        {
            reader.problem(format!(
                "{PREFIX}STORAGE_S3_* needs {PREFIX}STORAGE_S3_ACCESSKEY and _SECRETKEY: roles of \
                 the machine are not looked up"
            ));
        }
        let bucket = bucket.filter(|bucket| {
            let valid = is_bucket(bucket);
            if !valid {
                reader.problem(format!(
                    "{PREFIX}STORAGE_S3_BUCKET={bucket:?}: must be 3 to 63 of a-z, 0-9, - and ."
                ));
            }
            valid
        })?;
        let (region, endpoint, path_style) = place(reader, &bucket)?;
        Some(Self {
            bucket,
            region,
            endpoint,
            path_style,
            access_key: reader.text("STORAGE_S3_ACCESSKEY")?,
            secret_key: Secret(reader.text("STORAGE_S3_SECRETKEY")?),
            session_token: reader.text("STORAGE_S3_SESSIONTOKEN").map(Secret),
            encryption: encryption(reader),
            conditional_writes: reader.read(
                "STORAGE_S3_CONDITIONALWRITES",
                ConditionalWrites::Auto,
                |value| match value {
                    "auto" | "" => Ok(ConditionalWrites::Auto),
                    "on" | "true" => Ok(ConditionalWrites::On),
                    "off" | "false" => Ok(ConditionalWrites::Off),
                    _ => Err("must be auto, on or off"),
                },
            ),
            equal_parts: reader.read("STORAGE_S3_EQUALPARTS", false, boolean),
        })
    }
}

/// What distribution can do and this registry cannot, unless it is what
/// happens anyway.
fn refuse(reader: &mut Reader) {
    must_be(
        reader,
        "STORAGE_S3_SKIPVERIFY",
        false,
        "certificates are always verified; name a private authority with \
         REGISTRY_STORAGE_S3_ROOTCERTBUNDLE",
    );
    must_be(reader, "STORAGE_S3_V4AUTH", true, "requests are signed by version 4 only");
    must_be(
        reader,
        "STORAGE_S3_USEFIPSENDPOINT",
        false,
        "name the endpoint with REGISTRY_STORAGE_S3_REGIONENDPOINT",
    );
    reader.read("STORAGE_S3_STORAGECLASS", (), |value| match value.to_ascii_uppercase().as_str() {
        "" | "STANDARD" | "NONE" => Ok(()),
        _ => Err("must be STANDARD; have a lifecycle rule of the bucket move objects"),
    });
    reader.read("STORAGE_S3_OBJECTACL", (), |value| match value {
        "" | "private" => Ok(()),
        _ => Err("must be private; give access by a policy of the bucket"),
    });
}

/// The region, the endpoint, and whether the bucket is in the path.
fn place(reader: &mut Reader, bucket: &str) -> Option<(String, String, bool)> {
    let secure = reader.read("STORAGE_S3_SECURE", true, boolean);
    let scheme = if secure { "https" } else { "http" };
    let named = reader.text("STORAGE_S3_REGIONENDPOINT");
    let named = match named.map(|value| url::parse(&value, scheme)) {
        Some(None) => {
            reader.problem(format!("{PREFIX}STORAGE_S3_REGIONENDPOINT {}", url::RULE));
            return None;
        }
        named => named.flatten(),
    };
    let region = reader.text("STORAGE_S3_REGION").or(named.as_ref().map(|_| "us-east-1".into()));
    let region = region.filter(|region| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        region.bytes().all(plain)
    });
    let Some(region) = region else {
        reader.problem(format!(
            "{PREFIX}STORAGE_S3_REGION is missing or none: the bucket's region, as in eu-central-1"
        ));
        return None;
    };
    let accelerate = reader.read("STORAGE_S3_ACCELERATE", false, boolean);
    let dual_stack = reader.read("STORAGE_S3_USEDUALSTACK", false, boolean);
    // A name with dots in it is none that a certificate for all buckets covers.
    let natural = named.as_deref().is_some_and(url::is_address)
        || (secure && bucket.contains('.') && !accelerate);
    let path_style = reader.read("STORAGE_S3_FORCEPATHSTYLE", natural, boolean);
    if named.is_some() && (accelerate || dual_stack) {
        reader.problem(format!(
            "{PREFIX}STORAGE_S3_ACCELERATE and _USEDUALSTACK are of Amazon's own endpoints; with \
             _REGIONENDPOINT, name the whole endpoint there"
        ));
    } else if path_style && accelerate {
        reader.problem(format!(
            "{PREFIX}STORAGE_S3_ACCELERATE and _FORCEPATHSTYLE exclude each other"
        ));
    }
    let endpoint = named.unwrap_or_else(|| match (accelerate, dual_stack) {
        (false, false) => format!("{scheme}://s3.{region}.amazonaws.com"),
        (false, true) => format!("{scheme}://s3.dualstack.{region}.amazonaws.com"),
        (true, false) => format!("{scheme}://s3-accelerate.amazonaws.com"),
        (true, true) => format!("{scheme}://s3-accelerate.dualstack.amazonaws.com"),
    });
    let endpoint = if path_style { endpoint } else { url::with_label(&endpoint, bucket) };
    Some((region, endpoint, path_style))
}

fn encryption(reader: &mut Reader) -> Encryption {
    let encrypt = reader.read("STORAGE_S3_ENCRYPT", false, boolean);
    match (encrypt, reader.text("STORAGE_S3_KEYID")) {
        (true, Some(key)) => Encryption::Key(key),
        (true, None) => Encryption::Store,
        (false, None) => Encryption::Default,
        (false, Some(_)) => {
            reader
                .problem(format!("{PREFIX}STORAGE_S3_KEYID needs {PREFIX}STORAGE_S3_ENCRYPT=true"));
            Encryption::Default
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(plain)
}
