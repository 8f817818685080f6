//! Lists that take more than one request.

use super::storage;
use crate::native::MemoryBucket;
use crate::store::{Depth, Names, Page, Storage as _};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use std::collections::BTreeSet;

/// All texts of these pieces, of one to three of them.
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

async fn filled(bucket: &MemoryBucket, keys: impl Iterator<Item = String>) {
    for key in keys {
        bucket.objects().put(&Path::from(key), "value".into()).await.unwrap();
    }
}

async fn page(
    bucket: &MemoryBucket,
    (marker, depth): (&str, Depth),
    after: Option<&str>,
    limit: usize,
) -> Page {
    let (parent, marker) = (Path::from("r"), Path::from(marker));
    let query = Names { parent, marker, values: false, depth, after, limit };
    storage(bucket.backend(""), true).names(query).await.unwrap()
}

/// Pages of several sizes after every name, and after some that are none, are
/// as they should be.
async fn check(bucket: &MemoryBucket, kind: (&str, Depth), names: &BTreeSet<String>) {
    let between =
        names.iter().flat_map(|name| [name.clone(), format!("{name}-"), format!("{name}.0")]);
    for after in between.chain([String::new()]) {
        for limit in [1, 4, 40] {
            let expected: Vec<&String> = names.iter().filter(|&name| *name > after).collect();
            let page = page(bucket, kind, Some(&after), limit).await;
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
    // No tag begins with these, but names are not for this to judge.
    let all = texts(&["a", "-", ".", "0", "b"], "");
    let marked = |name: &&String| !name.contains("b0");
    let names: BTreeSet<String> = all
        .iter()
        .filter(|name| !name.chars().all(|character| character == '.') && !name.starts_with('.'))
        .filter(marked)
        .cloned()
        .collect();
    for limit in [3, 7, 50] {
        let bucket = MemoryBucket::default().with_page(limit);
        let keys = names.iter().flat_map(|name| {
            [
                format!("r/{name}/current/link"),
                format!("r/{name}/index/x"),
                format!("r/{name}/index/y"),
            ]
        });
        filled(&bucket, keys).await;
        check(&bucket, ("current/link", Depth::Children), &names).await;
    }
}

#[tokio::test]
async fn repositories_come_in_their_order_however_they_are_listed() {
    let all = texts(&["a", "a-b", "a.b", "a0", "b"], "/");
    let names: BTreeSet<String> =
        all.into_iter().enumerate().filter(|(i, _)| i % 3 != 1).map(|(_, name)| name).collect();
    for limit in [2, 1000] {
        let bucket = MemoryBucket::default().with_page(limit);
        let keys = names
            .iter()
            .flat_map(|name| [format!("r/{name}/_manifests/x"), format!("r/{name}/_layers/y")]);
        filled(&bucket, keys).await;
        check(&bucket, ("_manifests", Depth::Descendants), &names).await;
    }
}

#[tokio::test]
async fn a_page_of_many_tags_takes_few_requests() {
    let bucket = MemoryBucket::default();
    let names: Vec<String> = (0..3000).map(|i| format!("1.{}-{i:04}", i % 7)).collect();
    let keys = names.iter().flat_map(|name| {
        (0..4).map(move |i| format!("r/{name}/index/{i}")).chain([format!("r/{name}/current/link")])
    });
    filled(&bucket, keys).await;
    for (after, limit, most) in [(None, 100, 8), (Some("1.3-1000"), 100, 8), (None, 1000, 14)] {
        bucket.requests();
        let page = page(&bucket, ("current/link", Depth::Children), after, limit).await;
        assert_eq!((page.names.len(), page.more), (limit, true));
        let requests = bucket.requests().len();
        assert!(requests <= most, "{requests} for {limit} after {after:?}");
    }
}

#[tokio::test]
async fn a_page_of_the_catalog_takes_a_request_for_each_and_few_besides() {
    let bucket = MemoryBucket::default();
    let names = (0..2500).map(|i| format!("r/team/app-{i:04}/_manifests/x"));
    filled(&bucket, names).await;
    for (after, first) in [(None, "team/app-0000"), (Some("team/app-1999"), "team/app-2000")] {
        bucket.requests();
        let page = page(&bucket, ("_manifests", Depth::Descendants), after, 50).await;
        assert_eq!((page.names.len(), page.more, page.names[0].as_str()), (50, true, first));
        let requests = bucket.requests().len();
        assert!(requests <= 50 + 20, "{requests}");
    }
}
