//! `storage.s3`.

use super::kinds::{Choice, Flag, Leaf, Number, Only, Parsed, Path, Text};
use super::{Scope, Section, Setting, storage, stores, table};
use crate::ConditionalWrites;

pub(crate) static STORAGE_S3: Section =
    Section::not_empty("storage.s3", "name the bucket with {storage.s3.bucket}, or remove it")
        .unless(&storage::STORAGE.row);

table! {
    S3_TABLE:

    STORAGE_S3_BUCKET: Parsed<Option<String>> = Setting::new(
        "storage.s3.bucket",
        Scope::Both,
        Parsed {
            name: "3 to 63 of `a-z`, `0-9`, `-` and `.`",
            default: || None,
            written: None,
            parse: bucket,
        },
        "The bucket.",
    )
    .by_default("required")
    .help("S3 bucket for the data; with _REGION, maybe _ACCESSKEY, _SECRETKEY");

    STORAGE_S3_REGION: Text = Setting::new(
        "storage.s3.region",
        Scope::Both,
        Text("text"),
        "The bucket's region, as in `eu-central-1`.",
    )
    .by_default("required; `us-east-1` with `regionendpoint`");

    STORAGE_S3_REGIONENDPOINT: Text = Setting::new(
        "storage.s3.regionendpoint",
        Scope::Both,
        Text("URL, or `host:port`"),
        "The endpoint of a compatible store, as in `https://s3.example:9000`.",
    )
    .by_default("Amazon's for the region");

    STORAGE_S3_ACCESSKEY: Text = Setting::new(
        "storage.s3.accesskey",
        Scope::Component,
        Text("text"),
        "The ID of the key that requests are signed with. Without it, the platform's \
         [credentials](storage.md#credentials-of-the-platform) are used: variables, web identity, \
         a profile, a task's or an instance's role.",
    )
    .by_default("the platform's");

    STORAGE_S3_SECRETKEY: Text = Setting::new(
        "storage.s3.secretkey",
        Scope::Component,
        Text("text"),
        "The secret of that key.",
    )
    .by_default("the platform's")
    .secret();

    STORAGE_S3_SESSIONTOKEN: Text = Setting::new(
        "storage.s3.sessiontoken",
        Scope::Component,
        Text("text"),
        "Session token of temporary credentials.",
    )
    .ours()
    .secret();

    STORAGE_S3_FORCEPATHSTYLE: Flag = Setting::new(
        "storage.s3.forcepathstyle",
        Scope::Both,
        Flag(false),
        "`true`: the bucket is the first part of the path, and not part of the host name.",
    )
    .by_default(
        "`false` at Amazon, unless the bucket has dots in its name and TLS is used; `true` if \
         `regionendpoint` names another store",
    )
    .differs(
        "the default is `true` with another store's `regionendpoint`, as in version 2.8; in \
         version 3 it is always `false`",
    );

    STORAGE_S3_SECURE: Flag = Setting::new(
        "storage.s3.secure",
        Scope::Both,
        Flag(true),
        "`false`: plain HTTP, where `regionendpoint` has no scheme.",
    );

    STORAGE_S3_ACCELERATE: Flag = Setting::new(
        "storage.s3.accelerate",
        Scope::Both,
        Flag(false),
        "`true`: Amazon's endpoint for transfer acceleration.",
    );

    STORAGE_S3_USEDUALSTACK: Flag = Setting::new(
        "storage.s3.usedualstack",
        Scope::Both,
        Flag(false),
        "`true`: Amazon's endpoint for IPv4 and IPv6.",
    );

    STORAGE_S3_ENCRYPT: Flag = Setting::new(
        "storage.s3.encrypt",
        Scope::Component,
        Flag(false),
        "`true`: the store encrypts objects, with a key of its own (SSE-S3) or with `keyid`.",
    );

    STORAGE_S3_KEYID: Text = Setting::new(
        "storage.s3.keyid",
        Scope::Component,
        Text("text"),
        "The key of the store's key service (SSE-KMS). Needs `encrypt`.",
    )
    .differs("without `encrypt` it is an error");

    STORAGE_S3_CONDITIONALWRITES: Choice<ConditionalWrites> = Setting::new(
        "storage.s3.conditionalwrites",
        Scope::Component,
        Choice {
            default: ConditionalWrites::Auto,
            words: &[
                ("auto", ConditionalWrites::Auto),
                ("on", ConditionalWrites::On),
                ("off", ConditionalWrites::Off),
            ],
            also: &[],
            refused: &[],
            boolean: Some([ConditionalWrites::Off, ConditionalWrites::On]),
            blank: true,
        },
        "Whether the store honours `If-None-Match` and `If-Match` in writes. `auto` finds out by a \
         request; some stores ignore them silently.",
    )
    .ours();

    STORAGE_S3_EQUALPARTS: Flag = Setting::new(
        "storage.s3.equalparts",
        Scope::Component,
        Flag(false),
        "`true`: all parts of an upload but the last have the same size, as Cloudflare R2 \
         requires.",
    )
    .ours();

    STORAGE_S3_ROOTDIRECTORY: Parsed<String> = stores::prefix("storage.s3.rootdirectory");
    STORAGE_S3_CHUNKSIZE: Number = stores::part_size("storage.s3.chunksize");
    STORAGE_S3_ROOTCERTBUNDLE: Path = stores::root_certificates("storage.s3.rootcertbundle");
    STORAGE_S3_USERAGENT: Parsed<Option<String>> = stores::user_agent("storage.s3.useragent");

    STORAGE_S3_SKIPVERIFY: Only = Setting::new(
        "storage.s3.skipverify",
        Scope::Host,
        Only::off(
            "certificates are always verified; name a private CA with \
             {storage.s3.rootcertbundle}",
        ),
        "Certificates are always verified; name a private CA with `rootcertbundle`.",
    );
    STORAGE_S3_V4AUTH: Only = Setting::new(
        "storage.s3.v4auth",
        Scope::Host,
        Only::on("requests are signed with version 4 only"),
        "Requests are signed with version 4 only.",
    );
    STORAGE_S3_USEFIPSENDPOINT: Only = Setting::new(
        "storage.s3.usefipsendpoint",
        Scope::Host,
        Only::off("name the endpoint with {storage.s3.regionendpoint}"),
        "Name the FIPS endpoint with `regionendpoint`.",
    );
    STORAGE_S3_STORAGECLASS: Only = Setting::new(
        "storage.s3.storageclass",
        Scope::Host,
        Only {
            value: "STANDARD",
            is: |class| {
                Some(matches!(class.to_ascii_uppercase().as_str(), "" | "STANDARD" | "NONE"))
            },
            reason: "must be STANDARD; have a lifecycle rule of the bucket move objects",
        },
        "Have a lifecycle rule of the bucket move objects to another class.",
    );
    STORAGE_S3_OBJECTACL: Only = Setting::new(
        "storage.s3.objectacl",
        Scope::Host,
        Only {
            value: "private",
            is: |acl| Some(matches!(acl, "" | "private")),
            reason: "must be private; give access by a policy of the bucket",
        },
        "Grant access by a policy of the bucket.",
    );

    LOGLEVEL: Leaf = Setting::ignored(
        "storage.s3.loglevel",
        "requests to the store are not logged one by one",
        Leaf,
    );
    COPY_SIZE: Leaf = Setting::ignored("storage.s3.multipartcopychunksize", COPIES, Leaf);
    COPY_CONCURRENCY: Leaf =
        Setting::ignored("storage.s3.multipartcopymaxconcurrency", COPIES, Leaf);
    COPY_THRESHOLD: Leaf = Setting::ignored("storage.s3.multipartcopythresholdsize", COPIES, Leaf);
    REDIRECTENDPOINT: Leaf = Setting::refused(
        "storage.s3.redirectendpoint",
        "clients are redirected to the endpoint that the registry itself uses; make that one \
         public, or set {storage.redirect.disable}",
        Leaf,
    );
}

const COPIES: &str = "large objects are copied in parts without a setting";

fn bucket(name: &str) -> Result<Option<String>, &'static str> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if name.trim().is_empty() {
        Ok(None)
    } else if (3..=63).contains(&name.len()) && name.bytes().all(plain) {
        Ok(Some(name.to_owned()))
    } else {
        Err("must be 3 to 63 of a-z, 0-9, - and .")
    }
}
