//! `storage.azure`.

use super::kinds::{Choice, Leaf, Number, Parsed, Path, Text};
use super::{Scope, Section, Setting, storage, stores, table};

pub(crate) static STORAGE_AZURE: Section = Section::not_empty(
    "storage.azure",
    "name the container with {storage.azure.container}, or remove it",
)
.unless(&storage::STORAGE.row);

/// How requests to Azure are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AzureCredentialsType {
    /// With the account's key.
    SharedKey,
    /// With tokens of Microsoft Entra, for a client with a secret.
    ClientSecret,
    /// With the platform's credentials.
    Platform,
}

table! {
    AZURE_TABLE:

    STORAGE_AZURE_CONTAINER: Text = Setting::new(
        "storage.azure.container",
        Scope::Both,
        Text("text"),
        "The container. It must exist.",
    )
    .by_default("required")
    .help("Azure's container for the data; with _ACCOUNTNAME, maybe _ACCOUNTKEY");

    STORAGE_AZURE_ACCOUNTNAME: Text = Setting::new(
        "storage.azure.accountname",
        Scope::Both,
        Text("text"),
        "The storage account.",
    )
    .by_default("required");

    STORAGE_AZURE_ACCOUNTKEY: Text = Setting::new(
        "storage.azure.accountkey",
        Scope::Component,
        Text("text"),
        "The account's key, which requests are signed with.",
    )
    .by_default("required with `shared_key`")
    .secret();

    STORAGE_AZURE_CREDENTIALS_TYPE: Choice<AzureCredentialsType> = Setting::new(
        "storage.azure.credentials.type",
        Scope::Both,
        Choice {
            default: AzureCredentialsType::SharedKey,
            words: &[
                ("shared_key", AzureCredentialsType::SharedKey),
                ("client_secret", AzureCredentialsType::ClientSecret),
                ("default_credentials", AzureCredentialsType::Platform),
            ],
            also: &[],
            refused: &[],
            boolean: None,
            blank: true,
        },
        "How requests are authorized: with the account's key, as a client of Microsoft Entra with \
         a secret, or with the platform's [credentials](storage.md#credentials-of-the-platform), \
         such as a managed or workload identity.",
    )
    .by_default("`shared_key` with `accountkey`, otherwise `default_credentials`");

    STORAGE_AZURE_CREDENTIALS_TENANTID: Text = Setting::new(
        "storage.azure.credentials.tenantid",
        Scope::Component,
        Text("text"),
        "The client's tenant.",
    )
    .by_default("required with `client_secret`");

    STORAGE_AZURE_CREDENTIALS_CLIENTID: Text = Setting::new(
        "storage.azure.credentials.clientid",
        Scope::Component,
        Text("text"),
        "The client's ID.",
    )
    .by_default("required with `client_secret`");

    STORAGE_AZURE_CREDENTIALS_SECRET: Text = Setting::new(
        "storage.azure.credentials.secret",
        Scope::Component,
        Text("text"),
        "The client's secret.",
    )
    .by_default("required with `client_secret`")
    .secret();

    STORAGE_AZURE_REALM: Text = Setting::new(
        "storage.azure.realm",
        Scope::Both,
        Text("domain"),
        "The domain of another Azure cloud.",
    )
    .by_default("`core.windows.net`");

    STORAGE_AZURE_SERVICEURL: Text = Setting::new(
        "storage.azure.serviceurl",
        Scope::Both,
        Text("URL"),
        "Another endpoint, as of an emulator.",
    )
    .by_default("by account and realm");

    STORAGE_AZURE_ROOTDIRECTORY: Parsed<String> = stores::prefix("storage.azure.rootdirectory");
    STORAGE_AZURE_CHUNKSIZE: Number = stores::part_size("storage.azure.chunksize").ours();
    STORAGE_AZURE_ROOTCERTBUNDLE: Path =
        stores::root_certificates("storage.azure.rootcertbundle");
    STORAGE_AZURE_USERAGENT: Parsed<Option<String>> =
        stores::user_agent("storage.azure.useragent").ours();

    POLL_RETRIES: Leaf = Setting::ignored("storage.azure.copy_status_poll_max_retry", POLLS, Leaf);
    POLL_DELAY: Leaf = Setting::ignored("storage.azure.copy_status_poll_delay", POLLS, Leaf);
    CONNECTIONSTRING: Leaf = Setting::refused(
        "storage.azure.connectionstring",
        "set {storage.azure.accountname}, {storage.azure.accountkey} and \
         {storage.azure.serviceurl}, which it holds",
        Leaf,
    );
    MAX_RETRIES: Leaf = Setting::refused("storage.azure.max_retries", RETRIES, Leaf);
    RETRY_DELAY: Leaf = Setting::refused("storage.azure.retry_delay", RETRIES, Leaf);
    SKIPVERIFY: Leaf = Setting::refused(
        "storage.azure.skipverify",
        "certificates are always verified; name a private CA with {storage.azure.rootcertbundle}",
        Leaf,
    );
}

const RETRIES: &str = "requests are tried up to 4 times within 15 s, which cannot be configured; \
                       remove it";

const POLLS: &str = "copies are waited for without a setting";
