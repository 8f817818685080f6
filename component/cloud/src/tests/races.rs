//! Requests that meet over one session.

use super::storage;
use crate::native::{Conditions, MemoryBucket};
use crate::store::contract::{body, broken, content, new_session, repository, sha256};
use crate::store::{Storage as _, StorageError, keys};
use bytes::Bytes;
use futures::future::{FutureExt as _, LocalBoxFuture, join_all};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

const MIB: usize = 1024 * 1024;

/// How many orders of events are tried.
const ROUNDS: u64 = 24;

/// Whatever is appended and committed at once, in any order, by any number of
/// instances: what is stored under a digest has it.
#[tokio::test]
async fn what_is_stored_is_what_was_hashed() {
    for conditions in [Conditions::Honoured, Conditions::Refused, Conditions::Ignored] {
        let mut committed = 0;
        for seed in 0..ROUNDS {
            let bucket = MemoryBucket::default().with_conditions(conditions).with_seed(seed);
            committed += match seed % 2 {
                0 => meet_then_commit(&bucket, seed).await,
                _ => meet(&bucket, seed).await,
            };
            for key in bucket.keys().await {
                let Some(rest) = key.strip_prefix("docker/registry/v2/blobs/sha256/") else {
                    continue;
                };
                let bytes = bucket.objects().get(&Path::from(key.as_str())).await.unwrap();
                let digest = sha256(&bytes.bytes().await.unwrap());
                assert_eq!(rest, format!("{}/{1}/data", &digest.encoded()[..2], digest.encoded()));
            }
        }
        assert!(committed >= ROUNDS / 6, "{conditions:?}: {committed} commits");
    }
}

/// Runs requests at once, and gives how many commits succeeded.
async fn meet(bucket: &MemoryBucket, seed: u64) -> u64 {
    // Each has an instance of its own: they share the bucket and nothing else.
    let instances: Vec<_> = (0..8).map(|_| storage(bucket.backend(""), true)).collect();
    let name = repository();
    let session = &new_session(&instances[0], &name);
    let sizes = [10, 70_000, 6 * MIB, 11 * MIB, 5 * MIB];
    let piece = |i: u64| content(sizes[usize::try_from((seed + i) % 5).unwrap()]);
    let pieces: Vec<Bytes> = (0..3).map(piece).collect();
    let both = Bytes::from([pieces[0].clone(), pieces[1].clone()].concat());
    let commits = [(None, &pieces[0]), (None, &both), (Some(&pieces[1]), &both)];
    let links = [(keys::layer_link(&name, &sha256(b"x")), "x".to_owned())];
    let commits: Vec<_> = commits.into_iter().map(|(rest, all)| (rest, sha256(all))).collect();
    let mut tasks: Vec<LocalBoxFuture<'_, u64>> = Vec::new();
    for (i, (piece, storage)) in pieces.iter().zip(&instances).enumerate() {
        let at = (i == 2).then_some(0);
        let body = if seed % 4 == 3 { broken(piece) } else { body(piece) };
        let append = storage.append(session, at, None, body);
        tasks.push(append.map(|end| end.map_or_else(expected, |_| 0)).boxed_local());
    }
    for ((rest, digest), storage) in commits.iter().zip(&instances[4..]) {
        let rest = rest.map(|rest| body(rest));
        let links = &links;
        let commit = async move {
            let to = keys::blob(digest);
            let end = storage.commit(session, None, rest, &to, digest, links).await;
            end.map_or_else(expected, |_| 1)
        };
        tasks.push(commit.boxed_local());
    }
    // Now the appends first, now the commits, now mixed.
    let by = usize::try_from(seed).unwrap() % tasks.len();
    tasks.rotate_left(by);
    let mut committed: u64 = join_all(tasks).await.into_iter().sum();
    // And what is left afterwards.
    for (rest, digest) in &commits {
        let rest = rest.map(|rest| body(rest));
        let to = keys::blob(digest);
        let end = instances[7].commit(session, None, rest, &to, digest, &links).await;
        committed += end.map_or_else(expected, |_| 1);
    }
    committed
}

/// Runs appends at once; then, together with another one, commits of what the
/// session has. Gives how many of these succeeded.
async fn meet_then_commit(bucket: &MemoryBucket, seed: u64) -> u64 {
    let instances: Vec<_> = (0..4).map(|_| storage(bucket.backend(""), true)).collect();
    let name = repository();
    let session = &new_session(&instances[0], &name);
    for round in 0..3 {
        let size = [9 * MIB, 70_000, 6 * MIB, 10][usize::try_from(seed / 2 + round).unwrap() % 4];
        let appends = instances.iter().map(async |storage| {
            let end = storage.append(session, None, None, body(&content(size))).await;
            end.map_or_else(expected, |_| 0)
        });
        join_all(appends).await;
    }
    let (record, _) = instances[0].bucket.load(session).await.unwrap();
    let digest = record.digest().unwrap();
    let links = [(keys::layer_link(&name, &digest), digest.to_string())];
    let tasks = instances.iter().enumerate().map(async |(i, storage)| {
        if i == 0 {
            let late = storage.append(session, None, None, body(&content(6 * MIB))).await;
            return late.map_or_else(expected, |_| 0);
        }
        let to = keys::blob(&digest);
        let end = storage.commit(session, None, None, &to, &digest, &links).await;
        end.map_or_else(expected, |_| 1)
    });
    join_all(tasks).await.into_iter().sum()
}

/// What may be the answer to one that meets others. A store's own refusal is
/// that of an upload which another one has ended.
fn expected(error: StorageError) -> u64 {
    match error {
        StorageError::Failed(cause) => {
            assert!(cause.contains("no such") || cause.contains("already exists"), "{cause}");
        }
        StorageError::AlreadyExists
        | StorageError::Range(_)
        | StorageError::BodyLength(_)
        | StorageError::Unavailable(_) => panic!("{error}"),
        _ => {}
    }
    0
}
