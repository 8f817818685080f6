//! A journal: small changes of many requests become durable together.
//!
//! By itself, each change of a directory syncs a file and the directories that lead to it.
//! With a journal, a record of the change is appended to one file first, and one `fdatasync`
//! makes the records of all requests durable that wait at that moment; a lone request waits
//! for none. Then the change is made in place, without a sync. What is durable in place already
//! gets no record. So what is seen is durable,
//! and what replaces something is never less durable than what it replaces. From time to
//! time a thread has the file system write everything back (`syncfs`), and removes the
//! records before that: after [`AGE`], or [`SEGMENT_LIMIT`] bytes.
//!
//! What a loss of power takes away is put back from the records by the next process that
//! owns the directory; see [`recovery`]. Only the owner has a journal (`lock::own`), so there
//! is never more than one.
//!
//! # Errors
//! A record that cannot be appended, as on a full disk, fails its request. If the file system
//! cannot write back, nothing that was written since can be relied on: every later change is
//! refused until a restart, whose recovery writes again all that the journal holds.

mod format;
mod recovery;

pub(crate) use format::{Record, modified, now};
pub(crate) use recovery::{is_pending, recover};

use crate::PRIVATE;
use format::Entry;
use rustix::fs::{fstatfs, syncfs};
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The largest content that a record has, in bytes. What is longer is synced in place: the
/// second write of it would take longer than the syncs.
///
/// Limit: bytes of content in the journal; test: `long_content_is_synced_in_place`.
const CONTENT_LIMIT: usize = 512 * 1024;

/// How many bytes of records there are before the changes are made durable in place. There
/// are at most twice as many, and what is appended at once.
///
/// Limit: bytes of a segment of the journal; test: `a_long_segment_is_retired`.
const SEGMENT_LIMIT: u64 = 64 * 1024 * 1024;

/// How long records stay before the changes are made durable in place.
///
/// Limit: time for which the journal keeps records; test: `an_old_segment_is_retired`.
const AGE: Duration = Duration::from_secs(10);

/// How many changes of different files can be made at once; of the same file, one.
///
/// Limit: changes at once beside the journal; test: none, others wait for a sync.
const STRIPES: usize = 1024;

/// The file systems whose `syncfs` says when everything is on disk, by the numbers of
/// statfs(2): ext2 to ext4, XFS, Btrfs, F2FS; overlayfs, as far as the one below it does; and
/// tmpfs, which loses all.
pub(crate) const FILE_SYSTEMS: [u32; 6] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x794C_7630, 0x0102_1994];

/// The directory of the segments, below [`PRIVATE`].
const DIRECTORY: &str = "journal";

/// Whether a record can have so many bytes of content.
pub(crate) fn fits(length: u64) -> bool {
    length <= CONTENT_LIMIT as u64
}

/// How a journal is kept; tests have it shorter.
#[derive(Clone, Copy, Debug)]
struct Keeping {
    age: Duration,
    bytes: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { age: AGE, bytes: SEGMENT_LIMIT }
    }
}

/// The journal of a directory.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Open as long as the journal, so that it is told of all that could not be written.
    file_system: File,
    /// Its device: of other ones, `syncfs` says nothing.
    device: u64,
    keeping: Keeping,
    log: fn(&str),
    /// Of changes of one file, their order is that of their records.
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
    state: Mutex<State>,
    /// Notified when records are written, when a segment is taken away, and when changes are
    /// in place.
    progress: Condvar,
    /// Notified when there is a segment, when it is full, and at the end.
    due: Condvar,
}

#[derive(Debug, Default)]
struct State {
    segment: Option<Segment>,
    /// The number of the latest segment.
    number: u64,
    /// Records that are not written, and what becomes of them.
    pending: Vec<u8>,
    batch: Arc<Batch>,
    /// Someone writes records.
    busy: bool,
    /// How many changes are recorded and not yet in place, of this generation and of the one
    /// before: a checkpoint waits for those of its segment.
    in_progress: [u64; 2],
    /// How many checkpoints have begun.
    generation: usize,
    /// Checkpoints before this one have ended: their changes are durable in place.
    retired: usize,
    /// Why nothing can be relied on any more.
    poisoned: Option<String>,
    ended: bool,
}

/// Records that are written together.
#[derive(Debug, Default)]
struct Batch(OnceLock<Result<(), (io::ErrorKind, String)>>);

/// A file of records.
#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    length: u64,
    since: Instant,
}

/// Locks the files whose changes are recorded, until these are made.
#[derive(Debug)]
#[must_use = "the change is made while it is held"]
pub(crate) struct Guard<'a> {
    shared: &'a Shared,
    generation: usize,
    _stripes: Vec<MutexGuard<'a, ()>>,
}

impl Guard<'_> {
    /// The number of the checkpoint that makes the changes durable in place, for
    /// [`Journal::has_retired`].
    pub(crate) fn generation(&self) -> usize {
        self.generation
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.shared.lock().in_progress[self.generation % 2] -= 1;
        self.shared.progress.notify_all();
    }
}

impl Segment {
    /// Makes one, durably.
    fn create(directory: &Path, number: u64) -> io::Result<Self> {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // `PRIVATE` and the root: whoever has made these directories may not have synced them.
        directory.ancestors().skip(1).take(2).try_for_each(sync_directory)?;
        let path = directory.join(format!("{number:020}"));
        let file = File::create_new(&path)?;
        let header = format::header(&recovery::boot_id()?);
        let made = file
            .write_all_at(header.as_bytes(), 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_directory(directory));
        if let Err(error) = made {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { file, path, length: header.len() as u64, since: Instant::now() })
    }

    /// Makes it one without records, durably, wherever it is by now.
    fn remove(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()?;
        // One that stays holds nothing.
        let _ = fs::remove_file(&self.path);
        Ok(())
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Opens the journal of the directory `root`, which this process owns, and which was
/// recovered. `None` on a file system that is not known to write everything back when it is
/// told to.
///
/// # Errors
/// When the directory cannot be opened.
pub(crate) fn open(root: &Path, log: fn(&str)) -> io::Result<Option<Journal>> {
    // The type is a number of 32 bits in a field that is wider on most platforms.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as said")]
    let is_known = FILE_SYSTEMS.contains(&(fstatfs(File::open(root)?)?.f_type as u32));
    // Files are renamed from there.
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    let is_one = device(root)? == device(&root.join(PRIVATE))?;
    if !is_known || !is_one || recovery::boot_id().is_err() {
        log("changes become durable one by one: the journal needs ext4, XFS, Btrfs or F2FS");
        return Ok(None);
    }
    Journal::open(root, Keeping::default(), log).map(Some)
}

impl Journal {
    fn open(root: &Path, keeping: Keeping, log: fn(&str)) -> io::Result<Self> {
        let file_system = File::open(root)?;
        let device = file_system.metadata()?.dev();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            file_system,
            device,
            keeping,
            log,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            state: Mutex::default(),
            progress: Condvar::new(),
            due: Condvar::new(),
        });
        let work = Arc::clone(&shared);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || work.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether a path is on the root's file system: symbolic links may lead to others.
    pub(crate) fn covers(&self, path: &Path) -> bool {
        let found = path.ancestors().skip(1).find_map(|parent| fs::metadata(parent).ok());
        found.is_some_and(|parent| parent.dev() == self.shared.device)
    }

    /// Records changes of files below the root, durably and as one. They are to be made, in
    /// this order, before what it returns is dropped.
    ///
    /// # Errors
    /// When the records cannot be written: nothing is changed then.
    pub(crate) fn record(&self, changes: &[(&Path, Record<'_>)]) -> io::Result<Guard<'_>> {
        let shared = &*self.shared;
        let mut entries = Vec::with_capacity(changes.len());
        for (path, record) in changes {
            let relative = path.strip_prefix(&shared.root).map_err(io::Error::other)?;
            entries.push(Entry::new(relative, *record)?);
        }
        let mut stripes: Vec<_> = changes
            .iter()
            .map(|(path, _)| shared.hasher.hash_one(path) % shared.stripes.len() as u64)
            .filter_map(|stripe| usize::try_from(stripe).ok())
            .collect();
        // Always in this order, so that two do not wait for each other.
        stripes.sort_unstable();
        stripes.dedup();
        let stripes: Vec<_> = stripes
            .into_iter()
            .map(|stripe| shared.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let mut state = shared.lock();
        shared.intact(&state)?;
        for entry in entries {
            entry.append_to(&mut state.pending);
        }
        let (batch, generation) = (Arc::clone(&state.batch), state.generation);
        state.in_progress[generation % 2] += 1;
        // It counts as being made until it is dropped.
        let guard = Guard { shared, generation, _stripes: stripes };
        shared.wait(state, &batch)?;
        Ok(guard)
    }

    /// Whether the changes of a generation, see [`Guard::generation`], are durable in place.
    pub(crate) fn has_retired(&self, generation: usize) -> bool {
        let state = self.shared.lock();
        state.poisoned.is_none() && generation < state.retired
    }

    /// Refuses all changes from now on.
    pub(crate) fn abandon(&self, cause: &str) {
        self.shared.lock().poisoned.get_or_insert_with(|| cause.to_owned());
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.due.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left the numbers consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.progress.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self) -> PathBuf {
        self.root.join(PRIVATE).join(DIRECTORY)
    }

    /// An error of the device, if something was lost.
    fn intact(&self, state: &State) -> io::Result<()> {
        match &state.poisoned {
            Some(cause) => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!("{}: {cause}; check the disk and restart", self.root.display()),
            )),
            None => Ok(()),
        }
    }

    /// Says what is lost, here and to the next start.
    fn poison(&self, state: &mut State, error: &io::Error) {
        let cause = format!("writes were lost: {error}");
        (self.log)(&cause);
        recovery::mark(&self.directory());
        state.poisoned.get_or_insert(cause);
    }

    /// Waits until the records of a batch are durable.
    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>, batch: &Batch) -> io::Result<()> {
        loop {
            if let Some(result) = batch.0.get() {
                return result.clone().map_err(|(kind, cause)| io::Error::new(kind, cause));
            }
            self.intact(&state)?;
            let is_full = state.segment.as_ref().is_some_and(|it| it.length > self.keeping.bytes);
            // A full segment is taken away by the thread, as soon as the one before is retired.
            if state.busy || is_full {
                state = self.pause(state);
                continue;
            }
            // For all that wait.
            state.busy = true;
            let records = std::mem::take(&mut state.pending);
            let written = std::mem::take(&mut state.batch);
            let segment = state.segment.take();
            let is_first = segment.is_none();
            state.number += 1;
            let number = state.number;
            drop(state);
            let (segment, result) = self.write(segment, number, &records);
            state = self.lock();
            state.busy = false;
            let length = segment.as_ref().map_or(0, |segment| segment.length);
            if is_first || length > self.keeping.bytes {
                self.due.notify_all();
            }
            state.segment = segment;
            let result = result.map_err(|error| match error {
                Failure::Write(error) => (error.kind(), error.to_string()),
                Failure::Sync(error) => {
                    self.poison(&mut state, &error);
                    (error.kind(), error.to_string())
                }
            });
            let _ = written.0.set(result);
            self.progress.notify_all();
        }
    }

    /// Appends records to a segment, or to a new one.
    fn write(
        &self,
        segment: Option<Segment>,
        number: u64,
        records: &[u8],
    ) -> (Option<Segment>, Result<(), Failure>) {
        let made = segment.map_or_else(|| Segment::create(&self.directory(), number), Ok);
        let mut segment = match made {
            Ok(segment) => segment,
            Err(error) => return (None, Err(Failure::Write(error))),
        };
        if let Err(error) = segment.file.write_all_at(records, segment.length) {
            // What is written next begins there too.
            let _ = segment.file.set_len(segment.length);
            return (Some(segment), Err(Failure::Write(error)));
        }
        let synced = segment.file.sync_data().and_then(|()| segment.file.metadata());
        match synced {
            Err(error) => (Some(segment), Err(Failure::Sync(error))),
            // Someone has removed it, so that nobody would find these records.
            Ok(found) if found.nlink() == 0 => {
                let error = io::Error::other("the journal was removed while it was used");
                // Nor those before, whose changes are in place.
                let synced = syncfs(&self.file_system).map_err(io::Error::from);
                (None, Err(synced.map_or_else(Failure::Sync, |()| Failure::Write(error))))
            }
            Ok(_) => {
                segment.length += records.len() as u64;
                (Some(segment), Ok(()))
            }
        }
    }

    /// Makes checkpoints until the end.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            // Who writes has the segment.
            while state.busy {
                state = self.pause(state);
            }
            let due = state.segment.as_ref().map(|segment| {
                let rest = self.keeping.age.saturating_sub(segment.since.elapsed());
                if segment.length > self.keeping.bytes { Duration::ZERO } else { rest }
            });
            if state.ended || due == Some(Duration::ZERO) {
                let is_last = state.ended;
                state = self.checkpoint(state);
                if is_last {
                    return;
                }
                continue;
            }
            let wait = due.unwrap_or(self.keeping.age);
            let waited = self.due.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes durable in place what the segment records, and removes it. Records that are
    /// appended meanwhile go to another one.
    fn checkpoint<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.poisoned.is_some() {
            // What it holds is for the next start.
            state.segment = None;
            return state;
        }
        let Some(segment) = state.segment.take() else { return state };
        let generation = state.generation;
        state.generation += 1;
        // Waiting requests make the next segment.
        self.progress.notify_all();
        while state.in_progress[generation % 2] > 0 {
            state = self.pause(state);
        }
        drop(state);
        let retired = syncfs(&self.file_system).map_err(io::Error::from);
        let retired = retired.and_then(|()| segment.remove());
        let mut state = self.lock();
        match retired {
            Ok(()) => state.retired = generation + 1,
            Err(error) => self.poison(&mut state, &error),
        }
        self.progress.notify_all();
        state
    }
}

/// Why records are not durable.
enum Failure {
    /// They were not written, and nothing else happened.
    Write(io::Error),
    /// The disk may have lost what was written before.
    Sync(io::Error),
}

#[cfg(test)]
mod tests;
