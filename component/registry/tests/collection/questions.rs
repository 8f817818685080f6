//! What operators ask, and what they take back.

use super::world::{
    Client, DAY, GARBAGE, IMAGE, INDEX, World, condemn, exists, fill, image, layer, order,
};
use bytes::Bytes;
use roadstead_bridge::collect::{REPORTS, ReportsAnswer, USAGE, UsageAnswer, WHY, WhyAnswer};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::contract::sha256;
use roadstead_oci::Digest;
use roadstead_registry::SliceOptions;
use roadstead_storage::Storage;
use serde::de::DeserializeOwned;
use serde_json::json;

pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> T {
    let response = client.ask("GET", path, IMAGE, Bytes::new()).await;
    assert_eq!(response.status(), 200, "{path}: {response:?}");
    assert!(response.body().len() < 64 * 1024, "clients read no more");
    serde_json::from_slice(response.body()).unwrap()
}

/// All that is said about a blob.
async fn why(client: &Client, digest: &Digest) -> WhyAnswer {
    let path = format!("{WHY}{digest}");
    let mut all: WhyAnswer = get(client, &path).await;
    while let Some(next) = all.next.take() {
        let more: WhyAnswer = get(client, &format!("{path}?last={next}")).await;
        assert_eq!(more.blob, None);
        all.repositories.extend(more.repositories);
        all.next = more.next;
    }
    all
}

#[tokio::test]
async fn why_a_blob_is_kept() {
    why_a_blob_is_kept_over(MemoryBucket::default()).await;
    why_a_blob_is_kept_over(tempfile::tempdir().unwrap()).await;
}

async fn why_a_blob_is_kept_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    let kept = sha256(b"new config");
    let manifest = sha256(image("new config", "shared layer").to_string().as_bytes());
    let answer = why(&client, &kept).await;
    let blob = answer.blob.unwrap();
    assert_eq!((blob.size, blob.state, blob.sighted), (Some(10), None, None));
    let names: Vec<_> = answer.repositories.iter().map(|r| (r.name.as_str(), r.count)).collect();
    assert_eq!(names, [("a/b", 1), ("c", 1)]);
    let holder = &answer.repositories[0].holders[0];
    assert_eq!(
        (holder.manifest.as_str(), &holder.tags[..]),
        (manifest.as_str(), &["new".into()][..])
    );
    // A manifest keeps itself where it is linked.
    let answer = why(&client, &manifest).await;
    assert_eq!(answer.repositories[1].holders[0].manifest, manifest.as_str());

    // What is garbage has links, until it is condemned.
    let orphan = sha256(b"orphan");
    let answer = why(&client, &orphan).await;
    let of = |answer: &WhyAnswer| -> Vec<_> {
        answer.repositories.iter().map(|r| (r.name.clone(), r.linked, r.moved, r.count)).collect()
    };
    let both = |linked, moved| ["a/b", "c"].map(|name| (name.to_owned(), linked, moved, 0));
    assert_eq!(of(&answer), both(true, false));
    world.pass(2 * DAY);
    client.run(&world, order()).await;
    assert!(why(&client, &orphan).await.blob.unwrap().sighted.is_some());
    world.pass(2 * DAY);
    let report = client.run(&world, order()).await;
    let answer = why(&client, &orphan).await;
    assert_eq!(of(&answer), both(false, true));
    let blob = answer.blob.unwrap();
    assert_eq!((blob.state.as_deref(), blob.run), (Some("unlinked"), Some(report.run)));

    // A manifest to which only an index leads, and more of everything than is named.
    let child = image("below", "the index");
    let digest = client.push_image("d", "", "below", "the index").await;
    for number in 0..12 {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{ "mediaType": IMAGE, "digest": digest, "size": child.to_string().len() }],
            "annotations": { "number": number.to_string() },
        });
        for tag in 0..12 {
            client.push("d", &format!("v{number}-{tag}"), INDEX, &index).await;
        }
    }
    let answer = why(&client, &digest).await;
    let repository = &answer.repositories[0];
    assert_eq!((repository.count, repository.holders.len()), (13, 10));
    let tags: Vec<_> = repository.holders.iter().map(|holder| holder.tags.len()).collect();
    assert!(tags.iter().all(|tags| [0, 10].contains(tags)), "{tags:?}");
    let name = roadstead_oci::RepositoryName::parse("d").unwrap();
    storage.delete(&roadstead_storage::Key::Revision(name, digest.clone())).await.unwrap();
    let answer = why(&client, &sha256(b"below")).await;
    let holder = &answer.repositories[0].holders[0];
    assert_eq!(holder.manifest, digest.as_str());
    assert!(holder.index.is_some() && holder.tags.len() == 10, "{holder:?}");
    assert_eq!(answer.repositories[0].count, 1);

    let nowhere = why(&client, &sha256(b"nowhere")).await;
    assert_eq!((nowhere.blob.unwrap().size, nowhere.repositories.len()), (None, 0));
    assert_eq!(client.status("GET", &format!("{WHY}sha256:7")).await, 400);
}

#[tokio::test]
async fn how_much_repositories_hold() {
    how_much_repositories_hold_over(MemoryBucket::default()).await;
    how_much_repositories_hold_over(tempfile::tempdir().unwrap()).await;
}

async fn how_much_repositories_hold_over<W: World>(world: W) {
    let client = Client(world.registry());
    fill(&client).await;
    let bytes = image("new config", "shared layer").to_string().len() + 10 + 12;
    let answer: UsageAnswer = get(&client, USAGE).await;
    let usage = &answer.repositories;
    let rows: Vec<_> = usage
        .iter()
        .map(|u| (u.name.as_str(), u.manifests, u.blobs, u.bytes, u.unneeded))
        .collect();
    let bytes = bytes as u64;
    // In a/b, a configuration and an orphan are left.
    assert_eq!(rows, [("a/b", 1, 3, bytes, 2), ("c", 1, 3, bytes, 1)]);
    assert_eq!(answer.next.as_deref(), Some("c"));
    let answer: UsageAnswer = get(&client, &format!("{USAGE}?last=c")).await;
    assert_eq!(answer, UsageAnswer::default());
    // A page ends before it is longer than clients read.
    for number in 0..200 {
        client.push_image(&format!("{}/{number}", "long".repeat(30)), "v", "c", "l").await;
    }
    let (mut count, mut next, mut pages) = (0, String::new(), 0);
    loop {
        let answer: UsageAnswer = get(&client, &format!("{USAGE}?last={next}")).await;
        count += answer.repositories.len();
        pages += 1;
        let Some(last) = answer.next else { break };
        next = last;
    }
    assert_eq!(count, 202);
    assert!(pages > 1, "{pages}");
}

#[tokio::test]
async fn a_run_is_undone() {
    a_run_is_undone_over(MemoryBucket::default()).await;
    a_run_is_undone_over(tempfile::tempdir().unwrap()).await;
}

async fn a_run_is_undone_over<W: World>(world: W) {
    let (client, storage) = (Client(world.registry()), world.storage());
    fill(&client).await;
    let first = condemn(&world, &client).await;
    assert_eq!(first.condemned, GARBAGE);
    // Another run condemns something else.
    client.push_blob("c", b"later").await;
    let second = condemn(&world, &client).await;
    assert_eq!((second.condemned, second.kept), (1, GARBAGE));

    let number = |run: &str| Some(u128::from_str_radix(run, 16).unwrap());
    let undo = SliceOptions { undo: number(&first.run), budget: 7, ..order() };
    let dry = client.run(&world, SliceOptions { dry_run: true, ..undo }).await;
    assert_eq!((dry.given_back, dry.kept), (GARBAGE, 1));
    assert!(!exists(&storage, layer("c", "orphan")).await);
    // It begins at once, though a run began just now.
    let report = client.run(&world, undo).await;
    assert_eq!((report.given_back, report.kept), (GARBAGE, 1));
    assert_eq!(report.undone, Some(first.run.clone()));
    for repository in ["a/b", "c"] {
        assert!(exists(&storage, layer(repository, "orphan")).await);
    }
    assert!(!exists(&storage, layer("c", "later")).await);
    // It stays for the time in which somebody may make something refer to it.
    world.pass(DAY);
    let report = client.run(&world, order()).await;
    assert_eq!((report.condemned, report.sighted, report.kept), (0, 0, 1), "{report:?}");
    client.push("c", "again", IMAGE, &image("orphan", "shared layer")).await;
    for _ in 0..8 {
        world.pass(3 * DAY);
        client.run(&world, order()).await;
    }
    let path = format!("/v2/c/blobs/{}", sha256(b"orphan"));
    assert_eq!(client.status("GET", &path).await, 200);
    // What was removed does not come back.
    let report = client.run(&world, SliceOptions { undo: number(&second.run), ..order() }).await;
    assert_eq!(report.given_back, 0);

    let answer: ReportsAnswer = get(&client, REPORTS).await;
    let reports = answer.reports;
    assert_eq!(reports[0], report);
    assert!(reports.contains(&first));
    assert!(reports.windows(2).all(|pair| pair[0].begun >= pair[1].begun));
}
