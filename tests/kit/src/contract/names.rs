//! Names in lexical order, page by page.

use super::objects::line;
use super::{Testable, body, content, new_session, repository, sha256, sha512, tag, tag_key};
use bytes::Bytes;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Holding, Key, NameList, NamesQuery, PAGE_BYTES, Page, Storage};

pub(super) async fn check<S: Testable>(storage: &S) {
    check_tags(storage).await;
    check_referrers(storage).await;
    check_page_bytes(storage).await;
    check_repositories(storage).await;
    check_nothing(storage).await;
}

/// A page of a list.
async fn page<S: Storage>(
    storage: &S,
    list: &NameList,
    after: Option<&str>,
    limit: usize,
    values: bool,
) -> Page {
    let after = after.map(str::to_owned);
    let query = NamesQuery { list: list.clone(), values, after, limit };
    let page = storage.names(&query).await.unwrap();
    assert!(page.names.len() <= limit, "{} names of at most {limit}", page.names.len());
    assert_eq!(page.values.len(), if values { page.names.len() } else { 0 });
    page
}

/// Every page size gives the same names, cut at the same places.
async fn check_pages<S: Storage>(storage: &S, list: &NameList, expected: &[&str]) {
    assert!(expected.is_sorted());
    for limit in 1..=expected.len() + 1 {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = page(storage, list, found.last().map(String::as_str), limit, false).await;
            assert!(!page.names.is_empty(), "limit {limit}: an empty page after {found:?}");
            found.extend(page.names);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
    let zero = page(storage, list, None, 0, false).await;
    assert_eq!((zero.names.len(), zero.more), (0, true));
    let end = expected.last().copied();
    assert_eq!(page(storage, list, end, 0, false).await, Page::default());
    assert_eq!(page(storage, list, end, 9, true).await, Page::default());
    // What clients send as `last` may be any text.
    for after in ["~", "\u{7f}", "\u{1f6a2}\r\n"] {
        assert_eq!(page(storage, list, Some(after), 9, true).await, Page::default(), "{after:?}");
    }
}

const TAGS: [&str; 12] = [
    "A", "_hint-a", "_own", "_uploads", "a", "a-b", "a-b-c", "a.b", "a.b.c", "a0", "current",
    "link",
];

async fn check_tags<S: Testable>(storage: &S) {
    let name = repository();
    let digest_of = |text: &str| sha256(text.as_bytes());
    // Not in their order.
    for text in TAGS.iter().rev() {
        let digest = digest_of(text);
        storage.link(&tag_key(&name, text), &digest, None).await.unwrap();
        for digest in [digest, sha512(text.as_bytes())] {
            let history = Key::TagHistory(name.clone(), tag(text), digest.clone());
            storage.link(&history, &digest, None).await.unwrap();
        }
    }
    // Tags that point nowhere are none.
    for text in ["0", "a-a", "z"] {
        let digest = digest_of(text);
        let history = Key::TagHistory(name.clone(), tag(text), digest.clone());
        storage.link(&history, &digest, None).await.unwrap();
    }
    storage.write(&tag_key(&name, "a.b"), line(&digest_of("a.b"))).await.unwrap();

    let list = NameList::Tags(name.clone());
    check_pages(storage, &list, &TAGS).await;
    for (after, first) in [
        ("0", "A"),
        ("_", "_hint-a"),
        ("a!", "a-b"),
        ("a-", "a-b"),
        ("a-a", "a-b"),
        ("a-b", "a-b-c"),
        ("a-c", "a.b"),
        ("a/", "a0"),
        ("a.b.c", "a0"),
    ] {
        let page = page(storage, &list, Some(after), 1, false).await;
        assert_eq!((page.names, page.more), (vec![first.to_owned()], true), "after {after}");
    }
    let page = page(storage, &list, Some("a-"), 3, true).await;
    assert_eq!(
        (page.names.as_slice(), page.more),
        (["a-b", "a-b-c", "a.b"].map(String::from).as_slice(), true)
    );
    for (text, value) in page.names.iter().zip(&page.values) {
        assert_eq!(value.trim_end(), digest_of(text).as_str(), "{text}");
    }

    // A deleted tag is gone from the next page on.
    storage.remove(&tag_key(&name, "_uploads")).await.unwrap();
    storage.unlink(&tag_key(&name, "a0"), &digest_of("a0")).await.unwrap();
    let rest: Vec<_> = TAGS.into_iter().filter(|text| !["_uploads", "a0"].contains(text)).collect();
    check_pages(storage, &list, &rest).await;
}

/// `<algorithm>-<hex>`.
fn referrer_name(digest: &Digest) -> String {
    digest.as_str().replace(':', "-")
}

async fn write_referrer<S: Storage>(
    storage: &S,
    (name, subject): (&RepositoryName, &Digest),
    digest: &Digest,
    descriptor: Bytes,
) {
    let (repository, subject, digest) = (name.clone(), subject.clone(), digest.clone());
    let key = Key::Referrer { repository, subject, digest };
    storage.write(&key, descriptor).await.unwrap();
}

async fn check_referrers<S: Testable>(storage: &S) {
    let (name, empty) = (repository(), sha512(b"no referrers"));
    for subject in [sha256(b"subject"), sha512(b"subject")] {
        let mut digests: Vec<_> = (0..9)
            .map(|number| if number % 3 == 0 { sha512 } else { sha256 })
            .map(|digest_of| digest_of(&content(9)))
            .collect();
        let value_of =
            |digest: &Digest| format!(r#"{{"digest":"{digest}","subject":"{subject}"}}"#);
        for digest in &digests {
            let value = value_of(digest).into();
            write_referrer(storage, (&name, &subject), digest, value).await;
        }
        digests.sort_by_key(referrer_name);
        let names: Vec<_> = digests.iter().map(referrer_name).collect();
        let list = NameList::Referrers { repository: name.clone(), subject: subject.clone() };
        check_pages(storage, &list, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for (after, first) in [(None, 0), (Some(names[3].as_str()), 4), (Some("sha256"), 0)] {
            let page = page(storage, &list, after, 3, true).await;
            assert_eq!((page.names.as_slice(), page.more), (&names[first..first + 3], true));
            let values: Vec<_> = digests[first..first + 3].iter().map(value_of).collect();
            assert_eq!(page.values, values);
        }
    }
    // What says that the referrers are complete is none of them.
    storage.write(&Key::ReferrersComplete(name.clone()), Bytes::new()).await.unwrap();
    let list = NameList::Referrers { repository: name, subject: empty };
    assert_eq!(page(storage, &list, None, 9, true).await, Page::default());
}

/// A page ends before its values become too many bytes, and has none that is
/// longer.
async fn check_page_bytes<S: Testable>(storage: &S) {
    const SIZES: [usize; 6] =
        [PAGE_BYTES / 2, PAGE_BYTES / 2 + 9, 100, PAGE_BYTES, PAGE_BYTES + 9, 200];
    let (name, subject) = (repository(), sha256(b"subject"));
    let mut expected = Vec::new();
    for size in SIZES {
        let digest = sha256(&content(9));
        // Text, as descriptors are.
        write_referrer(storage, (&name, &subject), &digest, "x".repeat(size).into()).await;
        let given = if size > PAGE_BYTES { 0 } else { size };
        expected.push((referrer_name(&digest), given));
    }
    expected.sort();
    let list = NameList::Referrers { repository: name, subject };
    let mut found: Vec<(String, usize)> = Vec::new();
    loop {
        let after = found.last().map(|(name, _)| name.as_str());
        let page = page(storage, &list, after, SIZES.len(), true).await;
        let bytes: usize = page.values.iter().map(String::len).sum();
        assert!(bytes <= PAGE_BYTES, "{bytes} bytes");
        assert!(!page.names.is_empty(), "an empty page after {after:?}");
        found.extend(page.names.into_iter().zip(page.values.iter().map(String::len)));
        if !page.more {
            break;
        }
    }
    assert_eq!(found, expected);
    // Without values, one page has all.
    let page = page(storage, &list, None, SIZES.len(), false).await;
    assert_eq!((page.names.len(), page.more), (SIZES.len(), false));
}

/// The repositories below one, of those that other tests made as well.
async fn below<S: Storage>(storage: &S, base: &str, holding: Holding, limit: usize) -> Vec<String> {
    let list = NameList::Repositories(holding);
    let (mut found, mut after) = (Vec::new(), base.to_owned());
    loop {
        let page = page(storage, &list, Some(&after), limit, false).await;
        assert!(page.names.is_sorted());
        for name in page.names {
            match name.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => found.push(rest.to_owned()),
                None => return found,
            }
            after = name;
        }
        if !page.more {
            return found;
        }
    }
}

async fn check_repositories<S: Testable>(storage: &S) {
    const MANIFESTS: [&str; 10] =
        ["a", "a-b", "a-b-c", "a.b/c", "a/0", "a/b", "a/b/c/d", "a0", "blobs/uploads", "tags"];
    // Those that hold something else, in the order of all.
    const ANYTHING: [&str; 15] = [
        "a",
        "a-b",
        "a-b-c",
        "a.b/c",
        "a/0",
        "a/b",
        "a/b/c/d",
        "a0",
        "blobs/uploads",
        "layer",
        "layer/x",
        "referrer",
        "session",
        "session/x",
        "tags",
    ];
    let base = repository();
    let name = |path: &str| RepositoryName::parse(&format!("{base}/{path}")).unwrap();
    let digest = sha256(b"manifest");
    for path in MANIFESTS {
        let key = Key::Revision(name(path), digest.clone());
        storage.link(&key, &digest, None).await.unwrap();
    }
    for path in ["layer", "layer/x", "a/b"] {
        let key = Key::Layer(name(path), digest.clone());
        storage.link(&key, &digest, None).await.unwrap();
    }
    for path in ["session", "session/x"] {
        let session = new_session(storage, &name(path));
        storage.begin(&session).await.unwrap();
        // A session may be stored with its first bytes only.
        storage.append(&session, None, None, body(b"x")).await.unwrap();
    }
    let referrer = (&name("referrer"), &digest);
    write_referrer(storage, referrer, &sha256(b"referrer"), Bytes::from_static(b"{}")).await;

    for limit in 1..=ANYTHING.len() + 1 {
        let found = below(storage, base.as_str(), Holding::Manifests, limit).await;
        assert_eq!(found, MANIFESTS, "limit {limit}");
        let found = below(storage, base.as_str(), Holding::Anything, limit).await;
        assert_eq!(found, ANYTHING, "limit {limit}");
    }
    let list = NameList::Repositories(Holding::Manifests);
    for (after, first) in [
        ("0", "a"),
        ("a-", "a-b"),
        ("a/a", "a/b"),
        ("a/b/c", "a/b/c/d"),
        ("a.b/d", "a/0"),
        ("a//", "a/0"),
        ("a/b/c/d", "a0"),
        ("layer", "tags"),
    ] {
        for values in [false, true] {
            let (after, limit) = (format!("{base}/{after}"), 1);
            let query = NamesQuery { list: list.clone(), values, after: Some(after), limit };
            let page = storage.names(&query).await.unwrap();
            assert_eq!(page.names, [format!("{base}/{first}")], "{query:?}");
            // Repositories have no values.
            assert!(page.values.is_empty(), "{page:?}");
        }
    }
    assert_eq!(page(storage, &list, Some("\u{1f6a2}\r\n"), 9, false).await, Page::default());
}

/// Lists of repositories that are not there.
async fn check_nothing<S: Testable>(storage: &S) {
    let name = repository();
    let referrers = NameList::Referrers { repository: name.clone(), subject: sha256(b"subject") };
    for list in [NameList::Tags(name), referrers] {
        for (after, limit) in [(None, 9), (Some("a"), 9), (None, 0), (Some("a"), 1)] {
            assert_eq!(page(storage, &list, after, limit, false).await, Page::default());
            assert_eq!(page(storage, &list, after, limit, true).await, Page::default());
        }
    }
}
