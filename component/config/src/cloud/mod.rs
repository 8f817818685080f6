//! Reads `storage.s3`, `storage.gcs` and `storage.azure`: distribution's object
//! store drivers.

mod azure;
mod gcs;
mod s3;
mod url;

pub use azure::{Azure, AzureCredentials};
pub use gcs::{Gcs, GcsKey};
pub use s3::{ConditionalWrites, Encryption, S3, S3Key};

use crate::reader::Reader;
use crate::settings::{self as rows, Number, Parsed, Path, Row, Section, Setting, ValueType};
use roadstead_access::Secret;
use std::path::PathBuf;

/// An object store that holds the data, in place of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cloud {
    /// Which one, and how to reach it.
    pub service: Service,
    /// `_ROOTDIRECTORY`: the prefix of all keys, without a slash at its ends; may
    /// be empty.
    pub prefix: String,
    /// `_CHUNKSIZE`: bytes of a part of an upload.
    pub part_size: u64,
    /// `_ROOTCERTBUNDLE`: a file with the CA that issued the store's certificate,
    /// trusted in addition to the system's. The native host reads it.
    pub root_certificates: Option<PathBuf>,
    /// `_USERAGENT`: the `User-Agent` of requests to the store.
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
    /// sees, or the platform gives it.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.service {
            Service::S3(s3) => s3.key.as_ref().map(|key| &key.secret),
            Service::Gcs(gcs) => match &gcs.key {
                Some(GcsKey::Json(secret)) => Some(secret),
                Some(GcsKey::File(_)) | None => None,
            },
            Service::Azure(azure) => match &azure.credentials {
                AzureCredentials::Key(secret) | AzureCredentials::Client { secret, .. } => {
                    Some(secret)
                }
                AzureCredentials::Platform => None,
            },
        }
    }

    /// Whether the platform gives the credentials, because the settings have
    /// none.
    pub fn needs_platform(&self) -> bool {
        match &self.service {
            Service::S3(s3) => s3.key.is_none(),
            Service::Gcs(gcs) => gcs.key.is_none(),
            Service::Azure(azure) => azure.credentials == AzureCredentials::Platform,
        }
    }

    /// Whether the credentials end by themselves.
    pub fn is_temporary(&self) -> bool {
        let lent = |s3: &S3| s3.key.as_ref().is_some_and(|key| key.session_token.is_some());
        self.needs_platform() || matches!(&self.service, Service::S3(s3) if lent(s3))
    }

    /// The setting that names the store: for messages.
    pub fn setting(&self) -> String {
        self.rows().0.variable()
    }

    /// The setting with the CA that issued the store's certificate: for
    /// messages.
    pub fn root_certificates_setting(&self) -> String {
        self.rows().1.variable()
    }

    fn rows(&self) -> (&'static Row, &'static Row) {
        match &self.service {
            Service::S3(_) => (&rows::STORAGE_S3_BUCKET.row, &rows::STORAGE_S3_ROOTCERTBUNDLE.row),
            Service::Gcs(_) => {
                (&rows::STORAGE_GCS_BUCKET.row, &rows::STORAGE_GCS_ROOTCERTBUNDLE.row)
            }
            Service::Azure(_) => {
                (&rows::STORAGE_AZURE_CONTAINER.row, &rows::STORAGE_AZURE_ROOTCERTBUNDLE.row)
            }
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
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let driver = Driver::choose(reader)?;
        let common = driver.common()?;
        let service = match driver {
            Driver::Filesystem => None,
            Driver::S3 => S3::read(reader).map(Service::S3),
            Driver::Gcs => Gcs::read(reader).map(Service::Gcs),
            Driver::Azure => Azure::read(reader).map(Service::Azure),
        };
        let part_size = reader.read(common.part_size);
        let prefix = reader.read(common.prefix);
        Some(Self {
            service: service?,
            prefix,
            part_size,
            root_certificates: reader.read(common.root_certificates),
            user_agent: reader.read(common.user_agent),
        })
    }
}

/// distribution's storage drivers, as far as they exist here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    Filesystem,
    S3,
    Gcs,
    Azure,
}

/// The settings that all object stores have.
struct Common {
    prefix: &'static Setting<Parsed<String>>,
    part_size: &'static Setting<Number>,
    root_certificates: &'static Setting<Path>,
    user_agent: &'static Setting<Parsed<Option<String>>>,
}

impl Driver {
    const ALL: [Self; 4] = [Self::Filesystem, Self::S3, Self::Gcs, Self::Azure];

    const fn section(self) -> &'static Section {
        match self {
            Self::Filesystem => &rows::STORAGE_FILESYSTEM,
            Self::S3 => &rows::STORAGE_S3,
            Self::Gcs => &rows::STORAGE_GCS,
            Self::Azure => &rows::STORAGE_AZURE,
        }
    }

    const fn common(self) -> Option<Common> {
        Some(match self {
            Self::Filesystem => return None,
            Self::S3 => Common {
                prefix: &rows::STORAGE_S3_ROOTDIRECTORY,
                part_size: &rows::STORAGE_S3_CHUNKSIZE,
                root_certificates: &rows::STORAGE_S3_ROOTCERTBUNDLE,
                user_agent: &rows::STORAGE_S3_USERAGENT,
            },
            Self::Gcs => Common {
                prefix: &rows::STORAGE_GCS_ROOTDIRECTORY,
                part_size: &rows::STORAGE_GCS_CHUNKSIZE,
                root_certificates: &rows::STORAGE_GCS_ROOTCERTBUNDLE,
                user_agent: &rows::STORAGE_GCS_USERAGENT,
            },
            Self::Azure => Common {
                prefix: &rows::STORAGE_AZURE_ROOTDIRECTORY,
                part_size: &rows::STORAGE_AZURE_CHUNKSIZE,
                root_certificates: &rows::STORAGE_AZURE_ROOTCERTBUNDLE,
                user_agent: &rows::STORAGE_AZURE_USERAGENT,
            },
        })
    }

    /// The driver that the settings name, and otherwise the one that has
    /// settings. As in distribution, the name counts whatever a file says of
    /// other drivers.
    fn choose(reader: &mut Reader<'_>) -> Option<Self> {
        // A name that is none of a driver is a problem already.
        if let Some(driver) = reader.try_read(&rows::STORAGE)? {
            return Some(driver);
        }
        let mut chosen = Self::ALL.into_iter().filter(|driver| reader.has(driver.section()));
        let (first, second) = (chosen.next()?, chosen.next());
        let Some(second) = second else { return Some(first) };
        reader.problem(format!(
            "{} and {} are both set; keep one of them, or name one with {}",
            reader.section(first.section()),
            reader.section(second.section()),
            reader.name(&rows::STORAGE.row)
        ));
        None
    }
}

/// A setting without which there is no store.
fn required<K>(reader: &mut Reader<'_>, setting: &Setting<K>, what: &str) -> Option<String>
where
    K: ValueType<Value = Option<String>>,
{
    let value = reader.try_read(setting)?;
    if value.is_none() {
        let name = reader.name(&setting.row);
        reader.problem(format!("{name} is missing: {what}"));
    }
    value
}
