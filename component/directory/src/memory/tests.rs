use super::{READ_LIMIT, only, only_memory, read_at};
use crate::synced::number;
use crate::{Directory, files};
use roadstead_bridge::storage::{Operation, Reply};
use roadstead_oci::{Algorithm, Digest, MediaType, Reference, RepositoryName, Tag};
use roadstead_storage::{Key, PushedManifest, StorageError, UploadSession};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Write as _;
use std::thread::{scope, sleep};
use std::time::Duration;

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

/// A repository with a tagged manifest, and a blob that is longer than what travels
/// within replies.
fn fixture() -> (tempfile::TempDir, Directory, RepositoryName) {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::open(root.path()).unwrap();
    let name = RepositoryName::parse("a/b").unwrap();
    let (manifest, blob) = (digest(b"{}"), digest(&[7; 5000]));
    directory.write(&Key::Blob(manifest.clone()), b"{}").unwrap();
    directory.write(&Key::Blob(blob.clone()), &[7; 5000]).unwrap();
    let media_type = MediaType::parse("a/b").unwrap();
    let revision = Key::Revision(name.clone(), manifest.clone());
    directory.link(&revision, &manifest, Some(&media_type)).unwrap();
    let tag = Key::Tag(name.clone(), Tag::parse("v1").unwrap());
    directory.link(&tag, &manifest, None).unwrap();
    directory.link(&Key::Layer(name.clone(), blob.clone()), &blob, None).unwrap();
    (root, directory, name)
}

fn reads(name: &RepositoryName) -> Vec<Operation> {
    let tags = ["v1", "none"].map(|tag| Reference::Tag(Tag::parse(tag).unwrap()));
    let digests = [&b"{}"[..], &[7; 5000], b"never written"].map(digest);
    let mut reads = Vec::new();
    for content in [false, true] {
        for reference in tags.iter().cloned().chain(digests.clone().map(Reference::Digest)) {
            let repository = name.clone();
            reads.push(Operation::Manifest { repository, reference, content });
        }
        for digest in digests.clone() {
            let (repository, range) = (name.clone(), None);
            reads.push(Operation::Blob { repository, digest, range, content });
        }
    }
    let media_type = MediaType::parse("a/b").unwrap();
    let (repository, tags) = (name.clone(), vec![Tag::parse("v1").unwrap()]);
    let digest = digests[0].clone();
    let manifest = PushedManifest { repository, digest, media_type, tags };
    for blobs in [vec![digests[1].clone()], digests.to_vec()] {
        let repository = name.clone();
        reads.push(Operation::MissingBlobs { repository, digests: blobs.clone() });
        reads.push(Operation::PushState { manifest: manifest.clone(), blobs });
    }
    for digest in digests {
        reads.push(Operation::Exists(Key::Blob(digest.clone())));
        reads.push(Operation::Read(Key::Layer(name.clone(), digest)));
    }
    reads
}

fn carry_out(
    directory: &Directory,
    operation: &Operation,
) -> Result<(Reply, Option<Vec<u8>>), StorageError> {
    let (reply, file) = directory.execute(operation)?;
    Ok((reply, file.map(|file| file.read()).transpose()?))
}

/// Whether the kernel and the file system here can do it.
fn possible(directory: &Directory) -> bool {
    let path = directory.path(&Key::Blob(digest(b"{}")));
    let read = || files::read_from(&files::open(&path)?, &path, 1);
    let possible = directory.from_memory(|_| read().is_ok()) == Some(true);
    if !possible {
        eprintln!("SKIPPED: {} cannot be read from memory alone", path.display());
    }
    possible
}

#[test]
fn what_is_read_from_memory_is_what_is_read() {
    let (_root, directory, name) = fixture();
    let possible = possible(&directory);
    for operation in reads(&name) {
        let expected = carry_out(&directory, &operation);
        let found = directory.from_memory(|directory| carry_out(directory, &operation));
        match found {
            Some(found) => assert_eq!(found, expected, "{operation:?}"),
            // A name that is missing need not be in the cache.
            None => assert!(!possible || expected.is_err(), "{operation:?}"),
        }
    }
}

/// How often the kernel is asked to forget pages, and how long to wait in between.
const FORGETS: usize = 50;
const FORGET_PAUSE: Duration = Duration::from_millis(10);

#[test]
fn bytes_that_are_not_in_memory_are_not_waited_for() {
    use rustix::fs::{Advice, fadvise};
    let (_root, directory, name) = fixture();
    let forgotten = |operation: &Operation| {
        for bytes in [&b"{}"[..], &[7; 5000]] {
            let file = File::open(directory.path(&Key::Blob(digest(bytes)))).unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
        directory.from_memory(|directory| carry_out(directory, operation))
    };
    for operation in reads(&name) {
        let expected = carry_out(&directory, &operation);
        let waits = expected.is_ok()
            && matches!(
                operation,
                Operation::Blob { content: true, .. } | Operation::Manifest { content: true, .. }
            );
        let mut found = forgotten(&operation);
        // Pages that another processor has just read stay for a moment.
        for _ in 0..FORGETS {
            if waits && found.is_some() {
                sleep(FORGET_PAUSE);
                found = forgotten(&operation);
            }
        }
        if waits {
            assert_eq!(found, None, "{operation:?}");
        } else {
            assert!(found.is_none_or(|found| found == expected), "{operation:?}");
        }
        assert_eq!(carry_out(&directory, &operation), expected);
    }
}

/// Threads that read one file at once get the bytes they ask for, and fewer at its end.
#[test]
fn threads_share_a_file() {
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..251).cycle().take(10_000).collect();
    file.write_all(&bytes).unwrap();
    scope(|threads| {
        for thread in 0..4 {
            let (file, bytes) = (&file, &bytes);
            threads.spawn(move || {
                for turn in 0..5000 {
                    let start = (thread * 2503 + turn * 7) % bytes.len();
                    let end = bytes.len().min(start + 100);
                    let read = read_at(file, start as u64, 100).unwrap();
                    assert!(read == bytes[start..end], "{start}: {read:?}");
                }
            });
        }
    });
}

/// Nothing is written, listed, synced or waited for.
#[test]
fn what_does_not_only_read_is_not_done() {
    let (root, directory, name) = fixture();
    let before = found_below(root.path());
    let key = Key::Tag(name.clone(), Tag::parse("v1").unwrap());
    let session = UploadSession::from_random(name.clone(), [1; 16]);
    for operation in [
        Operation::Link { key: key.clone(), digest: digest(b"x"), media_type: None },
        Operation::Remove(key.clone()),
        Operation::Unlink { key: key.clone(), digest: digest(b"{}") },
        Operation::Begin(session),
        Operation::Tidy(name.clone()),
        Operation::Hints { digest: digest(&[7; 5000]), limit: 9 },
    ] {
        let found = directory.from_memory(|directory| carry_out(directory, &operation));
        assert_eq!(found, None, "{operation:?}");
    }
    assert_eq!(found_below(root.path()), before);
    // What another request is about to sync.
    let path = directory.path(&key);
    let _syncing = directory.unsynced.begin(&path);
    let exists = Operation::Exists(key.clone());
    assert!(directory.from_memory(|directory| carry_out(directory, &exists)).is_none());
    // A pipe, which to open waits for a writer.
    fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let read = Operation::Read(key);
    assert!(directory.from_memory(|directory| carry_out(directory, &read)).is_none());
}

fn found_below(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(found_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn long_reads_are_left_to_other_threads() {
    let (_root, directory, name) = fixture();
    let possible = possible(&directory);
    for (length, at_once) in [(READ_LIMIT, true), (READ_LIMIT + 1, false)] {
        let bytes = vec![1; length];
        let digest = digest(&bytes);
        directory.write(&Key::Blob(digest.clone()), &bytes).unwrap();
        directory.link(&Key::Layer(name.clone(), digest.clone()), &digest, None).unwrap();
        let (repository, range) = (name.clone(), None);
        let operation = Operation::Blob { repository, digest, range, content: true };
        let found = directory.from_memory(|directory| carry_out(directory, &operation));
        assert_eq!(found.is_some(), at_once && possible, "{length}");
    }
}

/// As while a file system is not mounted.
#[test]
fn nothing_is_read_of_a_root_that_is_another() {
    let (root, directory, name) = fixture();
    let tag = Operation::Read(Key::Tag(name, Tag::parse("v1").unwrap()));
    let (place, other) = (root.path().join("docker"), root.path().join("other"));
    fs::rename(&place, &other).unwrap();
    let found = directory.from_memory(|directory| carry_out(directory, &tag));
    assert!(found.is_none_or(|found| found == Err(StorageError::NotFound)));
    fs::rename(&other, &place).unwrap();
    let inode = number(&fs::metadata(root.path()).unwrap());
    let read = || carry_out(&directory, &tag);
    assert!(only(root.path(), (inode.0, inode.1 + 1), read).is_none());
    assert!(only(root.path(), (inode.0 + 1, inode.1), read).is_none());
    assert!(only(&other, inode, read).is_none());
}

/// Links may lead to the disk of another machine.
#[test]
fn no_mount_point_is_crossed() {
    let (root, directory, _) = fixture();
    let leads = root.path().join("proc");
    std::os::unix::fs::symlink("/proc", &leads).unwrap();
    let found = directory.from_memory(|_| super::metadata(&leads).map(drop));
    assert!(found.is_none());
}

#[test]
fn a_panic_ends_it() {
    let (_root, directory, _) = fixture();
    let work = || directory.from_memory(|_| panic!("on purpose"));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    assert!(ended.is_err() || !possible(&directory));
    assert!(!only_memory());
}
