//! Object stores.

use super::{problem, read};
use crate::{
    Azure, AzureCredentials, Cloud, ConditionalWrites, DEFAULT_PART_SIZE, Encryption, Gcs, GcsKey,
    S3, S3Key, Service,
};
use roadstead_access::Secret;

/// A setting's name and value.
type Variable = (&'static str, &'static str);

const BUCKET: Variable = ("STORAGE_S3_BUCKET", "images");
const REGION: Variable = ("STORAGE_S3_REGION", "eu-central-1");
const ACCESS: Variable = ("STORAGE_S3_ACCESSKEY", "GK31c2f218a2e44f485b94239e");
const SECRET: Variable = ("STORAGE_S3_SECRETKEY", "tell-nobody");
const ENDPOINT: Variable = ("STORAGE_S3_REGIONENDPOINT", "http://127.0.0.1:3900");

fn key() -> S3Key {
    let secret = Secret("tell-nobody".to_owned());
    S3Key { id: ACCESS.1.to_owned(), secret, session_token: None }
}

fn s3() -> S3 {
    S3 {
        bucket: "images".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: "https://images.s3.eu-central-1.amazonaws.com".to_owned(),
        path_style: false,
        key: Some(key()),
        encryption: Encryption::Default,
        conditional_writes: ConditionalWrites::Auto,
        equal_parts: false,
    }
}

fn cloud(variables: &[Variable]) -> Cloud {
    let config = read(variables).unwrap_or_else(|problems| panic!("{variables:?}: {problems}"));
    config.cloud.unwrap_or_else(|| panic!("{variables:?}: a directory"))
}

fn of_s3(more: &[Variable]) -> S3 {
    match cloud(&[&[BUCKET, REGION, ACCESS, SECRET], more].concat()).service {
        Service::S3(s3) => s3,
        other => panic!("{more:?}: {other:?}"),
    }
}

#[test]
fn s3_is_read() {
    for (more, expected) in [
        (&[][..], s3()),
        (&[("STORAGE_S3_ENCRYPT", "true")], S3 { encryption: Encryption::Store, ..s3() }),
        (
            &[("STORAGE_S3_ENCRYPT", "true"), ("STORAGE_S3_KEYID", "alias/a")],
            S3 { encryption: Encryption::Key("alias/a".to_owned()), ..s3() },
        ),
        (
            &[("STORAGE_S3_SESSIONTOKEN", "lent")],
            S3 {
                key: Some(S3Key { session_token: Some(Secret("lent".to_owned())), ..key() }),
                ..s3()
            },
        ),
        (
            &[("STORAGE_S3_CONDITIONALWRITES", "off"), ("STORAGE_S3_EQUALPARTS", "true")],
            S3 { conditional_writes: ConditionalWrites::Off, equal_parts: true, ..s3() },
        ),
        // What happens anyway can be asked for.
        (
            &[
                ("STORAGE", "s3"),
                ("STORAGE_S3_SKIPVERIFY", "false"),
                ("STORAGE_S3_V4AUTH", "true"),
                ("STORAGE_S3_USEFIPSENDPOINT", "false"),
                ("STORAGE_S3_STORAGECLASS", "standard"),
                ("STORAGE_S3_OBJECTACL", "private"),
                ("STORAGE_S3_LOGLEVEL", "debug"),
                ("STORAGE_S3_MULTIPARTCOPYCHUNKSIZE", "33554432"),
            ],
            s3(),
        ),
        // A file of registry:2, and a bucket by variables.
        (&[("STORAGE", "s3"), ("STORAGE_FILESYSTEM_ROOTDIRECTORY", "/var/lib/registry")], s3()),
    ] {
        assert_eq!(of_s3(more), expected, "{more:?}");
    }
}

#[test]
fn where_a_bucket_is() {
    for (more, endpoint, path_style) in [
        (
            &[("STORAGE_S3_SECURE", "false")][..],
            "http://images.s3.eu-central-1.amazonaws.com",
            false,
        ),
        (&[("STORAGE_S3_FORCEPATHSTYLE", "true")], "https://s3.eu-central-1.amazonaws.com", true),
        (&[("STORAGE_S3_ACCELERATE", "true")], "https://images.s3-accelerate.amazonaws.com", false),
        (
            &[("STORAGE_S3_USEDUALSTACK", "true")],
            "https://images.s3.dualstack.eu-central-1.amazonaws.com",
            false,
        ),
        // Of an address there are no other names.
        (&[ENDPOINT], "http://127.0.0.1:3900", true),
        (&[("STORAGE_S3_REGIONENDPOINT", "[::1]:3900")], "https://[::1]:3900", true),
        (
            &[("STORAGE_S3_REGIONENDPOINT", "127.0.0.1:3900"), ("STORAGE_S3_SECURE", "false")],
            "http://127.0.0.1:3900",
            true,
        ),
        // Most other stores have no names for their buckets, as MinIO in a network of containers.
        (&[("STORAGE_S3_REGIONENDPOINT", "http://minio:9000")], "http://minio:9000", true),
        (&[("STORAGE_S3_REGIONENDPOINT", "https://S3.Example/")], "https://s3.example", true),
        (
            &[("STORAGE_S3_REGIONENDPOINT", "https://s3.amazonaws.com.example")],
            "https://s3.amazonaws.com.example",
            true,
        ),
        (
            &[("STORAGE_S3_REGIONENDPOINT", "https://s3.us-gov-west-1.amazonaws.com")],
            "https://images.s3.us-gov-west-1.amazonaws.com",
            false,
        ),
        (
            &[("STORAGE_S3_REGIONENDPOINT", "s3.cn-north-1.amazonaws.com.cn:443")],
            "https://images.s3.cn-north-1.amazonaws.com.cn:443",
            false,
        ),
        (
            &[
                ("STORAGE_S3_REGIONENDPOINT", "s3.example:9000"),
                ("STORAGE_S3_FORCEPATHSTYLE", "false"),
            ],
            "https://images.s3.example:9000",
            false,
        ),
        (
            &[
                ("STORAGE_S3_REGIONENDPOINT", "https://s3.us-gov-west-1.amazonaws.com"),
                ("STORAGE_S3_FORCEPATHSTYLE", "true"),
            ],
            "https://s3.us-gov-west-1.amazonaws.com",
            true,
        ),
        // No certificate covers such a name.
        (&[("STORAGE_S3_BUCKET", "a.b")], "https://s3.eu-central-1.amazonaws.com", true),
    ] {
        let more: Vec<_> = [BUCKET, REGION, ACCESS, SECRET]
            .into_iter()
            .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
            .chain(more.iter().copied())
            .collect();
        let cloud = cloud(&more);
        let Service::S3(s3) = &cloud.service else { panic!("{cloud:?}") };
        assert_eq!((s3.endpoint.as_str(), s3.path_style), (endpoint, path_style), "{more:?}");
        assert_eq!(cloud.origins(), [endpoint], "{more:?}");
    }
    // Stores other than Amazon's have whatever region they like.
    let service = cloud(&[BUCKET, ENDPOINT, ACCESS, SECRET]).service;
    let Service::S3(S3 { region, .. }) = service else { panic!() };
    assert_eq!(region, "us-east-1");
}

#[test]
fn what_all_stores_have() {
    let plain = cloud(&[BUCKET, REGION, ACCESS, SECRET]);
    assert_eq!((plain.prefix.as_str(), plain.part_size), ("", DEFAULT_PART_SIZE));
    assert_eq!(plain.location(), "s3://images");
    let full = cloud(&[
        BUCKET,
        REGION,
        ACCESS,
        SECRET,
        ("STORAGE_S3_ROOTDIRECTORY", "/registry/a/"),
        ("STORAGE_S3_CHUNKSIZE", "5242880"),
        ("STORAGE_S3_ROOTCERTBUNDLE", "/ca.pem"),
        ("STORAGE_S3_USERAGENT", "a registry"),
    ]);
    assert_eq!((full.prefix.as_str(), full.part_size), ("registry/a", 5 * 1024 * 1024));
    assert_eq!(full.location(), "s3://images/registry/a");
    assert_eq!(full.root_certificates, Some("/ca.pem".into()));
    assert_eq!(full.user_agent.as_deref(), Some("a registry"));
    assert!(read(&[]).unwrap().redirect);
    assert!(!read(&[("STORAGE_REDIRECT_DISABLE", "true")]).unwrap().redirect);
    for directory in [
        &[][..],
        &[("STORAGE", "filesystem")],
        &[("STORAGE", "filesystem"), BUCKET],
        &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data")],
    ] {
        assert_eq!(read(directory).unwrap().cloud, None, "{directory:?}");
    }
}

#[test]
fn without_keys_the_platform_gives_credentials() {
    let s3 = [BUCKET, REGION];
    let lent = ("STORAGE_S3_SESSIONTOKEN", "lent");
    let gcs = [("STORAGE_GCS_BUCKET", "images")];
    let azure = [("STORAGE_AZURE_ACCOUNTNAME", "acme"), ("STORAGE_AZURE_CONTAINER", "images")];
    for (variables, of_platform, temporary) in [
        (&s3[..], true, true),
        (&[BUCKET, REGION, ACCESS, SECRET], false, false),
        (&[BUCKET, REGION, ACCESS, SECRET, lent], false, true),
        (&gcs, true, true),
        (&[gcs[0], ("STORAGE_GCS_CREDENTIALS", "{}")], false, false),
        (&azure, true, true),
        (&[azure[0], azure[1], ("STORAGE_AZURE_ACCOUNTKEY", "a2V5")], false, false),
    ] {
        let cloud = cloud(variables);
        assert_eq!(cloud.needs_platform(), of_platform, "{variables:?}");
        assert_eq!(cloud.is_temporary(), temporary, "{variables:?}");
        assert_eq!(cloud.secret().is_none(), of_platform, "{variables:?}");
    }
}

#[test]
fn gcs_is_read() {
    const BUCKET: Variable = ("STORAGE_GCS_BUCKET", "images");
    let gcs = |key| Gcs {
        bucket: "images".to_owned(),
        endpoint: "https://storage.googleapis.com".to_owned(),
        key,
    };
    let json = r#"{"type":"service_account","private_key":"-----BEGIN\n\"\\","private_key_id":"1","client_email":"a@b.example"}"#;
    for (more, key) in [
        (&[][..], None),
        (&[("STORAGE_GCS_KEYFILE", "/key.json")], Some(GcsKey::File("/key.json".into()))),
        (&[("STORAGE_GCS_CREDENTIALS", "{}")], Some(GcsKey::Json(Secret("{}".to_owned())))),
        (
            &[
                ("STORAGE_GCS_CREDENTIALS_TYPE", "service_account"),
                ("STORAGE_GCS_CREDENTIALS_PROJECT_ID", "p"),
                ("STORAGE_GCS_CREDENTIALS_PRIVATE_KEY_ID", "1"),
                ("STORAGE_GCS_CREDENTIALS_PRIVATE_KEY", "-----BEGIN\\n\"\\"),
                ("STORAGE_GCS_CREDENTIALS_CLIENT_EMAIL", "a@b.example"),
                ("STORAGE_GCS_MAXCONCURRENCY", "8"),
            ],
            Some(GcsKey::Json(Secret(json.to_owned()))),
        ),
    ] {
        let cloud = cloud(&[&[BUCKET], more].concat());
        assert_eq!(cloud.origins(), ["https://storage.googleapis.com"]);
        let Service::Gcs(found) = cloud.service else { panic!("{more:?}") };
        let shown = format!("{found:?}");
        assert!(!shown.contains("BEGIN"), "{shown}");
        if let (Some(GcsKey::Json(found)), Some(GcsKey::Json(expected))) = (&found.key, &key) {
            assert_eq!(found.0, expected.0);
        }
        assert_eq!(found, gcs(key), "{more:?}");
    }
}

#[test]
fn azure_is_read() {
    const ACCOUNT: [Variable; 2] =
        [("STORAGE_AZURE_ACCOUNTNAME", "acme"), ("STORAGE_AZURE_CONTAINER", "images")];
    const KEY: Variable = ("STORAGE_AZURE_ACCOUNTKEY", "a2V5");
    let azure = || Azure {
        account: "acme".to_owned(),
        container: "images".to_owned(),
        endpoint: "https://acme.blob.core.windows.net".to_owned(),
        credentials: AzureCredentials::Key(Secret("a2V5".to_owned())),
    };
    let of_platform = || Azure { credentials: AzureCredentials::Platform, ..azure() };
    let client = AzureCredentials::Client {
        tenant: "t".to_owned(),
        client: "c".to_owned(),
        secret: Secret("s".to_owned()),
    };
    for (more, expected, origins) in [
        (&[KEY][..], azure(), &["https://acme.blob.core.windows.net"][..]),
        (&[], of_platform(), &["https://acme.blob.core.windows.net"]),
        (
            &[("STORAGE_AZURE_CREDENTIALS_TYPE", "default_credentials")],
            of_platform(),
            &["https://acme.blob.core.windows.net"],
        ),
        (
            &[KEY, ("STORAGE_AZURE_REALM", "core.chinacloudapi.cn")],
            Azure { endpoint: "https://acme.blob.core.chinacloudapi.cn".to_owned(), ..azure() },
            &["https://acme.blob.core.chinacloudapi.cn"],
        ),
        // An emulator has the account in the path.
        (
            &[KEY, ("STORAGE_AZURE_SERVICEURL", "http://127.0.0.1:10000/acme/")],
            Azure { endpoint: "http://127.0.0.1:10000/acme".to_owned(), ..azure() },
            &["http://127.0.0.1:10000"],
        ),
        (
            &[
                ("STORAGE_AZURE_CREDENTIALS_TYPE", "client_secret"),
                ("STORAGE_AZURE_CREDENTIALS_TENANTID", "t"),
                ("STORAGE_AZURE_CREDENTIALS_CLIENTID", "c"),
                ("STORAGE_AZURE_CREDENTIALS_SECRET", "s"),
                ("STORAGE_AZURE_COPY_STATUS_POLL_DELAY", "100ms"),
            ],
            Azure { credentials: client, ..azure() },
            &["https://acme.blob.core.windows.net", "https://login.microsoftonline.com"],
        ),
    ] {
        let cloud = cloud(&[&ACCOUNT, more].concat());
        assert_eq!(cloud.origins(), origins, "{more:?}");
        assert_eq!(cloud.service, Service::Azure(expected), "{more:?}");
    }
}

#[test]
fn mistakes() {
    const OK: [Variable; 4] = [BUCKET, REGION, ACCESS, SECRET];
    for (more, expected) in [
        (
            &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data")][..],
            "REGISTRY_STORAGE_FILESYSTEM_* and REGISTRY_STORAGE_S3_* are both set",
        ),
        (
            &[("STORAGE_AZURE_CONTAINER", "a")],
            "REGISTRY_STORAGE_S3_* and REGISTRY_STORAGE_AZURE_* are both set; keep one of them",
        ),
        (&[("STORAGE", "inmemory")], "must be filesystem, s3, gcs or azure"),
        (&[("STORAGE_S3_SKIPVERIFY", "true")], "name a private CA with REGISTRY_STORAGE_S3_ROOT"),
        (&[("STORAGE_S3_V4AUTH", "false")], "signed with version 4"),
        (&[("STORAGE_S3_STORAGECLASS", "GLACIER")], "must be STANDARD"),
        (&[("STORAGE_S3_OBJECTACL", "public-read")], "by a policy of the bucket"),
        (&[("STORAGE_S3_KEYID", "a")], "needs REGISTRY_STORAGE_S3_ENCRYPT=true"),
        (&[("STORAGE_S3_REGIONENDPOINT", "ftp://a")], "must be a URL such as"),
        (&[("STORAGE_S3_REGIONENDPOINT", "https://me:tell-nobody@a")], "must be a URL such as"),
        (&[("STORAGE_S3_REGIONENDPOINT", "a:99999")], "must be a URL such as"),
        (&[ENDPOINT, ("STORAGE_S3_ACCELERATE", "true")], "choose among Amazon's endpoints"),
        (
            &[("STORAGE_S3_ACCELERATE", "true"), ("STORAGE_S3_FORCEPATHSTYLE", "true")],
            "exclude each",
        ),
        (&[("STORAGE_S3_CHUNKSIZE", "1000")], "from 5242880 to 33554432"),
        (&[("STORAGE_S3_ROOTDIRECTORY", "a/../b")], "names with one / between them"),
        (&[("STORAGE_S3_ROOTDIRECTORY", "a//b")], "names with one / between them"),
        (&[("STORAGE_S3_ROOTDIRECTORY", &"a".repeat(513))], "names with one / between them"),
        (&[("STORAGE_S3_USERAGENT", &"a".repeat(257))], "at most 256"),
        (&[("STORAGE_S3_CONDITIONALWRITES", "maybe")], "must be auto, on or off"),
        (&[("STORAGE_S3_CABUNDLE", "/ca.pem")], "did you mean REGISTRY_STORAGE_S3_"),
    ] {
        let problem = problem(&[&OK, more].concat());
        assert!(problem.contains(expected), "{more:?}: {problem}");
        assert!(!problem.contains("tell-nobody"), "{problem}");
    }
}

#[test]
fn what_is_missing() {
    for (variables, expected) in [
        (&[REGION, ACCESS, SECRET][..], "REGISTRY_STORAGE_S3_BUCKET is missing"),
        (&[BUCKET, ACCESS, SECRET], "REGISTRY_STORAGE_S3_REGION is missing"),
        (&[BUCKET, REGION, ACCESS], "needs both REGISTRY_STORAGE_S3_ACCESSKEY and REGISTRY_"),
        (&[BUCKET, REGION, SECRET], "to use the platform's credentials"),
        (&[BUCKET, REGION, ("STORAGE_S3_SESSIONTOKEN", "tell-nobody")], "needs both"),
        (&[("STORAGE_S3_BUCKET", "A_B"), REGION, ACCESS, SECRET], "must be 3 to 63"),
        (
            &[
                ("STORAGE_GCS_BUCKET", "images"),
                ("STORAGE_GCS_KEYFILE", "/a"),
                ("STORAGE_GCS_CREDENTIALS", "{}"),
            ],
            "are both set; keep one of them",
        ),
        (
            &[
                ("STORAGE_AZURE_ACCOUNTNAME", "a"),
                ("STORAGE_AZURE_CONTAINER", "b"),
                ("STORAGE_AZURE_CREDENTIALS_TYPE", "shared_key"),
            ],
            "REGISTRY_STORAGE_AZURE_ACCOUNTKEY is missing",
        ),
        (
            &[("STORAGE_AZURE_CONNECTIONSTRING", "AccountKey=tell-nobody")],
            "REGISTRY_STORAGE_AZURE_CONNECTIONSTRING is not supported",
        ),
        (&[("STORAGE_INMEMORY", "")], "or in an object store"),
    ] {
        let problem = problem(variables);
        assert!(problem.contains(expected), "{variables:?}: {problem}");
        assert!(!problem.contains("tell-nobody"), "{problem}");
    }
}
