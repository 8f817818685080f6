//! What all object stores have, in their own sections.

use super::kinds::{Number, Parsed, Path};
use super::{Scope, Setting};
use crate::{DEFAULT_PART_SIZE, MAX_PART_SIZE};

/// Bytes of a part of an upload that Amazon and Azure take at least, but for
/// the last.
///
/// Limit: bytes of a part of an upload, at least; test: `mistakes`; setting:
/// `REGISTRY_STORAGE_S3_CHUNKSIZE`, `REGISTRY_STORAGE_AZURE_CHUNKSIZE`.
const LEAST_PART_SIZE: u64 = 5 * 1024 * 1024;

/// What Google's parts are a multiple of, in bytes.
const GCS_PART_UNIT: u64 = 256 * 1024;

/// Longest prefix of keys, in bytes.
///
/// Limit: bytes of the prefix of all keys; test: `mistakes`;
/// setting: `REGISTRY_STORAGE_S3_ROOTDIRECTORY`.
const PREFIX_LIMIT: usize = 512;

/// Longest `User-Agent`, in bytes.
///
/// Limit: bytes of the name that is sent to a store; test: `mistakes`; setting:
/// `REGISTRY_STORAGE_S3_USERAGENT`, `REGISTRY_STORAGE_GCS_USERAGENT`,
/// `REGISTRY_STORAGE_AZURE_USERAGENT`.
const USER_AGENT_LIMIT: usize = 256;

/// `chunksize`.
pub(super) const fn part_size(key: &'static str) -> Setting<Number> {
    sized(key, LEAST_PART_SIZE, 1)
}

/// `chunksize` of Google Cloud Storage.
pub(super) const fn gcs_part_size(key: &'static str) -> Setting<Number> {
    sized(key, GCS_PART_UNIT, GCS_PART_UNIT)
}

const fn sized(key: &'static str, least: u64, multiple_of: u64) -> Setting<Number> {
    Setting::new(
        key,
        Scope::Component,
        Number {
            default: DEFAULT_PART_SIZE,
            least,
            most: MAX_PART_SIZE,
            multiple_of,
            unit: Some("bytes"),
        },
        "The size of a part of an upload. Parts are held in memory while they are sent.",
    )
    .differs("at most 32 MiB")
}

/// `rootdirectory`.
pub(super) const fn prefix(key: &'static str) -> Setting<Parsed<String>> {
    Setting::new(
        key,
        Scope::Component,
        Parsed {
            name: "names with `/` between them",
            default: String::new,
            written: None,
            parse: names,
        },
        "The prefix of all keys.",
    )
}

/// `rootcertbundle`.
pub(super) const fn root_certificates(key: &'static str) -> Setting<Path> {
    Setting::new(
        key,
        Scope::Host,
        Path("file in PEM"),
        "The CA that issued the store's certificate, trusted in addition to the system's. Read by \
         the native host; other hosts have ways of their own.",
    )
    .by_default("the system's trust store")
    .ours()
}

/// `useragent`.
pub(super) const fn user_agent(key: &'static str) -> Setting<Parsed<Option<String>>> {
    Setting::new(
        key,
        Scope::Component,
        Parsed {
            name: "text, at most 256 ASCII characters",
            default: || None,
            written: None,
            parse: header,
        },
        "The `User-Agent` of requests to the store.",
    )
    .by_default("`roadstead/` and the version")
}

/// A key's beginning: any number of names that are no `.` and no `..`.
fn names(value: &str) -> Result<String, &'static str> {
    let prefix = value.trim_matches('/');
    let plain = |c: char| !c.is_control() && c != '\\';
    let name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(plain);
    if prefix.is_empty() || prefix.len() <= PREFIX_LIMIT && prefix.split('/').all(name) {
        Ok(prefix.to_owned())
    } else {
        Err("must be names with one / between them, as in registry/production")
    }
}

fn header(value: &str) -> Result<Option<String>, &'static str> {
    match value {
        "" => Ok(None),
        _ if value.len() <= USER_AGENT_LIMIT && value.bytes().all(|b| matches!(b, b' '..=b'~')) => {
            Ok(Some(value.to_owned()))
        }
        _ => Err("must be at most 256 ASCII characters"),
    }
}
