//! Azure's sources, in the order of its `DefaultAzureCredential`.
//!
//! <https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains>

use super::fetch::Fetching;
use super::{Kind, Source, Variables, is_loopback, origin_in};
use crate::{Clock, RustCrypto, no_retries};
use object_store::azure::{AzureCredentialProvider, MicrosoftAzureBuilder};
use object_store::client::HttpService;
use std::sync::Arc;

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const APP_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const APP_SECRET: &str = "IDENTITY_HEADER";
const METADATA: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// Microsoft Entra, in the public cloud.
const DEFAULT_AUTHORITY: &str = "https://login.microsoftonline.com";

/// The instance metadata service.
const DEFAULT_METADATA: &str = "http://169.254.169.254";

/// Where it gives tokens.
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";

/// The first source that there is.
pub(super) fn choose(variables: Variables<'_>) -> Result<Source, String> {
    if let (Some(tenant), Some(client)) = (variables(TENANT), variables(CLIENT)) {
        if let Some(secret) = variables(SECRET) {
            let more = ("azure_client_secret", secret);
            return of_entra(variables, tenant, client, "with its secret", more);
        }
        if let Some(file) = variables(TOKEN_FILE) {
            let how = format!("by the token {file} (workload identity)");
            let more = ("azure_federated_token_file", file);
            return of_entra(variables, tenant, client, &how, more);
        }
    } else if variables(SECRET).is_some() || variables(TOKEN_FILE).is_some() {
        return Err(format!("{SECRET} and {TOKEN_FILE} need {TENANT} and {CLIENT}"));
    }
    managed(variables)
}

/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
fn of_entra(
    variables: Variables<'_>,
    tenant: String,
    client: String,
    how: &str,
    more: (&'static str, String),
) -> Result<Source, String> {
    let authority = variables(AUTHORITY).unwrap_or_else(|| DEFAULT_AUTHORITY.to_owned());
    let authority = authority.trim_end_matches('/').to_owned();
    Ok(Source {
        what: format!("the client {client} of the tenant {tenant}, {how}"),
        origins: vec![origin_in(AUTHORITY, &authority, is_loopback)?],
        remedy: format!("correct {TENANT}, {CLIENT} and {}", more.0.to_ascii_uppercase()),
        kind: Kind::Azure(vec![
            ("azure_tenant_id", tenant),
            ("azure_client_id", client),
            ("azure_authority_host", authority),
            more,
        ]),
    })
}

/// A managed identity: of App Service, if it is there, or of a machine.
fn managed(variables: Variables<'_>) -> Result<Source, String> {
    // It comes with a secret that only this address knows what to do with.
    let app = variables(APP_ENDPOINT).filter(|_| variables(APP_SECRET).is_some());
    let (what, name, endpoint) = if let Some(endpoint) = app {
        // <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
        ("the managed identity of the app", APP_ENDPOINT, endpoint)
    } else {
        // <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
        let origin = variables(METADATA).unwrap_or_else(|| DEFAULT_METADATA.to_owned());
        let endpoint = format!("{}{METADATA_PATH}", origin.trim_end_matches('/'));
        ("the managed identity of the machine", METADATA, endpoint)
    };
    let mut settings = vec![("azure_msi_endpoint", endpoint.clone())];
    settings.extend(variables(CLIENT).map(|client| ("azure_client_id", client)));
    Ok(Source {
        what: what.to_owned(),
        origins: vec![origin_in(name, &endpoint, |_| true)?],
        remedy: format!(
            "assign an identity ({CLIENT} names one of several), or set one of: \
             REGISTRY_STORAGE_AZURE_ACCOUNTKEY; REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE=\
             client_secret; {TENANT}, {CLIENT} and {SECRET}; {TENANT}, {CLIENT} and {TOKEN_FILE}; \
             {APP_ENDPOINT} and {APP_SECRET}"
        ),
        kind: Kind::Azure(settings),
    })
}

/// object_store's provider for these settings.
pub(super) fn connect<S, C>(
    settings: &[(&'static str, String)],
    client: Fetching<S, C>,
) -> object_store::Result<AzureCredentialProvider>
where
    S: HttpService + Clone,
    C: Clock + Clone,
{
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account("none")
        .with_container_name("none")
        .with_crypto_provider(Arc::new(RustCrypto))
        .with_retry(no_retries())
        .with_http_connector(client);
    for (name, value) in settings {
        builder = builder.with_config(name.parse()?, value);
    }
    Ok(Arc::clone(builder.build()?.credentials()))
}
