//! Google's sources: application default credentials, as far as they are of a
//! machine and not of a person.
//!
//! <https://cloud.google.com/docs/authentication/application-default-credentials>

use super::fetch::Fetching;
use super::{Kind, Source, Variables, origin_in, read_file};
use crate::{Clock, KEY_FILE_LIMIT, RustCrypto, no_retries};
use object_store::client::HttpService;
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// The file of gcloud's below a home, and below `APPDATA` on Windows.
const GCLOUD_FILE: &str = ".config/gcloud/application_default_credentials.json";
const GCLOUD_FILE_WINDOWS: &str = "gcloud/application_default_credentials.json";

/// The metadata server's variables, and what it is without them. object_store reads
/// them too, and asks the second where the first does not answer.
const METADATA_HOST: [&str; 2] = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT"];
const METADATA_IP: &str = "GCE_METADATA_IP";
const DEFAULT_HOST: &str = "metadata.google.internal";
const DEFAULT_IP: &str = "169.254.169.254";

/// The type of a file that is supported.
const SERVICE_ACCOUNT: &str = "service_account";

/// The first source that there is.
pub(super) fn choose(variables: Variables<'_>) -> Result<Source, String> {
    if let Some(file) = variables(FILE) {
        return of_file(FILE, &file);
    }
    // object_store would use this file, too.
    let (home, file) = if cfg!(windows) {
        (variables("APPDATA"), GCLOUD_FILE_WINDOWS)
    } else {
        (variables("HOME"), GCLOUD_FILE)
    };
    let usual = home.map(|home| Path::new(&home).join(file));
    if let Some(file) = usual.filter(|file| file.exists()) {
        return of_file("application default credentials", &file.display().to_string());
    }
    metadata(variables)
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
}

fn of_file(name: &str, file: &str) -> Result<Source, String> {
    let invalid = |problem: String| format!("{name}: {problem}");
    let json = read_file(file, KEY_FILE_LIMIT).map_err(invalid)?;
    // serde's errors do not repeat values.
    let KeyFile { kind } = serde_json::from_str(&json)
        .map_err(|error| format!("{name}: {file} is no file of credentials: {error}"))?;
    if kind != SERVICE_ACCOUNT {
        return Err(invalid(format!(
            "{file} is of the type {kind:?}, which is not supported; it must be \
             {SERVICE_ACCOUNT:?}. On Google's machines and clusters, remove it: the metadata \
             server is asked then"
        )));
    }
    let what = format!("the service account's key in {file}");
    Ok(Source::local(what, Kind::Google(Some(json)), "correct the file, and restart"))
}

/// The service account of a machine, or of a pod on GKE (workload identity).
/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
fn metadata(variables: Variables<'_>) -> Result<Source, String> {
    let named = METADATA_HOST.iter().find_map(|name| Some((*name, variables(name)?)));
    let address = variables(METADATA_IP);
    let fallback = address.clone().or_else(|| named.is_none().then(|| DEFAULT_IP.to_owned()));
    let (name, host) = named.unwrap_or_else(|| (METADATA_HOST[0], DEFAULT_HOST.to_owned()));
    let mut origins = vec![origin_in(name, &format!("http://{host}"), |_| true)?];
    if let Some(fallback) = fallback {
        origins.push(origin_in(METADATA_IP, &format!("http://{fallback}"), |_| true)?);
    }
    Ok(Source {
        what: "the service account of the machine or the pod".to_owned(),
        origins,
        remedy: format!(
            "give the machine or the pod a service account, or set one of: \
             REGISTRY_STORAGE_GCS_KEYFILE; REGISTRY_STORAGE_GCS_CREDENTIALS; {FILE}"
        ),
        kind: Kind::Google(None),
    })
}

/// object_store's provider.
pub(super) fn connect<S, C>(
    key: Option<&str>,
    client: Fetching<S, C>,
) -> object_store::Result<GcpCredentialProvider>
where
    S: HttpService + Clone,
    C: Clock + Clone,
{
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name("none")
        .with_crypto_provider(Arc::new(RustCrypto))
        .with_retry(no_retries())
        .with_http_connector(client);
    if let Some(key) = key {
        builder = builder.with_service_account_key(key);
    }
    Ok(Arc::clone(builder.build()?.credentials()))
}
