//! Lists of names that take more than one request.

use super::{name, storage};
use object_store::path::Path;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_oci::Tag;
use roadstead_storage::{Holding, NameList, NamesQuery, Page, Storage as _};
use std::collections::BTreeSet;

const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// All texts of one to three of these pieces.
fn texts(pieces: &[&str], joint: &str) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut last = vec![String::new()];
    for _ in 0..3 {
        let longer = |text: &String| -> Vec<String> {
            let joint = if text.is_empty() { "" } else { joint };
            pieces.iter().map(|piece| format!("{text}{joint}{piece}")).collect()
        };
        last = last.iter().flat_map(longer).collect();
        all.extend(last.iter().cloned());
    }
    all
}

async fn fill(bucket: &MemoryBucket, keys: impl IntoIterator<Item = String>) {
    for key in keys {
        let key = Path::from(format!("{REPOSITORIES}/{key}"));
        bucket.objects().put(&key, "value".into()).await.unwrap();
    }
}

async fn page(bucket: &MemoryBucket, list: &NameList, after: Option<&str>, limit: usize) -> Page {
    let (list, after) = (list.clone(), after.map(str::to_owned));
    let query = NamesQuery { list, values: false, after, limit };
    storage(bucket.backend(""), true).names(&query).await.unwrap()
}

fn tags() -> NameList {
    NameList::Tags(name("r"))
}

/// Pages of several sizes after every name, and after some that are none, are
/// as they should be.
async fn check(bucket: &MemoryBucket, list: &NameList, names: &BTreeSet<String>) {
    let between =
        names.iter().flat_map(|name| ["", "-", ".0", "/"].map(|end| format!("{name}{end}")));
    for after in between.chain([String::new()]) {
        for limit in [1, 4, 40] {
            let expected: Vec<&String> = names.iter().filter(|&name| *name > after).collect();
            let page = page(bucket, list, Some(&after), limit).await;
            assert_eq!(page.more, expected.len() > limit, "{limit} after {after:?}");
            assert!(
                page.names.iter().eq(expected.into_iter().take(limit)),
                "{limit} after {after:?}: {page:?}"
            );
        }
    }
}

#[tokio::test]
async fn tags_come_in_their_order_however_they_are_listed() {
    let all = texts(&["a", "-", ".", "0", "b"], "");
    let directories = |name: &&String| !name.starts_with('.') && !name.contains("b0");
    let directories: Vec<String> = all.iter().filter(directories).cloned().collect();
    // Directories that no tag can have are there as well.
    let is_tag = |name: &&String| Tag::parse(name).is_ok();
    let names: BTreeSet<String> = directories.iter().filter(is_tag).cloned().collect();
    assert!(names.len() < directories.len());
    for limit in [3, 7, 50] {
        let bucket = MemoryBucket::default().with_page(limit);
        let keys = directories.iter().flat_map(|name| {
            ["current/link", "index/x", "index/y"]
                .map(|key| format!("r/_manifests/tags/{name}/{key}"))
        });
        fill(&bucket, keys).await;
        check(&bucket, &tags(), &names).await;
    }
}

/// A deletion of a repository that was cut off leaves them: pages with values pass them
/// over, and are empty at the end of the list only.
#[tokio::test]
async fn pages_of_values_pass_over_tags_that_are_gone() {
    let bucket = MemoryBucket::default().with_page(10);
    let gone = (0..100).map(|number| format!("r/_manifests/tags/a{number:03}/index/x"));
    let kept = (0..3).map(|number| format!("r/_manifests/tags/z{number}/current/link"));
    fill(&bucket, gone.chain(kept)).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = NamesQuery { list: tags(), values: true, after: after.take(), limit: 2 };
        let page = storage(bucket.backend(""), true).names(&query).await.unwrap();
        assert_eq!(page.values, vec!["value"; page.names.len()]);
        after = page.names.last().cloned();
        found.extend(page.names);
        if !page.more {
            break;
        }
        assert!(after.is_some(), "the page is empty, and there is more");
    }
    assert_eq!(found, ["z0", "z1", "z2"]);
}

#[tokio::test]
async fn repositories_come_in_their_order_however_they_are_listed() {
    let all = texts(&["a", "a-b", "a.b", "a0", "b"], "/");
    let names: BTreeSet<String> =
        all.into_iter().enumerate().filter(|(i, _)| i % 3 != 1).map(|(_, name)| name).collect();
    // Lists of keys that show few repositories, some that show many, and one that shows all.
    for limit in [2, 40, 1000] {
        let bucket = MemoryBucket::default().with_page(limit);
        let keys = names
            .iter()
            .flat_map(|name| [format!("{name}/_manifests/x"), format!("{name}/_layers/y")]);
        // And what is no repository.
        let others = ["A/x", "_a/_manifests/x", "a-b/_layers/x/_manifests/y", "b/-/_manifests/x"];
        let keys = keys.chain(others.map(str::to_owned));
        fill(&bucket, keys).await;
        check(&bucket, &NameList::Repositories(Holding::Manifests), &names).await;
    }
}

/// A repository is found by its own directories, which may come after more
/// repositories below it than one request lists.
#[tokio::test]
async fn a_repository_with_many_below_it() {
    let bucket = MemoryBucket::default().with_page(3);
    let below = (0..9).map(|i| format!("a/{i}/_manifests/x"));
    fill(&bucket, below.chain(["a/_manifests/x".to_owned(), "b/_layers/x".to_owned()])).await;
    let mut names: BTreeSet<String> = (0..9).map(|i| format!("a/{i}")).collect();
    names.insert("a".to_owned());
    check(&bucket, &NameList::Repositories(Holding::Manifests), &names).await;
    names.insert("b".to_owned());
    check(&bucket, &NameList::Repositories(Holding::Anything), &names).await;
}

#[tokio::test]
async fn a_page_of_many_tags_takes_few_requests() {
    let bucket = MemoryBucket::default();
    let names: Vec<String> = (0..3000).map(|i| format!("1.{}-{i:04}", i % 7)).collect();
    let keys = names.iter().flat_map(|name| {
        let history = (0..4).map(|i| format!("index/{i}"));
        let keys = history.chain(["current/link".to_owned()]);
        keys.map(move |key| format!("r/_manifests/tags/{name}/{key}"))
    });
    fill(&bucket, keys).await;
    for (after, limit, most) in [(None, 100, 8), (Some("1.3-1000"), 100, 8), (None, 1000, 14)] {
        bucket.requests();
        let page = page(&bucket, &tags(), after, limit).await;
        assert_eq!((page.names.len(), page.more), (limit, true));
        let requests = bucket.requests().len();
        assert!(requests <= most, "{requests} for {limit} after {after:?}");
    }
}

/// How many requests a page of the catalog takes.
async fn requests_of_a_page(bucket: &MemoryBucket, after: Option<&str>, first: &str) -> usize {
    bucket.requests();
    let list = NameList::Repositories(Holding::Manifests);
    let page = page(bucket, &list, after, 50).await;
    assert_eq!((page.names.len(), page.more, page.names[0].as_str()), (50, true, first));
    bucket.requests().len()
}

#[tokio::test]
async fn a_page_of_the_catalog_takes_few_requests() {
    let bucket = MemoryBucket::default();
    let keys = (0..2500).flat_map(|i| {
        ["_layers/x", "_layers/y", "_manifests/x", "_manifests/y"]
            .map(|key| format!("team/app-{i:04}/{key}"))
    });
    fill(&bucket, keys).await;
    for (after, first) in [(None, "team/app-0000"), (Some("team/app-1999"), "team/app-2000")] {
        let requests = requests_of_a_page(&bucket, after, first).await;
        assert!(requests <= 3, "{requests}");
    }
}

#[tokio::test]
async fn large_repositories_take_a_request_for_each_and_few_besides() {
    let bucket = MemoryBucket::default().with_page(10);
    let keys =
        (0..250).flat_map(|i| (0..10).map(move |x| format!("team/app-{i:03}/_manifests/{x}")));
    fill(&bucket, keys).await;
    for (after, first) in [(None, "team/app-000"), (Some("team/app-149"), "team/app-150")] {
        let requests = requests_of_a_page(&bucket, after, first).await;
        assert!(requests <= 50 + 20, "{requests}");
    }
}
