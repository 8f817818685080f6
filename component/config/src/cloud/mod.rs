//! `REGISTRY_STORAGE_S3_*`, `_GCS_*` and `_AZURE_*`: distribution's object
//! store drivers.

mod azure;
mod gcs;
mod s3;
mod url;

pub use azure::{Azure, AzureCredentials};
pub use gcs::{Gcs, GcsKey};
pub use s3::{ConditionalWrites, Encryption, S3};

use crate::PREFIX;
use crate::reader::{Reader, boolean};
use roadstead_access::Secret;
use std::path::PathBuf;

/// Bytes of a part of an upload, where `_CHUNKSIZE` does not say otherwise:
/// distribution's 10 MiB.
pub const DEFAULT_PART_SIZE: u64 = 10 * MEBIBYTE;

/// The most that `_CHUNKSIZE` can say. A part is in the component's memory
/// while it is sent.
pub const MAX_PART_SIZE: u64 = 32 * MEBIBYTE;

const MEBIBYTE: u64 = 1024 * 1024;

/// An object store that holds the data, in place of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cloud {
    /// Which one, and how to reach it.
    pub service: Service,
    /// `_ROOTDIRECTORY`: what all keys start with, without a slash at its
    /// ends; may be empty.
    pub prefix: String,
    /// `_CHUNKSIZE`: bytes of a part of an upload.
    pub part_size: u64,
    /// `_ROOTCERTBUNDLE`: a file with the authority of the store's certificate,
    /// if it is none that everybody knows. The native host reads it.
    pub root_certificates: Option<PathBuf>,
    /// `_USERAGENT`: how requests to the store say who sends them.
    pub user_agent: Option<String>,
}

/// An object store's kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Service {
    /// Amazon S3, or what speaks its protocol.
    S3(S3),
    /// Google Cloud Storage.
    Gcs(Gcs),
    /// Azure Blob Storage.
    Azure(Azure),
}

impl Cloud {
    /// Where requests go, as `scheme://authority`: the store, and whoever gives
    /// out its tokens.
    pub fn origins(&self) -> Vec<&str> {
        match &self.service {
            Service::S3(s3) => vec![url::origin(&s3.endpoint)],
            Service::Gcs(gcs) => vec![url::origin(&gcs.endpoint)],
            Service::Azure(azure) => azure.origins(),
        }
    }

    /// What opens the store; none if that is in a file that this component
    /// sees.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.service {
            Service::S3(s3) => Some(&s3.secret_key),
            Service::Gcs(Gcs { key: GcsKey::Json(secret), .. }) => Some(secret),
            Service::Gcs(Gcs { key: GcsKey::File(_), .. }) => None,
            Service::Azure(azure) => match &azure.credentials {
                AzureCredentials::Key(secret) | AzureCredentials::Client { secret, .. } => {
                    Some(secret)
                }
            },
        }
    }

    /// The setting that names the store: for messages.
    pub fn setting(&self) -> &'static str {
        match &self.service {
            Service::S3(_) => "REGISTRY_STORAGE_S3_BUCKET",
            Service::Gcs(_) => "REGISTRY_STORAGE_GCS_BUCKET",
            Service::Azure(_) => "REGISTRY_STORAGE_AZURE_CONTAINER",
        }
    }

    /// The store as people know it: `s3://bucket/prefix`.
    pub fn location(&self) -> String {
        let (scheme, bucket) = match &self.service {
            Service::S3(s3) => ("s3", &s3.bucket),
            Service::Gcs(gcs) => ("gs", &gcs.bucket),
            Service::Azure(azure) => ("azure", &azure.container),
        };
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{scheme}://{bucket}{slash}{}", self.prefix)
    }

    /// The object store that is chosen; none if that is a directory.
    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        let driver = Driver::choose(reader)?;
        let section = driver.section();
        let service = match driver {
            Driver::Filesystem => None,
            Driver::S3 => S3::read(reader).map(Service::S3),
            Driver::Gcs => Gcs::read(reader).map(Service::Gcs),
            Driver::Azure => Azure::read(reader).map(Service::Azure),
        };
        let part_size = part_size(reader, driver, section);
        let prefix = prefix(reader, section);
        if let Some(authority) = reader.text("STORAGE_HOST_AUTHORITY")
            && driver != Driver::Filesystem
        {
            reader.problem(format!(
                "{PREFIX}STORAGE_HOST_AUTHORITY={authority:?} leads to a native host's directory, \
                 but {PREFIX}{section}_* is set; keep one of them"
            ));
        }
        Some(Self {
            service: service?,
            prefix,
            part_size,
            root_certificates: reader.text(&format!("{section}_ROOTCERTBUNDLE")).map(PathBuf::from),
            user_agent: user_agent(reader, section),
        })
    }
}

/// distribution's storage drivers, as far as they exist here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Driver {
    Filesystem,
    S3,
    Gcs,
    Azure,
}

impl Driver {
    const ALL: [Self; 4] = [Self::Filesystem, Self::S3, Self::Gcs, Self::Azure];

    const fn section(self) -> &'static str {
        match self {
            Self::Filesystem => "STORAGE_FILESYSTEM",
            Self::S3 => "STORAGE_S3",
            Self::Gcs => "STORAGE_GCS",
            Self::Azure => "STORAGE_AZURE",
        }
    }

    /// The one driver that has settings, or that `REGISTRY_STORAGE` names: as
    /// in distribution, that one counts whatever a file says of others.
    fn choose(reader: &mut Reader) -> Option<Self> {
        if let Some(name) = reader.text("STORAGE") {
            let driver = match name.as_str() {
                "filesystem" => Self::Filesystem,
                "s3" | "s3aws" => Self::S3,
                "gcs" => Self::Gcs,
                "azure" => Self::Azure,
                _ => {
                    reader.problem(format!(
                        "{PREFIX}STORAGE={name:?}: must be filesystem, s3, gcs or azure"
                    ));
                    return None;
                }
            };
            return Some(driver);
        }
        let configured = Self::ALL.map(|driver| reader.has(&format!("{}_", driver.section())));
        let mut chosen = Self::ALL.iter().zip(configured).filter(|(_, has)| *has).map(|(d, _)| d);
        let first = chosen.next().copied();
        if let (Some(first), Some(second)) = (first, chosen.next()) {
            reader.problem(format!(
                "{PREFIX}{}_* and {PREFIX}{}_* are both set; keep one of them, or name one with \
                 {PREFIX}STORAGE",
                first.section(),
                second.section()
            ));
            return None;
        }
        first
    }
}

fn part_size(reader: &mut Reader, driver: Driver, section: &str) -> u64 {
    // What the stores themselves ask for.
    let (least, unit, rule) = match driver {
        Driver::Gcs => {
            (MEBIBYTE / 4, MEBIBYTE / 4, "must be a multiple of 262144, at most 33554432")
        }
        _ => (5 * MEBIBYTE, 1, "must be a number of bytes from 5242880 to 33554432"),
    };
    reader.read(&format!("{section}_CHUNKSIZE"), DEFAULT_PART_SIZE, |value| {
        let bytes = value.parse::<u64>().ok().filter(|bytes| bytes.is_multiple_of(unit));
        bytes.filter(|bytes| (least..=MAX_PART_SIZE).contains(bytes)).ok_or(rule)
    })
}

/// A key's beginning: any number of names that are no `.` and no `..`.
fn prefix(reader: &mut Reader, section: &str) -> String {
    const LIMIT: usize = 512;
    if section == Driver::Filesystem.section() {
        return String::new();
    }
    reader.read(&format!("{section}_ROOTDIRECTORY"), String::new(), |value| {
        let prefix = value.trim_matches('/');
        let plain = |c: char| !c.is_control() && c != '\\';
        let name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(plain);
        if prefix.is_empty() || prefix.len() <= LIMIT && prefix.split('/').all(name) {
            Ok(prefix.to_owned())
        } else {
            Err("must be names with one / between them, as in registry/production")
        }
    })
}

fn user_agent(reader: &mut Reader, section: &str) -> Option<String> {
    const LIMIT: usize = 256;
    reader.read(&format!("{section}_USERAGENT"), None, |value| match value {
        "" => Ok(None),
        _ if value.len() <= LIMIT && value.bytes().all(|b| matches!(b, b' '..=b'~')) => {
            Ok(Some(value.to_owned()))
        }
        _ => Err("must be at most 256 ASCII characters"),
    })
}

/// A setting that can only be `so`, and the reason why.
fn must_be(reader: &mut Reader, key: &str, so: bool, reason: &'static str) {
    reader.read(key, so, |value| match boolean(value)? {
        value if value == so => Ok(value),
        _ => Err(reason),
    });
}

/// A setting without which there is no store.
fn required(reader: &mut Reader, key: &str, what: &str) -> Option<String> {
    let value = reader.text(key);
    if value.is_none() {
        reader.problem(format!("{PREFIX}{key} is missing: {what}"));
    }
    value
}
