//! A bucket that is gone, or that may not be used: every operation says that the
//! storage is unavailable, and none that something is missing.

use super::{body, commit_of, name, new_session, sha256};
use crate::{CloudStorage, Options};
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::path::Path;
use roadstead_buckets::{Backend, Clock, OpenBucket};
use roadstead_config::Config;
use roadstead_kit::body::NativeBodies;
use roadstead_oci::{Reference, Tag};
use roadstead_storage::{Collection, Key, NameList, NamesQuery, Storage as _, StorageError};
use std::sync::Arc;
use std::time::Duration;

/// A store that refuses every request in this way; as over HTTP, a response to a
/// HEAD has no body.
#[derive(Clone, Copy, Debug)]
struct Refusing(u16, &'static str);

#[async_trait]
impl HttpService for Refusing {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Self(status, code) = *self;
        let body = match *request.method() {
            Method::HEAD => Vec::new(),
            _ => format!("<Error><Code>{code}</Code></Error>").into_bytes(),
        };
        let mut response = HttpResponse::new(HttpResponseBody::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

#[derive(Clone, Debug)]
struct NoTime;

impl Clock for NoTime {
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn storage(store: Refusing) -> CloudStorage<NativeBodies> {
    let settings = [("BUCKET", "abc"), ("REGION", "r"), ("ACCESSKEY", "k"), ("SECRETKEY", "s")];
    let settings =
        settings.map(|(name, value)| (format!("REGISTRY_STORAGE_S3_{name}"), value.to_owned()));
    let cloud = Config::from_variables(settings).unwrap().cloud.unwrap();
    let OpenBucket { bucket, s3, uploads, .. } =
        roadstead_buckets::open(&cloud, store, NoTime, None).unwrap();
    let backend = Backend {
        store: Arc::clone(&bucket) as _,
        multipart: Arc::clone(&bucket) as _,
        lists: bucket as _,
        s3,
        uploads,
        signer: None,
        root: Path::default(),
        conditional: true,
        equal_parts: false,
        part_size: 0,
    };
    CloudStorage::new(backend, Options { secret: Some(b"secret".to_vec()), purging: None })
}

fn check<T: std::fmt::Debug>(what: &str, remedy: &str, result: Result<T, StorageError>) {
    match result {
        Err(StorageError::Unavailable(cause) | StorageError::Full(cause)) => {
            for part in [remedy, "s3://abc", "REGISTRY_STORAGE_S3_BUCKET"] {
                assert!(cause.contains(part), "{what}: {cause}");
            }
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_missing_in_a_bucket_that_is_gone() {
    for (store, remedy, is_full) in [
        (Refusing(404, "NoSuchBucket"), "the bucket does not exist", false),
        (Refusing(403, "AccessDenied"), "the store denies this request", false),
        (Refusing(507, "StorageFull"), "make room in it", true),
    ] {
        let storage = storage(store);
        let (repository, digest) = (name("a/b"), sha256(b"blob"));
        let tag = Tag::parse("latest").unwrap();
        let (revision, tag_key) = (
            Key::Revision(repository.clone(), digest.clone()),
            Key::Tag(repository.clone(), tag.clone()),
        );
        let by_digest = Reference::Digest(digest.clone());
        for reference in [Reference::Tag(tag), by_digest] {
            check("manifest", remedy, storage.manifest(&repository, &reference).await);
            check("manifest_stat", remedy, storage.manifest_stat(&repository, &reference).await);
        }
        check("blob", remedy, storage.blob(&repository, &digest, None).await.map(drop));
        check("blob_size", remedy, storage.blob_size(&repository, &digest).await);
        let many = [&digest, &sha256(b"other")];
        check("missing_blobs", remedy, storage.missing_blobs(&repository, &many).await);
        check("missing_blobs of one", remedy, storage.missing_blobs(&repository, &many[..1]).await);
        check("exists", remedy, storage.exists(&revision).await);
        check("read", remedy, storage.read(&revision).await);
        check("write", remedy, storage.write(&revision, "x".into()).await);
        check("link", remedy, storage.link(&tag_key, &digest, None).await);
        check("remove", remedy, storage.remove(&tag_key).await);
        check("unlink", remedy, storage.unlink(&tag_key, &digest).await);
        let list = NameList::Tags(repository.clone());
        let query = NamesQuery { list, values: false, after: None, limit: 10 };
        check("names", remedy, storage.names(&query).await);
        let all = Collection::Revisions(repository.clone());
        check("enumerate", remedy, storage.enumerate(&all, None, 10).await);
        let session = new_session(&storage, &repository);
        check("status", remedy, storage.status(&session).await);
        check("append", remedy, storage.append(&session, None, None, body(b"blob")).await);
        check("discard", remedy, storage.discard(&session).await);
        let commit = commit_of(&session, &digest);
        let refused = storage.commit(&commit).await;
        assert_eq!(matches!(refused, Err(StorageError::Full(_))), is_full, "{refused:?}");
        check("commit", remedy, refused);
        check("store", remedy, storage.store(&commit, body(b"blob")).await);
    }
}
