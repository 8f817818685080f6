//! `REGISTRY_STORAGE_GCS_*`.

use super::{required, url};
use crate::PREFIX;
use crate::reader::Reader;
use roadstead_access::Secret;
use std::path::PathBuf;

/// Google's endpoint.
const ENDPOINT: &str = "https://storage.googleapis.com";

/// The fields of a service account's key that are needed, as
/// `_CREDENTIALS_<field>` names them.
const FIELDS: [&str; 3] = ["private_key", "private_key_id", "client_email"];

/// A bucket of Google Cloud Storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gcs {
    /// `_BUCKET`.
    pub bucket: String,
    /// Where it is.
    pub endpoint: String,
    /// A service account's key, as Google's console writes it.
    pub key: GcsKey,
}

/// Where a service account's key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GcsKey {
    /// `_KEYFILE`: in a file.
    File(PathBuf),
    /// `_CREDENTIALS`, or its fields as `_CREDENTIALS_PRIVATE_KEY` and so on:
    /// here, as JSON.
    Json(Secret),
}

impl Gcs {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let bucket = required(reader, "STORAGE_GCS_BUCKET", "the bucket that holds the data");
        let key = key(reader);
        Some(Self { bucket: bucket?, endpoint: endpoint(reader)?, key: key? })
    }
}

fn endpoint(reader: &mut Reader) -> Option<String> {
    let Some(value) = reader.text("STORAGE_GCS_ENDPOINT") else { return Some(ENDPOINT.to_owned()) };
    let endpoint = url::parse(&value, "https");
    if endpoint.is_none() {
        reader.problem(format!("{PREFIX}STORAGE_GCS_ENDPOINT {}", url::RULE));
    }
    endpoint
}

fn key(reader: &mut Reader) -> Option<GcsKey> {
    let file = reader.text("STORAGE_GCS_KEYFILE").map(PathBuf::from);
    let json = reader.text("STORAGE_GCS_CREDENTIALS").map(Secret);
    let fields = reader.has("STORAGE_GCS_CREDENTIALS_");
    match (file, json, fields) {
        (Some(file), None, false) => Some(GcsKey::File(file)),
        (None, Some(json), false) => Some(GcsKey::Json(json)),
        (None, None, true) => from_fields(reader).map(GcsKey::Json),
        (None, None, false) => {
            reader.problem(format!(
                "{PREFIX}STORAGE_GCS_* needs {PREFIX}STORAGE_GCS_KEYFILE, a service account's key \
                 in JSON: accounts of the machine are not looked up"
            ));
            None
        }
        _ => {
            reader.problem(format!(
                "{PREFIX}STORAGE_GCS_KEYFILE and {PREFIX}STORAGE_GCS_CREDENTIALS* are both set; \
                 keep one of them"
            ));
            None
        }
    }
}

/// The key's JSON out of the fields that a `config.yml` or variables hold.
fn from_fields(reader: &mut Reader) -> Option<Secret> {
    let mut json = String::from("{\"type\":\"service_account\"");
    for field in FIELDS {
        let setting = format!("STORAGE_GCS_CREDENTIALS_{}", field.to_ascii_uppercase());
        let value = required(reader, &setting, "a field of the service account's key")?;
        // A variable's line breaks are often written out.
        let value = value.replace("\\n", "\n");
        json.extend([",\"", field, "\":", &quoted(&value)]);
    }
    json.push('}');
    Some(Secret(json))
}

/// Text as JSON has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            // No field has others.
            c if c.is_control() => {}
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
