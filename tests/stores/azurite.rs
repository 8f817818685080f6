//! Azurite 3.35.

use crate::{expect, failures, list, send};
use http::{Method, StatusCode};
use object_store::PutMode;
use object_store::path::Path;
use roadstead_buckets::honours_conditions;
use roadstead_tests::{Azurite, bucket, skip};

fn start(test: &str) -> Option<Azurite> {
    let azurite = Azurite::start().unwrap();
    if azurite.is_none() {
        skip(test, "Azurite is not installed; run .ci/install-azurite");
    }
    azurite
}

#[tokio::test]
async fn object_stores_suite() {
    let Some(azurite) = start("azurite::object_stores_suite") else { return };
    let failed = failures(false, async |name| {
        azurite.container(name).await.unwrap();
        bucket(azurite.settings(name)).unwrap()
    });
    expect(
        &failed.await,
        &[
            // Ignores where a list is to begin; Azure supports it.
            ("put_get_delete_list", r#"None - Path { raw: "a/a file" }"#),
            ("list_with_offset_exclusivity", "should not include the offset"),
            // object_store does not support this on Azure.
            ("multipart_with_opts", "is not supported by MicrosoftAzure"),
        ],
    );
}

#[tokio::test]
async fn facts() {
    let Some(azurite) = start("azurite::facts") else { return };
    azurite.container("facts").await.unwrap();
    let store = bucket(azurite.settings("facts")).unwrap();
    let root = Path::from("root");
    for _ in 0..2 {
        assert!(honours_conditions(&*store, &root).await.unwrap());
    }
    let key = Path::from("a/b");
    store.put_opts(&key, "content".into(), PutMode::Create.into()).await.unwrap();
    let exists = store.put_opts(&key, "other".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(exists, object_store::Error::AlreadyExists { .. }), "{exists}");
    // Signed URLs.
    let range = [("range", "bytes=1-3")];
    let (status, _, body) = send(&*store, Method::GET, "a/b", &[], &[], &range, "").await;
    assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "ont"));
    // A list with a start key begins at the front.
    assert_eq!(list(&*store, "", "b", 10).await, (vec!["a/".into(), "root/".into()], false));
}
