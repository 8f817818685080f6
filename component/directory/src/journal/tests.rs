use super::format::{Record, header, modified, now};
use super::recovery::{boot_id, is_pending, recover};
use super::{AGE, CONTENT_LIMIT, DIRECTORY, Journal, Keeping, SEGMENT_LIMIT};
use crate::files::testing::watch;
use crate::tidy::kept;
use crate::{Directory, Options, PRIVATE, Recovered};
use roadstead_oci::{Algorithm, Digest, RepositoryName, Tag};
use roadstead_storage::{Key, StorageError};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// How long the journal's thread may take.
const LIMIT: Duration = Duration::from_secs(30);

struct Fixture {
    root: tempfile::TempDir,
    journal: Option<Journal>,
}

impl Fixture {
    fn new(keeping: Keeping) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(PRIVATE)).unwrap();
        let journal = Some(Journal::open(root.path(), keeping, |_| ()).unwrap());
        Self { root, journal }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn put(&self, name: &str, content: &[u8]) {
        let (path, temporary) =
            (self.path(name), self.path(&format!("{:?}", thread::current().id())));
        fs::write(&temporary, content).unwrap();
        let time = modified(&temporary.metadata().unwrap());
        let _guard = self.journal().record(&[(&path, Record::Put(content, time))]).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    fn remove(&self, name: &str) {
        let path = self.path(name);
        let since = modified(&path.metadata().unwrap()).max(now());
        let _guard = self.journal().record(&[(&path, Record::Gone(since))]).unwrap();
        fs::remove_file(&path).unwrap();
    }

    fn segments(&self) -> Vec<PathBuf> {
        let directory = self.root.path().join(PRIVATE).join(DIRECTORY);
        let entries = fs::read_dir(directory).map(Iterator::collect::<io::Result<Vec<_>>>);
        let mut segments: Vec<_> =
            entries.unwrap_or(Ok(Vec::new())).unwrap().iter().map(fs::DirEntry::path).collect();
        segments.sort();
        segments
    }

    /// As after a loss of power: the process is gone, its journal is there, and the kernel
    /// is another one.
    fn lose_power(&mut self) {
        let segments: Vec<_> =
            self.segments().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
        drop(self.journal.take());
        let current = boot_id().unwrap();
        let other = current.replace(|digit: char| digit.is_ascii_hexdigit(), "0");
        for (mut bytes, path) in segments {
            assert!(bytes.starts_with(header(&current).as_bytes()));
            bytes[..header(&other).len()].copy_from_slice(header(&other).as_bytes());
            fs::write(path, bytes).unwrap();
        }
    }

    fn recover(&self) -> Recovered {
        let recovered = recover(self.root.path()).unwrap();
        assert_eq!(self.segments(), Vec::<PathBuf>::new());
        assert_eq!(recover(self.root.path()).unwrap(), Recovered::default());
        recovered
    }

    /// Whether a condition is met within the limit.
    fn until(&self, condition: impl Fn(&Self) -> bool) -> bool {
        let started = Instant::now();
        while started.elapsed() < LIMIT {
            if condition(self) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

#[test]
fn what_was_lost_is_put_back() {
    let mut f = Fixture::new(Keeping::default());
    for (name, content) in [("kept", "1"), ("lost", "2"), ("torn", "3333"), ("moved", "old")] {
        f.put(name, content.as_bytes());
    }
    f.put("moved", b"new");
    f.put("deleted", b"5");
    f.remove("deleted");
    f.lose_power();
    fs::remove_file(f.path("lost")).unwrap();
    fs::write(f.path("torn"), "").unwrap();
    assert_eq!(f.recover(), Recovered { recorded: 5, restored: 2, removed: 0 });
    for (name, content) in [("kept", "1"), ("lost", "2"), ("torn", "3333"), ("moved", "new")] {
        assert_eq!(fs::read_to_string(f.path(name)).unwrap(), content, "{name}");
    }
    assert!(!f.path("deleted").exists());
}

/// What was not made is made by the recovery: it may have been acknowledged.
#[test]
fn what_is_recorded_is_durable_before_it_is_made() {
    let mut f = Fixture::new(Keeping::default());
    f.put("tag", b"old");
    let changes = [(f.path("tag"), &b"new"[..]), (f.path("other"), b"x")];
    let later = now() + 1_000_000_000;
    let changes: Vec<_> = changes
        .iter()
        .map(|(path, content)| (path.as_path(), Record::Put(content, later)))
        .collect();
    drop(f.journal().record(&changes).unwrap());
    f.lose_power();
    assert_eq!(f.recover(), Recovered { recorded: 2, restored: 2, removed: 0 });
    assert_eq!(fs::read(f.path("tag")).unwrap(), b"new");
}

/// A file that was removed and is there again after a loss of power is removed again.
#[test]
fn what_was_removed_stays_away() {
    let mut f = Fixture::new(Keeping::default());
    f.put("a", b"1");
    fs::hard_link(f.path("a"), f.path("survivor")).unwrap();
    f.remove("a");
    f.lose_power();
    fs::rename(f.path("survivor"), f.path("a")).unwrap();
    assert_eq!(f.recover(), Recovered { recorded: 1, restored: 0, removed: 1 });
    assert!(!f.path("a").exists());
}

/// Neither a new owner nor a new mode is a change by somebody else.
#[test]
fn modes_do_not_matter() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut f = Fixture::new(Keeping::default());
    f.put("tag", b"old");
    fs::hard_link(f.path("tag"), f.path("survivor")).unwrap();
    thread::sleep(Duration::from_millis(50));
    f.put("tag", b"new");
    f.lose_power();
    fs::rename(f.path("survivor"), f.path("tag")).unwrap();
    thread::sleep(Duration::from_millis(50));
    fs::set_permissions(f.path("tag"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(f.recover().restored, 1);
    assert_eq!(fs::read(f.path("tag")).unwrap(), b"new");
}

/// A repository of distribution's has these, or its collector takes the manifests away.
#[test]
fn what_a_repository_keeps_is_made_again() {
    let mut f = Fixture::new(Keeping::default());
    let name = RepositoryName::parse("a").unwrap();
    let digest = Digest::from_bytes(Algorithm::Sha256, &[1; 32]).unwrap();
    let link = Key::Revision(name.clone(), digest).to_string();
    let link = link.as_str();
    fs::create_dir_all(f.path(link).parent().unwrap()).unwrap();
    f.put(link, b"digest");
    f.lose_power();
    fs::remove_dir_all(f.path("docker")).unwrap();
    assert_eq!(f.recover().restored, 1);
    for kept in kept(f.root.path(), &name) {
        assert!(kept.is_dir(), "{}", kept.display());
    }
}

/// Other processes write the same files, without this journal.
#[test]
fn what_others_wrote_later_stays() {
    let mut f = Fixture::new(Keeping::default());
    f.put("tag", b"old");
    f.put("gone", b"old");
    f.remove("gone");
    f.lose_power();
    thread::sleep(Duration::from_millis(50));
    fs::write(f.path("tag"), "theirs").unwrap();
    fs::write(f.path("gone"), "theirs").unwrap();
    assert_eq!(f.recover(), Recovered { recorded: 2, restored: 0, removed: 0 });
    assert_eq!(fs::read(f.path("tag")).unwrap(), b"theirs");
    assert_eq!(fs::read(f.path("gone")).unwrap(), b"theirs");
}

/// Without a loss of power, what is missing was removed by somebody.
#[test]
fn a_process_that_died_left_everything_in_place() {
    let f = Fixture::new(Keeping::default());
    f.put("a", b"1");
    f.put("b", b"2");
    let segments: Vec<_> =
        f.segments().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    drop(f.journal);
    for (bytes, path) in segments {
        fs::write(path, bytes).unwrap();
    }
    let f = Fixture { root: f.root, journal: None };
    fs::remove_file(f.path("a")).unwrap();
    assert_eq!(f.recover(), Recovered::default());
    assert!(!f.path("a").exists());
}

/// A blob has one content only: one that is damaged is written again, whoever changed it.
#[test]
fn damaged_blobs_are_written_again() {
    let mut f = Fixture::new(Keeping::default());
    let blob = blob(1).to_string();
    fs::create_dir_all(f.path(&blob).parent().unwrap()).unwrap();
    f.put(&blob, b"content");
    f.lose_power();
    thread::sleep(Duration::from_millis(50));
    fs::write(f.path(&blob), "cont").unwrap();
    assert_eq!(f.recover().restored, 1);
    assert_eq!(fs::read(f.path(&blob)).unwrap(), b"content");
}

#[test]
fn the_order_of_changes_is_that_of_their_records() {
    let mut f = Fixture::new(Keeping::default());
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (f, start) = (&f, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..200 {
                    f.put("tag", &[thread]);
                }
            });
        }
    });
    let last = fs::read(f.path("tag")).unwrap();
    f.lose_power();
    fs::remove_file(f.path("tag")).unwrap();
    assert_eq!(f.recover().restored, 1);
    assert_eq!(fs::read(f.path("tag")).unwrap(), last);
}

#[test]
fn an_old_segment_is_retired() {
    assert_eq!(Keeping::default().age, AGE);
    let f = Fixture::new(Keeping { age: Duration::from_millis(50), ..Keeping::default() });
    f.put("a", b"1");
    assert!(f.until(|f| f.segments().is_empty()));
    f.put("a", b"2");
    assert!(f.until(|f| f.segments().is_empty()));
    assert_eq!(fs::read(f.path("a")).unwrap(), b"2");
}

#[test]
fn a_long_segment_is_retired() {
    assert_eq!(Keeping::default().bytes, SEGMENT_LIMIT);
    let f = Fixture::new(Keeping { bytes: 10_000, ..Keeping::default() });
    for number in 0..200 {
        f.put(&format!("{number}"), &[7; 1000]);
        let held: u64 =
            f.segments().iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum();
        assert!(held < 2 * 12_000, "{held}");
    }
    let full =
        |f: &Fixture| f.segments().iter().any(|it| it.metadata().is_ok_and(|m| m.len() > 10_000));
    assert!(f.until(|f| !full(f)));
}

/// Somebody removes the journal while it is used.
#[test]
fn a_journal_that_is_removed_is_made_again() {
    let mut f = Fixture::new(Keeping::default());
    f.put("a", b"1");
    fs::remove_dir_all(f.root.path().join(PRIVATE)).unwrap();
    fs::create_dir(f.root.path().join(PRIVATE)).unwrap();
    let path = f.path("b");
    let record = || f.journal().record(&[(&path, Record::Put(b"2", 0))]).map(drop);
    assert!(record().unwrap_err().to_string().contains("removed"));
    f.put("c", b"3");
    assert_eq!(f.segments().len(), 1);
    f.lose_power();
    fs::remove_file(f.path("c")).unwrap();
    assert_eq!(f.recover(), Recovered { recorded: 1, restored: 1, removed: 0 });
}

/// What the kernel shows may not be what the disk has, so all of it is written again.
#[test]
fn nothing_is_relied_on_after_the_disk_lost_writes() {
    let f = Fixture::new(Keeping::default());
    f.put("a", b"1");
    f.put("b", b"2");
    let shared = Arc::clone(&f.journal().shared);
    shared.poison(&mut shared.lock(), &io::Error::from_raw_os_error(5));
    let path = f.path("c");
    let error = f.journal().record(&[(&path, Record::Put(b"3", 0))]).unwrap_err();
    assert!(error.to_string().contains("restart"), "{error}");
    assert!(matches!(StorageError::of_file_system(&error), StorageError::Unavailable(_)));
    let Fixture { root, journal } = f;
    drop(journal);
    let f = Fixture { root, journal: None };
    assert!(is_pending(f.root.path()).unwrap());
    fs::remove_file(f.path("b")).unwrap();
    assert_eq!(f.recover(), Recovered { recorded: 2, restored: 2, removed: 0 });
    assert!(!is_pending(f.root.path()).unwrap());
    assert_eq!(fs::read(f.path("b")).unwrap(), b"2");
}

/// A request fails whose record cannot be written, and the next one succeeds.
#[test]
fn an_error_of_one_write_passes() {
    let f = Fixture::new(Keeping::default());
    let in_the_way = f.root.path().join(PRIVATE).join(DIRECTORY);
    fs::write(&in_the_way, "").unwrap();
    let path = f.path("a");
    f.journal().record(&[(&path, Record::Put(b"1", 0))]).map(drop).unwrap_err();
    assert!(!path.exists());
    fs::remove_file(&in_the_way).unwrap();
    f.put("a", b"2");
    assert_eq!(f.segments().len(), 1);
}

/// A segment is retired when all that it records is in place.
#[test]
fn a_segment_waits_for_its_changes() {
    let f = Fixture::new(Keeping { age: Duration::from_millis(20), ..Keeping::default() });
    let path = f.path("a");
    let guard = f.journal().record(&[(&path, Record::Put(b"1", 0))]).unwrap();
    // The next records are in another segment, beside the one that cannot go.
    assert!(f.until(|f| {
        f.put("b", b"2");
        f.segments().len() == 2
    }));
    drop(guard);
    assert!(f.until(|f| f.segments().is_empty()));
}

/// Counts the syncs of a directory during `work`.
fn syncs(root: &Path, work: impl FnOnce()) -> usize {
    let syncs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&syncs);
    let watch = watch(root, move |operation, _| {
        seen.fetch_add(usize::from(operation == "sync"), Ordering::Relaxed);
        Ok(())
    });
    work();
    drop(watch);
    syncs.load(Ordering::Relaxed)
}

fn journaled(root: &Path) -> Directory {
    let options = Options { journal: true, ..Options::default() };
    let directory = Directory::open_with(root, options).unwrap();
    assert!(directory.has_journal());
    directory
}

fn blob(byte: u8) -> Key {
    Key::Blob(Digest::from_bytes(Algorithm::Sha256, &[byte; 32]).unwrap())
}

#[test]
fn long_content_is_synced_in_place() {
    let root = tempfile::tempdir().unwrap();
    let directory = journaled(root.path());
    for (length, is_synced) in [(CONTENT_LIMIT, false), (CONTENT_LIMIT + 1, true)] {
        let key = blob(u8::from(is_synced));
        let write = || directory.write(&key, &vec![7; length]).unwrap();
        assert_eq!(syncs(root.path(), write) > 0, is_synced, "{length}");
    }
}

#[test]
fn all_links_of_a_tag_are_recorded() {
    let root = tempfile::tempdir().unwrap();
    let directory = journaled(root.path());
    let (name, tag) = (RepositoryName::parse("r").unwrap(), Tag::parse("t").unwrap());
    let digest = Digest::from_bytes(Algorithm::Sha256, &[1; 32]).unwrap();
    let link = || directory.link_tag(&name, &tag, &digest).unwrap();
    assert_eq!(syncs(root.path(), link), 0);
    for key in [Key::Tag(name.clone(), tag.clone()), Key::TagHistory(name, tag, digest.clone())] {
        assert!(directory.leads_to(&key, &digest).unwrap(), "{key}");
    }
    assert_eq!(fs::read_dir(directory.temporary_directory()).unwrap().count(), 0);
}

/// As without a journal, a session that another request has removed does not exist.
#[test]
fn a_session_that_is_gone_is_not_committed() {
    let root = tempfile::tempdir().unwrap();
    let directory = journaled(root.path());
    let (missing, blob) = (root.path().join("missing"), blob(1));
    let published = directory.publish_recorded(&[(&missing, &blob, b"x")]);
    assert_eq!(published, Err(StorageError::NotFound));
    assert!(!directory.path(&blob).parent().unwrap().exists());
}

/// The journal's file system says nothing of another one, to which a symbolic link leads.
#[test]
fn on_another_file_system_deletions_are_synced_in_place() {
    let (root, memory) = (tempfile::tempdir().unwrap(), Path::new("/dev/shm"));
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    if device(memory).is_none() || device(memory) == device(root.path()) {
        return;
    }
    let elsewhere = tempfile::tempdir_in(memory).unwrap();
    let directory = journaled(root.path());
    directory.write(&blob(1), b"x").unwrap();
    directory.write(&blob(2), b"x").unwrap();
    assert_eq!(syncs(root.path(), || directory.remove(&blob(1)).unwrap()), 0);
    let data = directory.path(&blob(2));
    let parent = data.parent().unwrap();
    fs::rename(&data, elsewhere.path().join("data")).unwrap_err();
    fs::copy(&data, elsewhere.path().join("data")).unwrap();
    fs::remove_dir_all(parent).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), parent).unwrap();
    assert!(syncs(root.path(), || directory.remove(&blob(2)).unwrap()) > 0);
}

/// Another process may own a directory that this one can only read or share.
#[test]
fn only_the_owner_has_a_journal() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { journal: true, ..Options::default() };
    let owner = Directory::open_with(root.path(), options).unwrap();
    assert!(owner.has_journal());
    assert!(!Directory::open_with(root.path(), options).unwrap().has_journal());
    drop(owner);
    assert!(Directory::open_with(root.path(), options).unwrap().has_journal());
    let reads = Options { read_only: true, ..options };
    assert!(!Directory::open_with(root.path(), reads).unwrap().has_journal());
}

/// A segment that power cut off before its header was durable holds nothing.
#[test]
fn what_is_no_segment_is_removed() {
    let f = Fixture::new(Keeping::default());
    let directory = f.root.path().join(PRIVATE).join(DIRECTORY);
    fs::create_dir(&directory).unwrap();
    for (name, content) in [("00000000000000000001", &b""[..]), ("00000000000000000002", b"road")] {
        fs::write(directory.join(name), content).unwrap();
    }
    assert_eq!(f.recover(), Recovered::default());
}

/// What only the journal has gets another record; what is durable in place does not.
#[test]
fn what_is_in_place_is_not_recorded_again() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { journal: true, ..Options::default() };
    let mut directory = Directory::open_with(root.path(), options).unwrap();
    let key = Key::Tag(RepositoryName::parse("a").unwrap(), Tag::parse("v1").unwrap());
    let write = |directory: &Directory| {
        directory.write(&key, b"value").unwrap();
        fs::metadata(directory.path(&key)).unwrap().ino()
    };
    let keeping = Keeping { age: Duration::from_hours(1), ..Keeping::default() };
    directory.journal = Some(Journal::open(root.path(), keeping, |_| ()).unwrap());
    let segment = || {
        let mut all = fs::read_dir(root.path().join(PRIVATE).join(DIRECTORY)).unwrap();
        all.next().unwrap().unwrap().metadata().unwrap().len()
    };
    let (first, length) = (write(&directory), segment());
    assert_eq!(write(&directory), first);
    let recorded = segment();
    assert!(recorded > length);
    // Another process replaces the file after its content was compared.
    let path = directory.path(&key);
    let replaced = path.clone();
    let replacing = watch(root.path(), move |operation, at| {
        if operation == "read" && at == replaced {
            fs::remove_file(at).unwrap();
            fs::write(at, "other").unwrap();
        }
        Ok(())
    });
    assert_ne!(write(&directory), first);
    drop(replacing);
    assert_eq!(directory.value(&key).unwrap(), b"value");
    assert!(segment() > recorded);
    // Each record fills a segment.
    let keeping = Keeping { bytes: 1, ..keeping };
    directory.journal = Some(Journal::open(root.path(), keeping, |_| ()).unwrap());
    let first = write(&directory);
    let segments = || fs::read_dir(root.path().join(PRIVATE).join(DIRECTORY)).unwrap().count();
    let started = Instant::now();
    while !directory.journal.as_ref().unwrap().has_retired(0) {
        assert!(started.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(write(&directory), first);
    assert_eq!(segments(), 0);
    // A change that fails leaves its record, which a later one must follow.
    let fails = watch(root.path(), |operation, _| match operation {
        "rename to" => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    directory.write(&key, b"other").unwrap_err();
    drop(fails);
    assert_ne!(write(&directory), first);
    // As does a deletion.
    let found = fs::metadata(directory.path(&key)).unwrap();
    directory.remove(&key).unwrap();
    assert!(!directory.durable.knows(&found));
}

/// The new time of a file may survive a loss of power without its content.
#[test]
fn a_renewed_file_that_lost_its_content_is_put_back() {
    let mut f = Fixture::new(Keeping::default());
    let mut directory = Directory::open(f.root.path()).unwrap();
    directory.journal = f.journal.take();
    let key = Key::Tag(RepositoryName::parse("a").unwrap(), Tag::parse("v1").unwrap());
    let path = directory.path(&key);
    directory.write(&key, b"value").unwrap();
    let first = path.metadata().unwrap();
    while now() <= modified(&first) {}
    directory.write(&key, b"value").unwrap();
    let renewed = path.metadata().unwrap();
    assert_eq!(renewed.ino(), first.ino());
    assert!(modified(&renewed) > modified(&first));
    f.journal = directory.journal.take();
    f.lose_power();
    fs::write(&path, "torn").unwrap();
    let torn = fs::File::options().write(true).open(&path).unwrap();
    torn.set_modified(renewed.modified().unwrap()).unwrap();
    assert_eq!(f.recover().restored, 1);
    assert_eq!(fs::read(&path).unwrap(), b"value");
}
