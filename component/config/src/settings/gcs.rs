//! `storage.gcs`.

use super::kinds::{Below, Leaf, Number, Parsed, Path, Text};
use super::{Scope, Section, Setting, storage, stores, table};

pub(crate) static STORAGE_GCS: Section =
    Section::not_empty("storage.gcs", "name the bucket with {storage.gcs.bucket}, or remove it")
        .unless(&storage::STORAGE.row);

pub(crate) static GCS_CREDENTIALS: Section = Section::new("storage.gcs.credentials");

table! {
    GCS_TABLE:

    STORAGE_GCS_BUCKET: Text = Setting::new(
        "storage.gcs.bucket",
        Scope::Both,
        Text("text"),
        "The bucket. It must exist.",
    )
    .by_default("required")
    .help("Google's bucket for the data; maybe with _KEYFILE");

    STORAGE_GCS_KEYFILE: Path = Setting::new(
        "storage.gcs.keyfile",
        Scope::Host,
        Path("file in JSON"),
        "A service account's key, as Google's console writes it. Without it and `credentials`, the \
         platform's [credentials](storage.md#credentials-of-the-platform) are used, and clients \
         are not redirected to the bucket.",
    )
    .by_default("the platform's");

    STORAGE_GCS_CREDENTIALS: Text = Setting::new(
        "storage.gcs.credentials",
        Scope::Component,
        Text("JSON"),
        "The content of such a file.",
    )
    .secret();

    STORAGE_GCS_CREDENTIALS_PRIVATE_KEY: Text = Setting::new(
        "storage.gcs.credentials.private_key",
        Scope::Component,
        Text("text"),
        "With the next two, the fields of such a file that are needed.",
    )
    .secret();

    STORAGE_GCS_CREDENTIALS_PRIVATE_KEY_ID: Text = Setting::new(
        "storage.gcs.credentials.private_key_id",
        Scope::Component,
        Text("text"),
        "See `private_key`.",
    );

    STORAGE_GCS_CREDENTIALS_CLIENT_EMAIL: Text = Setting::new(
        "storage.gcs.credentials.client_email",
        Scope::Component,
        Text("text"),
        "See `private_key`.",
    );

    STORAGE_GCS_ENDPOINT: Text = Setting::new(
        "storage.gcs.endpoint",
        Scope::Both,
        Text("URL"),
        "Another endpoint, as of a private connection, or of an emulator: \
         `http://127.0.0.1:4443`. Requests are signed there too; an emulator takes any service \
         account's key.",
    )
    .by_default("`https://storage.googleapis.com`")
    .ours();

    STORAGE_GCS_ROOTDIRECTORY: Parsed<String> = stores::prefix("storage.gcs.rootdirectory");
    STORAGE_GCS_CHUNKSIZE: Number = stores::gcs_part_size("storage.gcs.chunksize");
    STORAGE_GCS_ROOTCERTBUNDLE: Path = stores::root_certificates("storage.gcs.rootcertbundle");
    STORAGE_GCS_USERAGENT: Parsed<Option<String>> = stores::user_agent("storage.gcs.useragent");

    MAXCONCURRENCY: Leaf = Setting::ignored(
        "storage.gcs.maxconcurrency",
        "requests are limited by {http.maxrequests}",
        Leaf,
    );
    OTHER_FIELDS: Below = Setting::ignored(
        "storage.gcs.credentials",
        "the other fields of a key are not needed",
        Below(&[
            "type",
            "project_id",
            "client_id",
            "auth_uri",
            "token_uri",
            "auth_provider_x509_cert_url",
            "client_x509_cert_url",
        ]),
    );
}
