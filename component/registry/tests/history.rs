//! What tags have pointed to, in its order and with its bounds.

use bytes::Bytes;
use http::{Request, Response};
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::body::NativeBodies;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_kit::directory::{NativeDirectory, make_older};
use roadstead_kit::native::{NativeRegistry, NativeStorage};
use roadstead_oci::Digest;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const HISTORY: &str = "/v2/a/_oci/tag-history/t";
const MINUTE: Duration = Duration::from_mins(1);

/// An index, of which there are as many as numbers.
fn manifest(number: usize) -> String {
    let annotations = json!({ "number": number.to_string() });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations })
        .to_string()
}

fn digest(number: usize) -> Digest {
    sha256(manifest(number).as_bytes())
}

/// A registry over a storage in which time can pass.
struct Client {
    registry: NativeRegistry,
    pass: Box<dyn Fn(Duration)>,
}

impl Client {
    fn all() -> (tempfile::TempDir, [Self; 2]) {
        let root = tempfile::tempdir().unwrap();
        let bucket = MemoryBucket::default();
        let in_bucket = CloudStorage::<NativeBodies>::new(bucket.backend(""), Options::default());
        let path = root.path().to_owned();
        let clients = [
            Self::new(in_directory(root.path()), move |time| make_older(&path, time)),
            Self::new(in_bucket, move |time| bucket.pass(time)),
        ];
        (root, clients)
    }

    fn new(storage: impl Into<NativeStorage>, pass: impl Fn(Duration) + 'static) -> Self {
        let settings = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
        let registry = NativeRegistry::new(storage, &settings).unwrap();
        Self { registry, pass: Box::new(pass) }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header("content-type", INDEX);
        self.registry.send(request.body(body.into()).unwrap()).await
    }

    /// Pushes a manifest to the tag, a minute after what was before.
    async fn push(&self, number: usize) {
        (self.pass)(MINUTE);
        let response = self.send("PUT", "/v2/a/manifests/t", manifest(number)).await;
        assert_eq!(response.status(), 201);
    }

    /// A page by its path: the descriptors, and the path of the next.
    async fn page(&self, path: &str) -> (Vec<Value>, Option<String>) {
        let response = self.send("GET", path, "").await;
        assert_eq!(response.status(), 200, "{path}: {:?}", response.body());
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let next = response.headers().get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
        (body["manifests"].as_array().unwrap().clone(), next)
    }

    /// All pages from a path on: the digests.
    async fn follow(&self, path: &str) -> Vec<String> {
        let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let (page, further) = self.page(&path).await;
            assert!(!page.is_empty() || further.is_none(), "{path}");
            all.extend(page.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
            next = further;
        }
        all
    }
}

fn in_directory(root: &Path) -> DirectoryStorage<NativeDirectory> {
    DirectoryStorage(NativeDirectory::new(Directory::open(root).unwrap()))
}

fn time(entry: &Value) -> &str {
    entry["annotations"]["org.opencontainers.distribution.tag.timestamp"].as_str().unwrap()
}

fn texts(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| digest(*number).to_string()).collect()
}

/// Where the entry of a digest is, in a directory.
fn entry(root: &Path, digest: &Digest) -> PathBuf {
    let tag = root.join("docker/registry/v2/repositories/a/_manifests/tags/t");
    tag.join("index/sha256").join(digest.encoded()).join("link")
}

#[tokio::test]
async fn the_newest_comes_first() {
    let (_root, clients) = Client::all();
    for client in clients {
        for number in [1, 2, 3, 1] {
            client.push(number).await;
        }
        // The last time counts.
        assert_eq!(client.follow(HISTORY).await, texts(&[1, 3, 2]));
        for n in 1..5 {
            assert_eq!(client.follow(&format!("{HISTORY}?n={n}")).await, texts(&[1, 3, 2]), "{n}");
        }
        let (all, _) = client.page(HISTORY).await;
        for (query, expected) in [
            (format!("before={}", time(&all[0])), &[3, 2][..]),
            (format!("before={}", time(&all[2])), &[]),
            (format!("since={}", time(&all[2])), &[1, 3]),
            (format!("since={}&before={}", time(&all[2]), time(&all[0])), &[3]),
            (format!("digest={}", digest(3)), &[3]),
            (format!("digest={}&before={}", digest(3), time(&all[1])), &[]),
            (format!("n=1&since={}", time(&all[2])), &[1, 3]),
            // One that does not exist: those that come after it, of that time.
            (format!("before={}&last=sha256:{:064x}", time(&all[1]), 0), &[3, 2]),
            (format!("before={}&last=sha256:{}", time(&all[1]), "f".repeat(64)), &[2]),
        ] {
            let found = client.follow(&format!("{HISTORY}?{query}")).await;
            assert_eq!(found, texts(expected), "{query}");
        }
        // What is asked for of the first page is asked for of all.
        let (_, next) = client.page(&format!("{HISTORY}?n=1&since={}", time(&all[2]))).await;
        assert!(next.unwrap().contains("since="));
    }
}

#[tokio::test]
async fn entries_of_one_moment_are_all_listed() {
    let root = tempfile::tempdir().unwrap();
    let client = Client::new(in_directory(root.path()), |_| ());
    for number in 0..9 {
        client.push(number).await;
    }
    let moment = SystemTime::now() - MINUTE;
    for number in 0..9 {
        File::open(entry(root.path(), &digest(number))).unwrap().set_modified(moment).unwrap();
    }
    let mut expected = texts(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expected.sort_unstable();
    for n in [1, 2, 4, 8, 9] {
        assert_eq!(client.follow(&format!("{HISTORY}?n={n}")).await, expected, "{n}");
    }
}

/// Work and answer are bounded, however often a tag was moved, and whatever is asked for.
#[tokio::test]
async fn a_long_history_is_bounded() {
    const LONGEST: usize = 20_000;
    const PAGE: usize = 100;
    // Many files: in memory, if there is such a place.
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let root = root.unwrap();
    let client = Client::new(in_directory(root.path()), |_| ());
    client.push(0).await;
    let add = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let digest = sha256(&number.to_le_bytes());
            let entry = entry(root.path(), &digest);
            fs::create_dir(entry.parent().unwrap()).unwrap();
            fs::write(entry, digest.as_str()).unwrap();
        }
    };
    add(1..PAGE + 50);
    let (page, next) = client.page(&format!("{HISTORY}?n=10000")).await;
    assert_eq!(page.len(), PAGE);
    assert!(next.is_some());
    assert_eq!(client.follow(HISTORY).await.len(), PAGE + 50);
    add(PAGE + 50..LONGEST);
    assert_eq!(client.page(&format!("{HISTORY}?n=1")).await.0.len(), 1);
    add(LONGEST..LONGEST + 1);
    let response = client.send("GET", HISTORY, "").await;
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        (response.status().as_u16(), &body["errors"][0]["code"]),
        (400, &json!("UNSUPPORTED"))
    );
    assert_eq!(body["errors"][0]["detail"]["limit"], LONGEST);
    // One entry takes no list of all.
    let one = client.follow(&format!("{HISTORY}?digest={}", digest(0))).await;
    assert_eq!(one, texts(&[0]));
    assert_eq!(client.page(&format!("{HISTORY}?n=0")).await, (Vec::new(), None));
}

/// A tag whose entry is missing, as after a push that ended early, is listed nevertheless; and
/// what is no entry is none.
#[tokio::test]
async fn where_a_tag_points_to_is_listed() {
    let root = tempfile::tempdir().unwrap();
    let client = Client::new(in_directory(root.path()), |_| ());
    client.push(1).await;
    client.push(2).await;
    fs::remove_file(entry(root.path(), &digest(2))).unwrap();
    let mut found = client.follow(HISTORY).await;
    found.sort_unstable();
    let mut expected = texts(&[1, 2]);
    expected.sort_unstable();
    assert_eq!(found, expected);
    let by_digest = format!("{HISTORY}?digest={}", digest(2));
    assert_eq!(client.follow(&by_digest).await, texts(&[2]));
    let index = entry(root.path(), &digest(1));
    let index = index.ancestors().nth(2).unwrap();
    fs::write(index.join("stray"), "x").unwrap();
    fs::create_dir_all(index.join("not-hex/link")).unwrap();
    assert_eq!(client.follow(HISTORY).await.len(), 2);
    fs::write(entry(root.path(), &digest(1)), "no digest").unwrap();
    assert_eq!(client.follow(HISTORY).await.len(), 2, "it is named after its digest");
}

/// Manifests that distribution has stored say their type themselves, and those that are gone say
/// nothing.
#[tokio::test]
async fn manifests_are_described_as_far_as_they_are_known() {
    let root = tempfile::tempdir().unwrap();
    let client = Client::new(in_directory(root.path()), |_| ());
    for number in 1..4 {
        client.push(number).await;
    }
    let path = root.path();
    let revisions = path.join("docker/registry/v2/repositories/a/_manifests/revisions/sha256");
    fs::remove_file(revisions.join(digest(1).encoded()).join("media-type")).unwrap();
    fs::remove_dir_all(revisions.join(digest(2).encoded())).unwrap();
    let (page, _) = client.page(HISTORY).await;
    for entry in page {
        let size = u64::try_from(manifest(1).len()).unwrap();
        let found = (entry["mediaType"].as_str().unwrap(), entry["size"].as_u64().unwrap());
        let missing = &entry["annotations"]["roadstead.manifest"];
        if entry["digest"] == digest(2).as_str() {
            assert_eq!((found, missing), (("application/octet-stream", 0), &json!("missing")));
        } else {
            assert_eq!((found, missing), ((INDEX, size), &Value::Null));
        }
    }
}
