//! Google Cloud Storage, as Google documents it.

use crate::registry::{blob, host};
use crate::{expect, failures, send};
use http::{Method, StatusCode};
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutMode, PutPayload};
use roadstead_buckets::{OpenBucket, honours_conditions};
use roadstead_tests::{Gcs, Target, bucket, digest, open_bucket, post, put, run};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

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

/// Multipart uploads that no record names, because the process that began them was killed,
/// go beside a client's uploads once they are old; those of others, and young ones, stay.
#[tokio::test]
async fn abandoned_multipart_uploads() {
    /// More uploads than it takes for one of them to purge, which each does by chance.
    const MOST: u8 = 200;
    let gcs = Gcs::start().unwrap();
    let settings = gcs.settings("images");
    let OpenBucket { bucket: store, uploads, .. } = open_bucket(settings.clone()).unwrap();
    let lists = uploads.unwrap();
    let begin = async |key: &str| {
        let key = Path::from(key);
        let id = store.create_multipart(&key).await.unwrap();
        store.put_part(&key, &id, 0, PutPayload::from_static(b"part")).await.unwrap();
    };
    let session =
        "docker/registry/v2/repositories/idle/_uploads/01234567-89ab-4cde-8f01-234567890abc";
    let object = format!("docker/registry/v2/blobs/sha256/ab/{}/data", "ab".repeat(32));
    gcs.put_back(8 * DAY);
    for key in [&format!("{session}/data"), &object, "elsewhere/data"] {
        begin(key).await;
    }
    gcs.pass(8 * DAY);
    begin(&object).await;
    let host = host(&settings, &[]);
    let target = Target::Server(host.address.clone());
    for number in 0..MOST {
        let bytes = blob(number, 1000);
        let end = put(format!("{{location}}{{&}}digest={}", digest(&bytes)));
        let begin = post("/v2/busy/blobs/uploads/").status(202);
        run(&target, &[begin, end.body(bytes).status(201)]).await;
        if lists.list_uploads("", None, 10).await.unwrap().uploads.len() <= 2 {
            break;
        }
    }
    let left = lists.list_uploads("", None, 10).await.unwrap().uploads;
    let left: Vec<_> = left.iter().map(|upload| upload.key.as_ref()).collect();
    assert_eq!(left, [object.as_str(), "elsewhere/data"]);
}
