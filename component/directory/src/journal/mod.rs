//! A journal: small changes of many requests become durable together.
//!
//! By itself, each change of a directory syncs a file and the directories that lead to it.
//! With a journal, the change is made in place at once, where every reader sees it, and is
//! not synced there: a record of it is appended to one file, and one `fdatasync` makes the
//! records of all requests durable that wait at that moment. A lone request waits for none.
//! From time to time a thread has the file system write everything back (`syncfs`), and
//! removes the records before that: after [`AGE`], or [`SEGMENT_LIMIT`] bytes.
//!
//! What a loss of power takes away is put back from the records by the next process that
//! owns the directory; see [`recovery`]. Only the owner has a journal (`lock::own`), so there
//! is never more than one. What other processes do to the same files meanwhile is told by
//! the files' times.
//!
//! # Errors
//! A record that cannot be appended, as on a full disk, costs time and nothing else: the
//! change is in place, and `syncfs` makes it durable there. If that fails too, nothing that
//! was written since can be relied on: every later change is refused until a restart, whose
//! recovery begins from what the journal holds.

mod format;
mod recovery;

pub(crate) use format::Record;
pub use recovery::Recovered;
pub(crate) use recovery::recover;

use crate::PRIVATE;
use format::Entry;
use roadstead_storage::StorageError;
use rustix::fs::{fstatfs, syncfs};
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
/// Limit: changes at once beside the journal; test: none, others wait for microseconds.
const STRIPES: usize = 64;

/// The file systems whose `syncfs` says when everything is on disk, by the numbers of
/// statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, overlayfs, and tmpfs, which loses all.
const FILE_SYSTEMS: [u32; 6] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x794C_7630, 0x0102_1994];

/// The directory of the segments, below [`PRIVATE`].
const DIRECTORY: &str = "journal";

/// Whether a record can have so many bytes of content.
pub(crate) fn fits(length: u64) -> bool {
    length <= CONTENT_LIMIT as u64
}

/// How a journal is kept; tests have it shorter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    age: Duration,
    bytes: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { age: AGE, bytes: SEGMENT_LIMIT }
    }
}

/// A change that is in place; [`Journal::wait`] until it is durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket(u64);

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
    stripes: [Mutex<()>; STRIPES],
    hasher: RandomState,
    state: Mutex<State>,
    /// Notified when records are durable, and when a segment is retired.
    progress: Condvar,
    /// Notified when a segment has its first record, when it is full, and at the end.
    due: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// `None` after an error, until one can be made.
    segment: Option<Segment>,
    /// The number of the latest segment.
    number: u64,
    /// Records that are not written.
    pending: Vec<u8>,
    appended: u64,
    durable: u64,
    /// Someone writes records, or changes the segment.
    busy: bool,
    /// Why nothing can be relied on any more.
    broken: Option<String>,
    ended: bool,
}

/// A file of records.
#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    path: PathBuf,
    length: u64,
    since: Instant,
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
        Ok(Self { file: Arc::new(file), path, length: header.len() as u64, since: Instant::now() })
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Appends records durably. A file that someone has removed holds nothing.
fn append(file: &File, records: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(records, at)?;
    file.sync_data()?;
    if file.metadata()?.nlink() == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the journal was removed"));
    }
    Ok(())
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
    if !is_known || recovery::boot_id().is_err() {
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
            stripes: std::array::from_fn(|_| Mutex::default()),
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

    /// Makes a change of the file or directory `path` below the root, which says whether it
    /// changed something, and records it. No other change of `path` comes between.
    ///
    /// # Errors
    /// Those of `change`, and [`io::ErrorKind::Other`] after an error that broke the journal.
    pub(crate) fn change(
        &self,
        path: &Path,
        record: Record<'_>,
        change: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<Option<Ticket>> {
        let shared = &*self.shared;
        let relative = path.strip_prefix(&shared.root).map_err(io::Error::other)?;
        let entry = Entry::new(relative, record)?;
        let stripe = shared.hasher.hash_one(path) % STRIPES as u64;
        let stripe = usize::try_from(stripe).map_err(io::Error::other)?;
        let _one = shared.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner);
        shared.intact(&shared.lock())?;
        if !change()? {
            return Ok(None);
        }
        let entry = entry.at(format::time_of(path, record));
        let mut state = shared.lock();
        entry.append_to(&mut state.pending);
        state.appended += 1;
        Ok(Some(Ticket(state.appended)))
    }

    /// Waits until a change is durable.
    pub(crate) fn wait(&self, ticket: Ticket) -> Result<(), StorageError> {
        self.shared.wait(ticket).map_err(crate::entries::failed)
    }

    /// Waits until all changes are durable that were made.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let latest = Ticket(self.shared.lock().appended);
        self.shared.wait(latest)
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

    fn intact(&self, state: &State) -> io::Result<()> {
        match &state.broken {
            Some(cause) => Err(io::Error::other(format!(
                "{}: the disk lost writes ({cause}); check it, then restart the registry",
                self.root.display()
            ))),
            None => Ok(()),
        }
    }

    fn wait(&self, ticket: Ticket) -> io::Result<()> {
        let mut state = self.lock();
        while state.durable < ticket.0 {
            self.intact(&state)?;
            let is_full = state.segment.as_ref().is_some_and(|it| it.length > self.keeping.bytes);
            // A full segment is taken away by the thread, as soon as the one before is retired.
            if state.busy || is_full {
                state = self.pause(state);
                continue;
            }
            // For all that wait.
            state.busy = true;
            let (records, latest) = (std::mem::take(&mut state.pending), state.appended);
            let segment = state.segment.take();
            let is_first = segment.is_none();
            let number = state.number + 1;
            drop(state);
            let written = self.write(segment, number, &records);
            state = self.lock();
            state.busy = false;
            match written {
                Ok(segment) => {
                    let length = segment.as_ref().map_or(0, |segment| segment.length);
                    if is_first || length > self.keeping.bytes {
                        self.due.notify_all();
                    }
                    state.number = number;
                    state.segment = segment;
                    state.durable = latest;
                }
                Err(error) => state.broken = Some(error.to_string()),
            }
            self.progress.notify_all();
        }
        Ok(())
    }

    /// Makes changes durable: by their records, or else in place.
    fn write(
        &self,
        segment: Option<Segment>,
        number: u64,
        records: &[u8],
    ) -> io::Result<Option<Segment>> {
        let appended = segment.map_or_else(|| Segment::create(&self.directory(), number), Ok);
        let appended = appended.and_then(|mut segment| {
            append(&segment.file, records, segment.length)?;
            segment.length += records.len() as u64;
            Ok(segment)
        });
        match appended {
            Ok(segment) => Ok(Some(segment)),
            Err(error) => {
                (self.log)(&format!(
                    "the journal cannot be written, so that pushes take longer: {error}"
                ));
                syncfs(&self.file_system)?;
                recovery::remove_segments(&self.directory())?;
                Ok(None)
            }
        }
    }

    /// Retires segments until the end.
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
                state = self.retire(state);
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
    fn retire<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(segment) = state.segment.take() else { return state };
        if state.broken.is_some() {
            return state;
        }
        drop(state);
        // Waiting requests make the next segment.
        self.progress.notify_all();
        let retired = syncfs(&self.file_system)
            .map_err(io::Error::from)
            .and_then(|()| recovery::remove_segment(&segment.path));
        let mut state = self.lock();
        if let Err(error) = retired {
            state.broken = Some(error.to_string());
            (self.log)(&format!("the journal's changes cannot be made durable: {error}"));
        }
        self.progress.notify_all();
        state
    }
}

#[cfg(test)]
mod tests;
