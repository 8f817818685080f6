//! Reads `storage.gcs`.

use super::{required, url};
use crate::reader::Reader;
use crate::settings as rows;
use roadstead_access::Secret;
use std::path::PathBuf;

/// Google's endpoint.
const ENDPOINT: &str = "https://storage.googleapis.com";

/// A bucket of Google Cloud Storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gcs {
    /// `_BUCKET`.
    pub bucket: String,
    /// Where it is.
    pub endpoint: String,
    /// A service account's key, as Google's console writes it; `None` for the
    /// platform's credentials.
    pub key: Option<GcsKey>,
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
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let bucket = required(reader, &rows::STORAGE_GCS_BUCKET, "the bucket that holds the data");
        let key = key(reader);
        Some(Self { bucket: bucket?, endpoint: endpoint(reader)?, key })
    }
}

fn endpoint(reader: &mut Reader<'_>) -> Option<String> {
    let Some(value) = reader.read(&rows::STORAGE_GCS_ENDPOINT) else {
        return Some(ENDPOINT.to_owned());
    };
    let endpoint = url::parse(&value, "https");
    if endpoint.is_none() {
        let name = reader.name(&rows::STORAGE_GCS_ENDPOINT.row);
        reader.problem(format!("{name} {}", url::RULE));
    }
    endpoint
}

fn key(reader: &mut Reader<'_>) -> Option<GcsKey> {
    let file = reader.read(&rows::STORAGE_GCS_KEYFILE);
    let json = reader.read(&rows::STORAGE_GCS_CREDENTIALS).map(Secret);
    let fields = reader.has(&rows::GCS_CREDENTIALS);
    let of_file = reader.name(&rows::STORAGE_GCS_KEYFILE.row);
    match (file, json, fields) {
        (Some(file), None, false) => Some(GcsKey::File(file)),
        (None, Some(json), false) => Some(GcsKey::Json(json)),
        (None, None, true) => from_fields(reader).map(GcsKey::Json),
        (None, None, false) => None,
        _ => {
            let credentials = reader.name(&rows::STORAGE_GCS_CREDENTIALS.row);
            reader.problem(format!(
                "{of_file} and {credentials} (or its fields) are both set; keep one of them"
            ));
            None
        }
    }
}

/// The key's JSON out of the fields that a `config.yml` or variables hold.
fn from_fields(reader: &mut Reader<'_>) -> Option<Secret> {
    let fields = [
        ("private_key", &rows::STORAGE_GCS_CREDENTIALS_PRIVATE_KEY),
        ("private_key_id", &rows::STORAGE_GCS_CREDENTIALS_PRIVATE_KEY_ID),
        ("client_email", &rows::STORAGE_GCS_CREDENTIALS_CLIENT_EMAIL),
    ];
    let mut json = String::from("{\"type\":\"service_account\"");
    for (field, setting) in fields {
        let value = required(reader, setting, "a field of the service account's key")?;
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
