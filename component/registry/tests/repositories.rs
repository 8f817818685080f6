//! Deletions of whole repositories, over a directory and a bucket of this process;
//! and what other registries' collectors leave.

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::{NativeRegistry, NativeStorage};
use roadstead_oci::{Digest, MediaType, RepositoryName, Tag};
use roadstead_storage::{Key, Storage};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};

const DELETES: &[(&str, &str)] = &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn name() -> RepositoryName {
    RepositoryName::parse("a").unwrap()
}

fn in_directory(root: &Path) -> DirectoryStorage<NativeDirectory> {
    DirectoryStorage(NativeDirectory::new(Directory::open(root).unwrap()))
}

fn in_bucket(bucket: &MemoryBucket) -> CloudStorage<NativeBodies> {
    CloudStorage::new(bucket.backend(""), Options::default())
}

/// Requests to a registry over a storage.
struct Client(NativeRegistry);

impl Client {
    fn new(storage: impl Into<NativeStorage>) -> Self {
        Self(NativeRegistry::new(storage, DELETES).unwrap())
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header("content-type", INDEX);
        self.0.send(request.body(body.into()).unwrap()).await
    }

    /// Deletes the repository by one request: the status, and what it says.
    async fn delete(&self) -> (u16, Value) {
        let response = self.send("DELETE", "/v2/a/_roadstead/repository", "").await;
        let again = response.headers().contains_key("retry-after");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(again, body["complete"] == false, "{body}");
        (response.status().as_u16(), body)
    }

    async fn catalog(&self) -> Value {
        let response = self.send("GET", "/v2/_catalog", "").await;
        serde_json::from_slice::<Value>(response.body()).unwrap()["repositories"].clone()
    }
}

/// An index, of which there are as many as numbers.
fn manifest(number: usize) -> String {
    let annotations = json!({ "number": number.to_string() });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations })
        .to_string()
}

/// A repository of so many manifests, each with ten tags, and as many blobs.
async fn fill<S: Storage>(storage: &S, manifests: usize) {
    let index = MediaType::parse(INDEX).unwrap();
    for number in 0..manifests {
        let bytes = manifest(number);
        let digest = sha256(bytes.as_bytes());
        storage.write(&Key::Blob(digest.clone()), bytes.into()).await.unwrap();
        let revision = Key::Revision(name(), digest.clone());
        storage.link(&revision, &digest, Some(&index)).await.unwrap();
        for tag in 0..10 {
            let tag = Tag::parse(&format!("{number}-{tag}")).unwrap();
            let history = Key::TagHistory(name(), tag.clone(), digest.clone());
            storage.link(&history, &digest, None).await.unwrap();
            storage.link(&Key::Tag(name(), tag), &digest, Some(&index)).await.unwrap();
        }
        let blob = sha256(digest.as_str().as_bytes());
        storage.link(&Key::Layer(name(), blob.clone()), &blob, None).await.unwrap();
    }
}

/// Deletes a large repository, and says how many requests it took.
async fn delete_in_steps<S>(storage: S, manifests: usize) -> usize
where
    S: Storage + Into<NativeStorage>,
{
    fill(&storage, manifests).await;
    let client = Client::new(storage);
    let mut totals = [0; 3];
    for request in 1.. {
        let (status, body) = client.delete().await;
        assert_eq!(status, 202, "{body}");
        let counts = ["tags", "manifests", "blobs"].map(|key| body[key].as_u64().unwrap());
        let objects = body["objects"].as_u64().unwrap();
        assert!((1..=1000).contains(&objects), "it goes on: {body}");
        totals = [0, 1, 2].map(|place: usize| totals[place] + counts[place]);
        if body["complete"] == true {
            let manifests = manifests as u64;
            assert_eq!(totals, [10 * manifests, manifests, manifests]);
            assert_eq!(client.delete().await.0, 404);
            assert_eq!(client.catalog().await, json!([]));
            return request;
        }
        assert_eq!(client.catalog().await, json!(["a"]), "{body}");
    }
    unreachable!()
}

#[tokio::test]
async fn a_large_repository_is_deleted_in_steps() {
    let root = tempfile::tempdir().unwrap();
    // 600 tags with as many entries of their history, 60 manifests and blobs.
    // More requests only if the machine is so slow that one takes its 10 s.
    assert!(delete_in_steps(in_directory(root.path()), 60).await >= 2);
    assert!(!root.path().join("docker/registry/v2/repositories").exists(), "directories are left");
    let bucket = MemoryBucket::default();
    assert!(delete_in_steps(in_bucket(&bucket), 60).await >= 2);
    let left = bucket.keys().await;
    assert!(left.iter().all(|key| key.contains("/blobs/")), "{left:?}");
    assert_eq!(left.len(), 60);
}

/// What a collector has written goes too: moved links, which a GET would restore, what it
/// remembers of manifests, and announcements. One whose moves go on is left, and the
/// deletion has to be repeated.
async fn delete_condemned<S>(storage: &S, client: &Client)
where
    S: Storage,
{
    let digest = sha256(b"blob");
    storage.write(&Key::Blob(digest.clone()), Bytes::from_static(b"blob")).await.unwrap();
    let announced = |id| Key::Moves { repository: name(), id };
    let moved = Key::MovedLayer(name(), digest.clone());
    let references = Key::References(name(), digest.clone());
    for with_manifests in [1, 0] {
        fill(storage, with_manifests).await;
        storage.link(&moved, &digest, None).await.unwrap();
        storage.write(&references, Bytes::from_static(b"x")).await.unwrap();
        storage.write(&announced(1), Bytes::new()).await.unwrap();
        storage.write(&announced(2), digest.to_string().into()).await.unwrap();
        let (status, body) = client.delete().await;
        assert_eq!((status, &body["complete"]), (202, &json!(false)));
        let blob = format!("/v2/a/blobs/{digest}");
        assert_eq!(client.send("GET", &blob, "").await.status(), 404);
        assert!(!storage.exists(&announced(1)).await.unwrap());
        assert!(storage.exists(&announced(2)).await.unwrap());
        storage.write(&announced(2), Bytes::new()).await.unwrap();
        // Moved before the collector said that it is done.
        storage.link(&moved, &digest, None).await.unwrap();
        while client.delete().await.0 != 404 {}
        for key in [&moved, &references, &announced(1), &announced(2)] {
            assert!(!storage.exists(key).await.unwrap(), "{key}");
        }
    }
}

#[tokio::test]
async fn what_a_collector_wrote_is_deleted() {
    let root = tempfile::tempdir().unwrap();
    let storage = in_directory(root.path());
    delete_condemned(&storage, &Client::new(in_directory(root.path()))).await;
    assert!(!root.path().join("docker/registry/v2/repositories").exists());
    let bucket = MemoryBucket::default();
    delete_condemned(&in_bucket(&bucket), &Client::new(in_bucket(&bucket))).await;
    let left = bucket.keys().await;
    assert!(left.iter().all(|key| key.contains("/blobs/")), "{left:?}");
}

/// What it costs in a bucket: `docs/storage.md` has the numbers.
#[tokio::test]
async fn requests_to_a_bucket() {
    let bucket = MemoryBucket::default();
    let client = Client::new(in_bucket(&bucket));
    bucket.requests();
    assert_eq!(client.delete().await.0, 404);
    assert_eq!(bucket.requests().len(), 9, "a list of each kind of object");
    let mut counts = Vec::new();
    for manifests in [1, 2, 3] {
        fill(&in_bucket(&bucket), manifests).await;
        bucket.requests();
        assert_eq!(client.delete().await.1["complete"], true);
        counts.push(bucket.requests().len());
    }
    // For each manifest 14, for each tag and its history one each, and for its blob.
    let each = 14 + 20 + 1;
    assert_eq!(counts, [1, 2, 3].map(|manifests| 24 + each * manifests));
}

/// One of several deletions goes on, and one that has died is not waited for.
#[tokio::test]
async fn one_deletion_of_a_repository_goes_on() {
    let root = tempfile::tempdir().unwrap();
    fill(&in_directory(root.path()), 1).await;
    let client = Client::new(in_directory(root.path()));
    let announce = |id, seconds| {
        let path = root.path().join(Key::RepositoryDeletion { repository: name(), id }.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        path
    };
    // It comes first.
    let path = announce(0, 0);
    let (status, body) = client.delete().await;
    assert_eq!((status, &body["complete"], &body["tags"]), (202, &json!(false), &json!(0)));
    std::fs::remove_file(path).unwrap();
    // It comes last, or has died.
    for (id, seconds) in [(u128::MAX, 0), (0, 30)] {
        fill(&in_directory(root.path()), 1).await;
        announce(id, seconds);
        let (status, body) = client.delete().await;
        assert_eq!((status, &body["complete"], &body["tags"]), (202, &json!(true), &json!(10)));
    }
}

/// Few of many go on, so that the others cost no more than to find it out.
#[tokio::test]
async fn many_clients_delete_one_repository_at_once() {
    const CLIENTS: usize = 200;
    /// The requests of one that goes on, and how many do at most: the expected number is
    /// the logarithm of all.
    const WHOLE: usize = 20 + 3 * 32;
    const GO_ON: usize = 30;
    /// Of one that does not: a look; or fewer, an announcement and its end, two lists of
    /// others.
    const LEFT: usize = 8;
    let bucket = MemoryBucket::default().with_seed(1);
    fill(&in_bucket(&bucket), 3).await;
    let client = Client::new(in_bucket(&bucket));
    bucket.requests();
    let answers = join_all((0..CLIENTS).map(|_| client.delete())).await;
    let requests = bucket.requests().len();
    assert!(answers.iter().all(|(status, _)| [202, 404].contains(status)), "{answers:?}");
    assert!(requests <= CLIENTS * LEFT + GO_ON * WHOLE, "{requests}");
    while client.delete().await.0 != 404 {}
    assert_eq!(client.catalog().await, json!([]));
}

/// A process died in the middle of a deletion: nothing but directories and a media
/// type is left, which the catalog shows.
#[tokio::test]
async fn what_a_dead_process_left_leaves_the_catalog() {
    let root = tempfile::tempdir().unwrap();
    let client = Client::new(in_directory(root.path()));
    let digest = sha256(b"gone");
    let media_type = root.path().join(Key::MediaType(name(), digest).to_string());
    std::fs::create_dir_all(media_type.parent().unwrap()).unwrap();
    std::fs::write(media_type, INDEX).unwrap();
    std::fs::create_dir_all(root.path().join("docker/registry/v2/repositories/a/_manifests/tags"))
        .unwrap();
    assert_eq!(client.catalog().await, json!(["a"]));
    assert_eq!(client.delete().await.0, 404);
    assert_eq!(client.catalog().await, json!([]));
    assert!(!root.path().join("docker/registry/v2/repositories").exists());
}

/// Links without bytes, and torn ones, are deleted like others: by digest, and with
/// the repository.
#[tokio::test]
async fn links_that_lead_nowhere_are_deleted() {
    let root = tempfile::tempdir().unwrap();
    let storage = in_directory(root.path());
    fill(&storage, 4).await;
    let client = Client::new(in_directory(root.path()));
    let digests: Vec<Digest> = (0..4).map(|n| sha256(manifest(n).as_bytes())).collect();
    for digest in &digests[..2] {
        storage.delete(&Key::Blob(digest.clone())).await.unwrap();
    }
    for digest in &digests[2..] {
        let link = Key::Revision(name(), digest.clone());
        storage.write(&link, Bytes::new()).await.unwrap();
        // Not one that another registry is writing.
        let old = SystemTime::now() - Duration::from_mins(2);
        let file = std::fs::File::options().write(true).open(root.path().join(link.to_string()));
        file.unwrap().set_modified(old).unwrap();
    }
    for digest in [&digests[0], &digests[2]] {
        let path = format!("/v2/a/manifests/{digest}");
        assert_eq!(client.send("GET", &path, "").await.status(), 404);
        assert_eq!(client.send("DELETE", &path, "").await.status(), 202);
        assert_eq!(client.send("DELETE", &path, "").await.status(), 404);
    }
    let (status, body) = client.delete().await;
    assert_eq!((status, &body["complete"], &body["manifests"]), (202, &json!(true), &json!(2)));
    assert!(!root.path().join("docker/registry/v2/repositories").exists());
}

/// A blob that is pushed while its repository is deleted is of an image that comes
/// next.
#[tokio::test]
async fn blobs_that_are_pushed_meanwhile_stay() {
    let root = tempfile::tempdir().unwrap();
    fill(&in_directory(root.path()), 1).await;
    let client = Client::new(in_directory(root.path()));
    let blob = sha256(b"blob");
    let path = format!("/v2/a/blobs/uploads/?digest={blob}");
    assert_eq!(client.send("POST", &path, "blob").await.status(), 201);
    let link = root.path().join(Key::Layer(name(), blob.clone()).to_string());
    let file = std::fs::File::options().write(true).open(link).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_mins(1)).unwrap();
    let (status, body) = client.delete().await;
    assert_eq!((status, &body["complete"], &body["blobs"]), (202, &json!(true), &json!(1)));
    let blob = format!("/v2/a/blobs/{blob}");
    assert_eq!(client.send("HEAD", &blob, "").await.status(), 200);
    assert_eq!(client.catalog().await, json!([]));
}

/// A referrer of `subject`.
fn referrer(subject: &Digest, number: usize) -> String {
    let subject = json!({ "mediaType": INDEX, "digest": subject.as_str(), "size": 2 });
    let annotations = json!({ "number": number.to_string() });
    json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "subject": subject, "annotations": annotations,
    })
    .to_string()
}

/// Another registry's collector, which knows nothing of subjects, has removed the link
/// or the bytes of some referrers: they are not listed, and pages go on after them.
async fn check_collected<S>(storage: &S, client: &Client)
where
    S: Storage,
{
    let subject = sha256(b"subject");
    let mut digests = Vec::new();
    for number in 0..9 {
        let manifest = referrer(&subject, number);
        let digest = sha256(manifest.as_bytes());
        let path = format!("/v2/a/manifests/{digest}");
        assert_eq!(client.send("PUT", &path, manifest).await.status(), 201);
        digests.push(digest);
    }
    digests.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    // A whole page of two, and one on the last.
    for (place, digest) in digests.iter().enumerate() {
        if [2, 3, 8].contains(&place) {
            storage.delete(&Key::Revision(name(), digest.clone())).await.unwrap();
        }
        if [3, 6].contains(&place) {
            storage.delete(&Key::Blob(digest.clone())).await.unwrap();
        }
    }
    let expected: Vec<&str> = [0, 1, 4, 5, 7].map(|place: usize| digests[place].as_str()).to_vec();
    for size in [1, 2, 3, 100] {
        let mut path = format!("/v2/a/referrers/{subject}?n={size}");
        let mut found: Vec<String> = Vec::new();
        loop {
            let response = client.send("GET", &path, "").await;
            assert_eq!(response.status(), 200);
            let index: Value = serde_json::from_slice(response.body()).unwrap();
            let page = index["manifests"].as_array().unwrap().iter();
            found.extend(page.map(|entry| entry["digest"].as_str().unwrap().to_owned()));
            let Some(link) = response.headers().get("link") else { break };
            let link = link.to_str().unwrap();
            link[1..link.find('>').unwrap()].clone_into(&mut path);
        }
        assert_eq!(found, expected, "pages of {size}");
    }
}

#[tokio::test]
async fn referrers_that_another_registry_collected_are_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let storage = in_directory(root.path());
    check_collected(&storage, &Client::new(in_directory(root.path()))).await;
    let bucket = MemoryBucket::default();
    let client = Client::new(in_bucket(&bucket));
    check_collected(&in_bucket(&bucket), &client).await;
    bucket.requests();
    let path = format!("/v2/a/referrers/{}", sha256(b"subject"));
    client.send("GET", &path, "").await;
    let requests = bucket.requests();
    // That they are complete, the list, nine entries; the list of links, and the bytes
    // of those six that have one.
    assert_eq!(requests.len(), 2 + 9 + 1 + 6, "{requests:#?}");
}
