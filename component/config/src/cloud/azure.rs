//! Reads `storage.azure`.

use super::{required, url};
use crate::reader::Reader;
use crate::settings::{self as rows, AzureCredentialsType};
use roadstead_access::Secret;

/// Issues tokens for client secrets.
const TOKEN_SERVICE: &str = "https://login.microsoftonline.com";

/// The domain of accounts, where `_REALM` does not say otherwise.
const DEFAULT_REALM: &str = "core.windows.net";

/// A container of Azure Blob Storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Azure {
    /// `_ACCOUNTNAME`.
    pub account: String,
    /// `_CONTAINER`.
    pub container: String,
    /// `_SERVICEURL`, or what it is by `_REALM`; without a slash at its end.
    pub endpoint: String,
    /// `_ACCOUNTKEY` or `_CREDENTIALS_*`.
    pub credentials: AzureCredentials,
}

/// How requests are authorized.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AzureCredentials {
    /// With the account's key.
    Key(Secret),
    /// With tokens of Microsoft Entra, for a client with a secret.
    Client {
        /// `_CREDENTIALS_TENANTID`.
        tenant: String,
        /// `_CREDENTIALS_CLIENTID`.
        client: String,
        /// `_CREDENTIALS_SECRET`.
        secret: Secret,
    },
    /// With the platform's credentials.
    Platform,
}

impl Azure {
    pub(super) fn origins(&self) -> Vec<&str> {
        let store = url::origin(&self.endpoint);
        match self.credentials {
            AzureCredentials::Key(_) | AzureCredentials::Platform => vec![store],
            AzureCredentials::Client { .. } => vec![store, TOKEN_SERVICE],
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let account = required(reader, &rows::STORAGE_AZURE_ACCOUNTNAME, "the storage account");
        let container =
            required(reader, &rows::STORAGE_AZURE_CONTAINER, "the container that holds the data");
        let credentials = credentials(reader);
        let account = account?;
        let url = reader.read(&rows::STORAGE_AZURE_SERVICEURL).unwrap_or_else(|| {
            let realm = reader.read(&rows::STORAGE_AZURE_REALM);
            format!("{account}.blob.{}", realm.as_deref().unwrap_or(DEFAULT_REALM))
        });
        let endpoint = url::parse(&url, "https");
        if endpoint.is_none() {
            // The value may hold a token.
            reader.problem(format!(
                "{} {}; without it, {} and {} must be parts of a host name",
                reader.name(&rows::STORAGE_AZURE_SERVICEURL.row),
                url::RULE,
                reader.name(&rows::STORAGE_AZURE_ACCOUNTNAME.row),
                reader.name(&rows::STORAGE_AZURE_REALM.row)
            ));
        }
        Some(Self {
            account,
            container: container?,
            endpoint: endpoint?,
            credentials: credentials?,
        })
    }
}

fn credentials(reader: &mut Reader<'_>) -> Option<AzureCredentials> {
    match reader.try_read(&rows::STORAGE_AZURE_CREDENTIALS_TYPE)? {
        AzureCredentialsType::Platform => Some(AzureCredentials::Platform),
        AzureCredentialsType::SharedKey => {
            let chosen = reader.is_set(&rows::STORAGE_AZURE_CREDENTIALS_TYPE.row);
            if !chosen && !reader.is_set(&rows::STORAGE_AZURE_ACCOUNTKEY.row) {
                return Some(AzureCredentials::Platform);
            }
            let others = ["client_secret", "default_credentials"]
                .map(|other| reader.with(&rows::STORAGE_AZURE_CREDENTIALS_TYPE.row, other));
            let what = format!("the account's key; or set {}", others.join(" or "));
            let key = required(reader, &rows::STORAGE_AZURE_ACCOUNTKEY, &what)?;
            Some(AzureCredentials::Key(Secret(key)))
        }
        AzureCredentialsType::ClientSecret => {
            let chosen = reader.with(&rows::STORAGE_AZURE_CREDENTIALS_TYPE.row, "client_secret");
            let what = format!("needed with {chosen}");
            let tenant = required(reader, &rows::STORAGE_AZURE_CREDENTIALS_TENANTID, &what);
            let client = required(reader, &rows::STORAGE_AZURE_CREDENTIALS_CLIENTID, &what);
            let secret = required(reader, &rows::STORAGE_AZURE_CREDENTIALS_SECRET, &what);
            Some(AzureCredentials::Client {
                tenant: tenant?,
                client: client?,
                secret: Secret(secret?),
            })
        }
    }
}
