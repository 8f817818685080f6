//! Google Cloud Storage, as Google documents it.

use crate::{expect, failures, send};
use http::{Method, StatusCode};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode};
use roadstead_buckets::honours_conditions;
use roadstead_tests::{Gcs, bucket};

#[tokio::test]
async fn object_stores_suite() {
    let gcs = Gcs::start().unwrap();
    let failed = failures(true, async |name| bucket(gcs.settings(name)).unwrap());
    // Conditional reads and noncurrent generations are not implemented here.
    expect(&failed.await, &[("get_opts", "size: 3")]);
}

#[tokio::test]
async fn facts() {
    let gcs = Gcs::start().unwrap();
    let store = bucket(gcs.settings("facts")).unwrap();
    for _ in 0..2 {
        assert!(honours_conditions(&*store, &Path::from("root")).await.unwrap());
    }
    let key = Path::from("a/b");
    store.put(&key, "content".into()).await.unwrap();
    let exists = store.put_opts(&key, "other".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(exists, object_store::Error::AlreadyExists { .. }), "{exists}");
    // Signed URLs, and an unsigned one.
    let range = [("range", "bytes=1-3")];
    let (status, _, body) = send(&*store, Method::GET, "a/b", &[], &[], &range, "").await;
    assert_eq!((status, body.as_str()), (StatusCode::PARTIAL_CONTENT, "ont"));
    let mut settings = gcs.settings("facts");
    for (_, value) in &mut settings {
        *value = value.replace("registry@project", "other@project");
    }
    let denied = bucket(settings).unwrap().get(&key).await.unwrap_err();
    assert!(denied.to_string().contains("AccessDenied"), "{denied}");
}
