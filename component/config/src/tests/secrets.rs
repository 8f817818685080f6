//! What is secret is in no log: neither with the settings nor with what is
//! wrong with them.

use super::{given, read};

const SECRETS: [(&str, &str); 2] = [
    ("HTTP_SECRET", "tell-nobody"),
    ("AUTH_HTPASSWD_ENTRIES", "alice:$2y$05$tell-nobody bob:tell-nobody"),
];

/// What operators see of a registry that runs.
#[test]
fn settings_that_are_shown_have_no_secrets() {
    let settings = given(
        &[],
        &[
            ("HTTP_SECRET", "tell-nobody"),
            ("STORAGE_S3_BUCKET", "images"),
            ("STORAGE_S3_REGIONENDPOINT", "https://alice:tell-nobody@s3.example"),
            ("STORAGE_S3_ACCESSKEY", "tell-nobody"),
            ("STORAGE_S3_SECRETKEY", "tell-nobody"),
            ("AUTH_HTPASSWD_PATH", "/users"),
            ("POLICY_IMMUTABLE", "releases ** v.*"),
        ],
    );
    let shown = settings.shown();
    assert!(shown.contains(&("storage.s3.bucket".to_owned(), "images".to_owned())), "{shown:?}");
    assert!(shown.contains(&("policy.immutable".to_owned(), "releases ** v.*".to_owned())));
    assert!(!format!("{shown:?}").contains("tell-nobody"), "{shown:?}");
}

#[test]
fn settings_are_shown_without_them() {
    let config = read(&SECRETS).unwrap();
    for shown in [format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.auth)] {
        assert!(!shown.contains("tell-nobody"), "{shown}");
        assert!(shown.contains("Secret(..)") && shown.contains("Entries(..)"), "{shown}");
    }
}

#[test]
fn so_are_problems() {
    for more in [
        &[("HTTP_ADDR", "x")][..],
        &[("AUTH", "nonsense")],
        &[("AUTH", "token"), ("AUTH_TOKEN_EXPIRATION", "x")],
        &[("AUTH_HTPASSWD_PATH", "/auth/htpasswd")],
        // Names that are not right.
        &[("HTTP_SECRETS", "tell-nobody"), ("SECRET", "tell-nobody")],
        &[("AUTH_HTPASSWD_ENTRY", "alice:tell-nobody"), ("AUTH_HTPASSWD", "tell-nobody")],
        &[("AUTH_HTPASSWD_ENTRIES_0", "alice:tell-nobody")],
        // Secrets of distribution's that mean nothing here.
        &[("REDIS_PASSWORD", "tell-nobody"), ("PROXY_PASSWORD", "tell-nobody")],
        // An object store's, with what it needs missing.
        &[("STORAGE_S3_SECRETKEY", "tell-nobody"), ("STORAGE_S3_SESSIONTOKEN", "tell-nobody")],
        &[("STORAGE_AZURE_ACCOUNTKEY", "tell-nobody")],
        &[("STORAGE_AZURE_CREDENTIALS_SECRET", "tell-nobody")],
        &[("STORAGE_GCS_CREDENTIALS", "tell-nobody")],
        &[("STORAGE_GCS_CREDENTIALS_PRIVATE_KEY", "tell-nobody")],
    ] {
        let problems = read(&[&SECRETS, more].concat()).unwrap_err();
        assert!(!problems.contains("tell-nobody"), "{more:?}: {problems}");
    }
}
