//! `REGISTRY_STORAGE_AZURE_*`.

use super::{required, url};
use crate::PREFIX;
use crate::reader::Reader;
use roadstead_access::Secret;

/// Who gives out tokens for client secrets.
const TOKEN_SERVICE: &str = "https://login.microsoftonline.com";

/// Where accounts are, where `_REALM` does not say otherwise.
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

/// How requests prove whose they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AzureCredentials {
    /// By the account's key.
    Key(Secret),
    /// By tokens of Microsoft Entra, for a client with a secret.
    Client {
        /// `_CREDENTIALS_TENANTID`.
        tenant: String,
        /// `_CREDENTIALS_CLIENTID`.
        client: String,
        /// `_CREDENTIALS_SECRET`.
        secret: Secret,
    },
}

impl Azure {
    pub(super) fn origins(&self) -> Vec<&str> {
        let store = url::origin(&self.endpoint);
        match self.credentials {
            AzureCredentials::Key(_) => vec![store],
            AzureCredentials::Client { .. } => vec![store, TOKEN_SERVICE],
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let account = required(reader, "STORAGE_AZURE_ACCOUNTNAME", "the storage account");
        let container =
            required(reader, "STORAGE_AZURE_CONTAINER", "the container that holds the data");
        let credentials = credentials(reader);
        let account = account?;
        let endpoint = reader.text("STORAGE_AZURE_SERVICEURL").unwrap_or_else(|| {
            let realm = reader.text("STORAGE_AZURE_REALM");
            format!("{account}.blob.{}", realm.as_deref().unwrap_or(DEFAULT_REALM))
        });
        let endpoint = url::parse(&endpoint, "https");
        if endpoint.is_none() {
            reader.problem(format!(
                "{PREFIX}STORAGE_AZURE_SERVICEURL {}; without it, _ACCOUNTNAME and _REALM are \
                 parts of a host's name",
                url::RULE
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

fn credentials(reader: &mut Reader) -> Option<AzureCredentials> {
    let kind = reader.text("STORAGE_AZURE_CREDENTIALS_TYPE");
    match kind.as_deref() {
        None | Some("shared_key") => {
            let what = "the account's key; or set _CREDENTIALS_TYPE=client_secret";
            let key = required(reader, "STORAGE_AZURE_ACCOUNTKEY", what)?;
            Some(AzureCredentials::Key(Secret(key)))
        }
        Some("client_secret") => {
            let mut field = |name: &str| {
                let setting = format!("STORAGE_AZURE_CREDENTIALS_{name}");
                required(reader, &setting, "needed with _CREDENTIALS_TYPE=client_secret")
            };
            let (tenant, client) = (field("TENANTID"), field("CLIENTID"));
            let secret = field("SECRET");
            Some(AzureCredentials::Client {
                tenant: tenant?,
                client: client?,
                secret: Secret(secret?),
            })
        }
        Some(_) => {
            reader.problem(format!(
                "{PREFIX}STORAGE_AZURE_CREDENTIALS_TYPE must be shared_key or client_secret: \
                 identities of the machine are not looked up"
            ));
            None
        }
    }
}
