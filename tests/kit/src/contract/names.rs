//! Names, in their order and by pages.

use super::repository;
use crate::store::{Depth, Names, Page, Storage, keys};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

pub(super) async fn check<S: Storage>(storage: &S) {
    let parent = keys::revisions(&repository());
    let put = async |key: &str, value: &str| {
        let key = Path::from(format!("{parent}/{key}"));
        storage.objects().put(&key, value.to_owned().into()).await.unwrap();
    };
    for key in [
        "a/_m/x",
        "a/b/_m/x",
        "a/b/c/d/_m/x",
        "a-b/_m/x",
        "a.b/c/_m/x",
        "a0/_m/x",
        "a/0/_m/x",
        "a-b-c/_m/x",
        "z/nothing",
        "_own/_m/x",
        "file",
    ] {
        put(key, key).await;
    }
    // What names a directory may be a directory itself or, with its whole
    // path, an object.
    let marker = Path::from("_m");
    let paths = ["a", "a-b", "a-b-c", "a.b/c", "a/0", "a/b", "a/b/c/d", "a0"];
    let directories = Query { parent: &parent, marker: &marker, depth: Depth::Descendants };
    check_pages(storage, &directories, &paths).await;
    for (after, first) in
        [("a-", "a-b"), ("a/a", "a/b"), ("a/b/c", "a/b/c/d"), ("a.b/d", "a/0"), ("0", "a")]
    {
        let page = directories.page(storage, Some(after), 1, false).await;
        assert_eq!((page.names, page.more), (vec![first.to_owned()], true), "after {after}");
    }
    let marker = Path::from("_m/x");
    let children = Query { parent: &parent, marker: &marker, depth: Depth::Children };
    check_pages(storage, &children, &["_own", "a", "a-b", "a-b-c", "a0"]).await;
    let page = children.page(storage, Some("a-"), 9, true).await;
    assert_eq!(page.names, ["a-b", "a-b-c", "a0"]);
    assert_eq!(page.values, ["a-b/_m/x", "a-b-c/_m/x", "a0/_m/x"]);
    for depth in [Depth::Children, Depth::Descendants] {
        let none = keys::revisions(&repository());
        let query = Query { parent: &none, marker: &marker, depth };
        assert_eq!(query.page(storage, None, 9, false).await, Page::default());
        assert_eq!(query.page(storage, Some("a"), 9, true).await, Page::default());
    }
    let zero = children.page(storage, None, 0, false).await;
    assert_eq!((zero.names.len(), zero.more), (0, true));
}

struct Query<'a> {
    parent: &'a Path,
    marker: &'a Path,
    depth: Depth,
}

impl Query<'_> {
    async fn page<S: Storage>(
        &self,
        storage: &S,
        after: Option<&str>,
        limit: usize,
        values: bool,
    ) -> Page {
        let (parent, marker, depth) = (self.parent.clone(), self.marker.clone(), self.depth);
        storage.names(Names { parent, marker, values, depth, after, limit }).await.unwrap()
    }
}

/// Every page size gives the same names, cut at the same places.
async fn check_pages<S: Storage>(storage: &S, query: &Query<'_>, expected: &[&str]) {
    for limit in 1..=expected.len() + 1 {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = query.page(storage, found.last().map(String::as_str), limit, false).await;
            assert!(page.names.len() <= limit);
            found.extend(page.names);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}
