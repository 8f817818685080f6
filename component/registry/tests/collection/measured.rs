//! What retention costs with many repositories and tags, and that all ways to ask say the same.
//!
//! ```sh
//! TMPDIR=/dev/shm cargo test --release -p roadstead-registry --test all \\
//!     collection::measured -- --ignored --nocapture
//! ```

use super::retention::{client, expiring, explain};
use super::world::{DAY, World, name, order};
use bytes::Bytes;
use roadstead_directory::steps::{Call, Observer, observe};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_oci::{MediaType, Tag};
use roadstead_registry::SliceOptions;
use roadstead_storage::{Key, Storage};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

const REPOSITORIES: usize = 1000;
const TAGS: usize = 100;

/// The ten tags of each repository that were pushed last.
const POLICY: &str = r#"{"repositories": "**", "keeptags": [
    {"patterns": "v.*", "mostrecentlypushedcount": 10, "pushedwithin": "30d"}]}"#;

/// Counts calls of the file system.
#[derive(Default)]
struct Counter(RefCell<BTreeMap<&'static str, u64>>);

impl Observer for Counter {
    fn before(&self, call: Call, _: &Path) -> std::io::Result<()> {
        let call = match call {
            Call::Read => "read",
            Call::List => "list",
            Call::Change => "change",
            Call::Write => "write",
            Call::Sync => "sync",
            Call::Wait => "wait",
        };
        *self.0.borrow_mut().entry(call).or_default() += 1;
        Ok(())
    }
}

async fn fill(storage: &impl Storage) {
    let media_type = MediaType::parse("application/vnd.example+json").unwrap();
    for repository in 0..REPOSITORIES {
        let (name, bytes) = (name(&format!("r{repository}")), format!("{repository}"));
        let digest = sha256(bytes.as_bytes());
        storage.write(&Key::Blob(digest.clone()), Bytes::from(bytes)).await.unwrap();
        let revision = Key::Revision(name.clone(), digest.clone());
        storage.link(&revision, &digest, Some(&media_type)).await.unwrap();
        for tag in 0..TAGS {
            let tag = Tag::parse(&format!("v{tag}")).unwrap();
            storage.link_tag(&name, &tag, &digest, &media_type).await.unwrap();
        }
    }
}

/// Fills a storage, and prints what each way to ask takes. `counted` says what was done since it
/// was asked last.
async fn measure<W: World>(world: W, counted: impl Fn() -> BTreeMap<String, u64>) {
    let client = client(&world, POLICY, &[]);
    fill(&world.storage()).await;
    world.pass(40 * DAY);
    counted();
    let dry = SliceOptions { dry_run: true, ..order() };
    let began = Instant::now();
    client.run(&world, dry).await;
    eprintln!("first dry run: {:.1?}, {:?}", began.elapsed(), counted());
    let began = Instant::now();
    let listed = expiring(&client).await;
    eprintln!("list: {} tags in {:.1?}, {:?}", listed.len(), began.elapsed(), counted());
    let began = Instant::now();
    for tag in 0..TAGS {
        let (tag, text) = (format!("v{tag}"), format!("r7:v{tag}"));
        assert_eq!(explain(&client, "r7", &tag).await.expires, listed.contains(&text), "{text}");
    }
    eprintln!("explain: 100 tags in {:.1?}, {:?}", began.elapsed(), counted());
    let began = Instant::now();
    let report = client.run(&world, dry).await;
    eprintln!("dry run: {:.1?}, {:?}", began.elapsed(), counted());
    assert_eq!(report.expired, listed.len() as u64);
    assert!(report.expired_tags.iter().all(|tag| listed.contains(tag)));
    let began = Instant::now();
    let report = client.run(&world, order()).await;
    eprintln!("run: {} tags in {:.1?}, {:?}", report.expired, began.elapsed(), counted());
    assert_eq!(report.expired, listed.len() as u64);
    check(&world, &listed).await;
    let undo = SliceOptions { undo: u128::from_str_radix(&report.run, 16).ok(), ..order() };
    let began = Instant::now();
    let report = client.run(&world, undo).await;
    eprintln!("undo: {} tags in {:.1?}, {:?}", report.restored_tags, began.elapsed(), counted());
    assert_eq!(report.restored_tags, listed.len() as u64);
}

/// Those tags are gone that were listed, and no others.
async fn check(world: &impl World, listed: &[String]) {
    let storage = world.storage();
    for repository in 0..REPOSITORIES {
        for tag in 0..TAGS {
            let key =
                Key::Tag(name(&format!("r{repository}")), Tag::parse(&format!("v{tag}")).unwrap());
            assert_eq!(storage.exists(&key).await.unwrap(), tag >= TAGS - 10, "{key}");
        }
    }
    assert_eq!(listed.len(), REPOSITORIES * (TAGS - 10));
}

#[tokio::test]
#[ignore = "it takes minutes; the head of this file has the command"]
async fn a_thousand_repositories_in_a_directory() {
    let calls = Rc::new(Counter::default());
    observe(Some(Rc::clone(&calls) as Rc<dyn Observer>));
    let counted = || {
        let counted = std::mem::take(&mut *calls.0.borrow_mut());
        counted.into_iter().map(|(call, count)| (call.to_owned(), count)).collect()
    };
    measure(tempfile::tempdir().unwrap(), counted).await;
    observe(None);
}

#[tokio::test]
#[ignore = "it takes minutes; the head of this file has the command"]
async fn a_thousand_repositories_in_a_bucket() {
    let bucket = MemoryBucket::default();
    let requests = bucket.clone();
    let counted = move || {
        let mut counted = BTreeMap::new();
        for request in requests.requests() {
            let what = request.split(' ').next().unwrap_or_default().to_owned();
            *counted.entry(what).or_default() += 1;
        }
        counted
    };
    measure(bucket, counted).await;
}
