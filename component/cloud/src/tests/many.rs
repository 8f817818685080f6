//! Ten million tags, in a list that is generated as it is asked for.

use super::{name, storage};
use async_trait::async_trait;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};
use roadstead_buckets::Backend;
use roadstead_kit::bucket::MemoryBucket;
use roadstead_storage::{NameList, NamesQuery, Page, Storage as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TAGS: u64 = 10_000_000;

/// How many names a client asks for at a time.
const PAGE: usize = 1000;

/// The directory of the tags.
const DIRECTORY: &str = "docker/registry/v2/repositories/r/_manifests/tags/";

/// Keys of a tag: its link, and one of its history.
const KEYS: [&str; 2] = ["current/link", "index/sha256/0/link"];

/// The tags `t0000000` and so on of `r`, as a store lists them.
#[derive(Debug, Default)]
struct Made {
    requests: AtomicUsize,
}

impl Made {
    /// The first key after a text, in the order of keys: the number of its tag, and
    /// its index in [`KEYS`].
    fn after(text: &str) -> (u64, usize) {
        let below = text.strip_prefix(DIRECTORY).unwrap_or_default();
        let Some(below) = below.strip_prefix('t') else { return (0, 0) };
        let digits: String = below.chars().take_while(char::is_ascii_digit).collect();
        // Missing digits count as zeros.
        let number: u64 = format!("{digits:0<7}")[..7].parse().unwrap();
        if digits.len() > 7 {
            return (number + 1, 0);
        }
        match below[digits.len()..].strip_prefix('/') {
            None => (number, 0),
            Some(rest) => match KEYS.iter().position(|key| *key > rest) {
                Some(key) => (number, key),
                None => (number + 1, 0),
            },
        }
    }
}

#[async_trait]
impl PaginatedListStore for Made {
    async fn list_paginated(
        &self,
        _: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let after = options.page_token.or(options.offset).unwrap_or_default();
        let (mut tag, mut key) = Self::after(&after);
        let (mut objects, mut common_prefixes) = (Vec::new(), Vec::new());
        let mut last = None;
        while tag < TAGS && objects.len() + common_prefixes.len() < options.max_keys.unwrap() {
            if options.delimiter.is_some() {
                let name = format!("{DIRECTORY}t{tag:07}");
                last = Some(format!("{name}0"));
                common_prefixes.push(Path::from(name));
                (tag, key) = (tag + 1, 0);
            } else {
                let location = Path::from(format!("{DIRECTORY}t{tag:07}/{}", KEYS[key]));
                last = Some(location.to_string());
                let (last_modified, e_tag, version) = (chrono::DateTime::UNIX_EPOCH, None, None);
                objects.push(ObjectMeta { location, last_modified, size: 71, e_tag, version });
                (tag, key) = if key + 1 < KEYS.len() { (tag, key + 1) } else { (tag + 1, 0) };
            }
        }
        let extensions = http::Extensions::new();
        let result = ListResult { common_prefixes, objects, extensions };
        Ok(PaginatedListResult { result, page_token: last.filter(|_| tag < TAGS) })
    }
}

async fn page(made: &Arc<Made>, after: Option<&str>) -> (Page, usize) {
    let lists = Arc::clone(made) as Arc<dyn PaginatedListStore>;
    let backend = Backend { lists, ..MemoryBucket::default().backend("") };
    let before = made.requests.load(Ordering::Relaxed);
    let (list, after) = (NameList::Tags(name("r")), after.map(str::to_owned));
    let query = NamesQuery { list, values: false, after, limit: PAGE };
    let page = storage(backend, true).names(&query).await.unwrap();
    (page, made.requests.load(Ordering::Relaxed) - before)
}

/// A page costs the same wherever it is. Single tags are looked up in addition,
/// at most one for a page here.
#[tokio::test]
async fn pages_of_ten_million_tags() {
    let made = Arc::new(Made::default());
    for start in [0, TAGS / 2, TAGS - 2 * PAGE as u64] {
        let after = start.checked_sub(1).map(|before| format!("t{before:07}"));
        let (page, requests) = page(&made, after.as_deref()).await;
        assert!(page.more && requests <= 3, "{start}: {requests}");
        assert!((start..).zip(&page.names).all(|(at, name)| *name == format!("t{at:07}")));
        assert_eq!(page.names.len(), PAGE);
    }
}

/// All of them, page by page.
#[tokio::test]
async fn a_walk_through_ten_million_tags() {
    let made = Arc::new(Made::default());
    let (mut after, mut count, mut all) = (None, 0, 0);
    loop {
        let (page, requests) = page(&made, after.as_deref()).await;
        count += page.names.len() as u64;
        all += requests;
        if !page.more {
            break;
        }
        after = page.names.into_iter().next_back();
    }
    assert_eq!(count, TAGS);
    println!("{TAGS} tags by pages of {PAGE}: {all} list requests");
    assert!(all <= 30_000, "{all} requests");
}
