//! The object stores in the settings, as object_store's clients.
//!
//! object_store implements the protocols. This crate provides what it needs to
//! run in a component: cryptography in pure Rust ([`RustCrypto`]), and retries
//! without tokio's timers ([`Client`]). The platform sends the requests: [`open`]
//! takes any [`HttpService`]. Where the settings have no keys, it also gives the
//! credentials: see [`platform`].

mod backend;
mod client;
mod conditions;
mod crypto;
mod exchange;
mod google;
mod open_uploads;
pub mod platform;
mod refusal;
mod s3;
mod signing;
#[cfg(test)]
mod tests;
mod time;

pub use backend::Backend;
pub use client::{Client, Clock, MAX_ATTEMPTS, MAX_PAUSE, REPEAT_TIME};
pub use conditions::{honours_conditions, is_readable};
pub use crypto::RustCrypto;
pub use open_uploads::{OpenUpload, OpenUploads, SentParts, UploadLists, UploadMarker};
pub use refusal::{Refusal, is_unavailable, remedy};
pub use s3::{S3Operations, Verified};
pub use signing::TEMPORARY_URL_TIME;
pub use time::{LIST_TIME, QUICK_TIME, RESPONSE_TIME, response_time};

use google::GoogleLists;
use http::HeaderValue;
use object_store::ClientOptions;
use object_store::ObjectStore;
use object_store::RetryConfig;
use object_store::StaticCredentialProvider;
use object_store::aws::{
    AmazonS3Builder, AwsCredential, AwsCredentialProvider, S3ConditionalPut, S3CopyIfNotExists,
};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector, HttpService};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use platform::{Credentials, Given, GivenKey, GivenToAzure, GivenToGoogle};
use roadstead_config::{
    Azure, AzureCredentials, Cloud, ConditionalWrites, Encryption, Gcs, GcsKey, S3, S3Key, Service,
};
use s3::SignedS3;
use signing::Brief;
use std::sync::Arc;
use std::time::Duration;

/// The user agent of requests, without the setting `_USERAGENT`.
const USER_AGENT: &str = concat!("roadstead/", env!("CARGO_PKG_VERSION"));

/// object_store's name of a setting for which it has no method.
const SERVER_SIDE_ENCRYPTION: &str = "aws_server_side_encryption";

/// Largest file with a service account's key, in bytes.
///
/// Limit: bytes of a file with a service account's key; test: none, it comes from the
/// operator; setting: `REGISTRY_STORAGE_GCS_KEYFILE`.
pub const KEY_FILE_LIMIT: u64 = 64 * 1024;

/// All operations of object_store on a bucket.
pub trait Bucket: ObjectStore + MultipartStore + PaginatedListStore + Signer {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore + Signer> Bucket for T {}

/// An opened bucket.
#[derive(Clone, Debug)]
pub struct OpenBucket {
    /// The operations of object_store.
    pub bucket: Arc<dyn Bucket>,
    /// Additional operations, if it speaks S3's protocol.
    pub s3: Option<Arc<dyn S3Operations>>,
    /// Lists of multipart uploads, if the store's protocol has them.
    pub uploads: Option<Arc<dyn UploadLists>>,
    /// Makes URLs for clients; `None` if the credentials cannot.
    pub signer: Option<Arc<dyn Signer>>,
}

/// Opens the object store in the settings, reached through `service`. Sends no
/// requests yet. `credentials` are the platform's, which are used if the settings
/// have no keys.
///
/// # Errors
/// When a key cannot be read, or there are no credentials.
pub fn open<S, C>(
    cloud: &Cloud,
    service: S,
    clock: C,
    credentials: Option<&Arc<dyn Credentials>>,
) -> Result<OpenBucket, String>
where
    S: HttpService + Clone,
    C: Clock + Clone,
{
    let user_agent = cloud.user_agent.as_deref().unwrap_or(USER_AGENT);
    let user_agent = HeaderValue::from_str(user_agent)
        .map_err(|error| format!("the user agent {user_agent:?}: {error}"))?;
    // On Azure, 409 means that the object exists already.
    let conflicts_end = matches!(cloud.service, Service::S3(_));
    let store =
        format!("{} (see {} and the settings beside it)", cloud.location(), cloud.setting());
    let client = Client::new(service, clock, user_agent.clone(), conflicts_end, &store);
    let connector = Connector(client.clone());
    let given = || {
        let missing = || format!("{}: there are no credentials", cloud.setting());
        credentials.cloned().map(Given).ok_or_else(missing)
    };
    let requests = HttpClient::new(client);
    let mut s3: Option<Arc<dyn S3Operations>> = None;
    let mut uploads: Option<Arc<dyn UploadLists>> = None;
    let bucket = match &cloud.service {
        Service::S3(settings) => {
            let keys: AwsCredentialProvider = match &settings.key {
                Some(key) => Arc::new(StaticCredentialProvider::new(fixed(key))),
                None => Arc::new(GivenKey(given()?)),
            };
            let signed = Arc::new(SignedS3::new(settings, Arc::clone(&keys), requests, user_agent));
            (s3, uploads) = (Some(Arc::clone(&signed) as _), Some(signed as _));
            open_s3(settings, keys, connector)
        }
        Service::Gcs(gcs) => {
            let given = if gcs.key.is_none() { Some(given()?) } else { None };
            open_gcs(gcs, given, connector)?.map(|store| {
                let credentials = Arc::clone(store.credentials());
                let lists = GoogleLists::new(gcs, credentials, requests);
                uploads = Some(Arc::new(lists));
                Arc::new(store) as _
            })
        }
        Service::Azure(azure) => {
            let of_platform = azure.credentials == AzureCredentials::Platform;
            let given = if of_platform { Some(given()?) } else { None };
            open_azure(azure, given, connector)
        }
    };
    let bucket = bucket.map_err(|error| format!("{}: {error}", cloud.setting()))?;
    let signer: Option<Arc<dyn Signer>> = match &cloud.service {
        // Google's service for signatures would be asked for each URL.
        Service::Gcs(Gcs { key: None, .. }) => None,
        _ if cloud.is_temporary() => Some(Arc::new(Brief(Arc::clone(&bucket) as _))),
        _ => Some(Arc::clone(&bucket) as _),
    };
    Ok(OpenBucket { bucket, s3, uploads, signer })
}

fn fixed(key: &S3Key) -> AwsCredential {
    AwsCredential {
        key_id: key.id.clone(),
        secret_key: key.secret.0.clone(),
        token: key.session_token.as_ref().map(|token| token.0.clone()),
    }
}

type Built = object_store::Result<Arc<dyn Bucket>>;

fn open_s3(s3: &S3, keys: AwsCredentialProvider, connector: impl HttpConnector) -> Built {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_endpoint(&s3.endpoint)
        .with_virtual_hosted_style_request(!s3.path_style)
        .with_credentials(keys)
        .with_allow_http(true)
        // TLS already protects the body; hashing it again would cost more than
        // everything else.
        .with_unsigned_payload(s3.endpoint.starts_with("https://"))
        .with_disable_tagging(true)
        .with_crypto_provider(Arc::new(RustCrypto))
        .with_retry(no_retries())
        .with_http_connector(connector);
    builder = match s3.conditional_writes {
        ConditionalWrites::Auto | ConditionalWrites::On => builder
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart),
        ConditionalWrites::Off => builder.with_conditional_put(S3ConditionalPut::Disabled),
    };
    builder = match &s3.encryption {
        Encryption::Default => builder,
        Encryption::Store => builder.with_config(SERVER_SIDE_ENCRYPTION.parse()?, "AES256"),
        Encryption::Key(key) => builder.with_sse_kms_encryption(key),
    };
    Ok(Arc::new(builder.build()?))
}

fn open_gcs(
    gcs: &Gcs,
    given: Option<Given>,
    connector: impl HttpConnector,
) -> Result<object_store::Result<GoogleCloudStorage>, String> {
    let json = match &gcs.key {
        None => None,
        Some(GcsKey::Json(json)) => Some(json.0.clone()),
        Some(GcsKey::File(file)) => {
            let json = platform::read_file(&file.display().to_string(), KEY_FILE_LIMIT)
                .map_err(|problem| format!("REGISTRY_STORAGE_GCS_KEYFILE {problem}"))?;
            Some(json)
        }
    };
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&gcs.bucket)
        .with_base_url(&gcs.endpoint)
        .with_crypto_provider(Arc::new(RustCrypto))
        .with_retry(no_retries())
        .with_http_connector(connector);
    if let Some(json) = json {
        builder = builder.with_service_account_key(json);
    }
    if let Some(given) = given {
        builder = builder.with_credentials(Arc::new(GivenToGoogle(given)));
    }
    Ok(builder.build())
}

fn open_azure(azure: &Azure, given: Option<Given>, connector: impl HttpConnector) -> Built {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&azure.account)
        .with_container_name(&azure.container)
        .with_endpoint(azure.endpoint.clone())
        .with_allow_http(true)
        .with_disable_tagging(true)
        .with_crypto_provider(Arc::new(RustCrypto))
        .with_retry(no_retries())
        .with_http_connector(connector);
    if let Some(given) = given {
        builder = builder.with_credentials(Arc::new(GivenToAzure(given)));
    }
    let builder = match &azure.credentials {
        AzureCredentials::Platform => builder,
        AzureCredentials::Key(key) => builder.with_access_key(&key.0),
        AzureCredentials::Client { tenant, client, secret } => {
            builder.with_client_secret_authorization(client, &secret.0, tenant)
        }
    };
    Ok(Arc::new(builder.build()?))
}

/// Disables object_store's retries, which need tokio's timers; [`Client`] retries
/// instead.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() }
}

/// Provides the same service to all clients of a store.
#[derive(Debug)]
struct Connector<S>(S);

impl<S: HttpService + Clone> HttpConnector for Connector<S> {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
