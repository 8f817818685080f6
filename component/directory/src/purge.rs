//! Removes upload sessions that their clients have abandoned.

use crate::entries::{BATCH, EntryType, Position, batch, for_each};
use crate::enumeration::{SESSION_DEPTH, total};
use crate::lock::Lock;
use crate::{Directory, PRIVATE, files};
use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_oci::RepositoryName;
use roadstead_storage::{
    Collection, Holding, NameList, NamesQuery, PURGE_LEAST_AGE, PURGE_TIME, StorageError,
    UploadSession,
};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How many sessions are removed while a client waits.
///
/// Limit: sessions in a directory that one upload removes; test: `an_upload_removes_some_abandoned_ones`.
const PURGE_LIMIT: u64 = 32;

/// How many repositories an upload looks at whose turn it is in the walk over all.
///
/// Limit: repositories in a directory that one upload looks at; test:
/// `uploads_walk_over_other_repositories`.
const WALK_LIMIT: usize = 8;

/// The most bytes that are read of the file that says how far the walk over the
/// repositories is: more than the longest name makes.
///
/// Limit: bytes of the progress of purges in a directory; test: none, it is the
/// registry's own.
const PROGRESS_LIMIT: u64 = 1024;

/// What a purge has found and removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Upload sessions.
    pub sessions: u64,
    /// Bytes that they had received.
    pub bytes: u64,
    /// Temporary files of processes that died.
    pub temporary: u64,
}

/// What a purge does with which sessions.
struct Sweep<Report> {
    /// Those are removed to which nothing was added since.
    before: SystemTime,
    dry_run: bool,
    /// How many more it may remove or try to.
    left: u64,
    /// None is looked at any more after that time.
    until: Option<Instant>,
    /// How many could not be removed, and the first reason.
    failed: (u64, Option<StorageError>),
    report: Report,
}

impl<Report> Sweep<Report> {
    fn new(before: SystemTime, dry_run: bool, report: Report) -> Self {
        Self { before, dry_run, left: u64::MAX, until: None, failed: (0, None), report }
    }

    fn has_ended(&self) -> bool {
        self.left == 0 || self.until.is_some_and(|until| Instant::now() > until)
    }

    fn fail(&mut self, error: StorageError) {
        self.failed.0 += 1;
        self.failed.1.get_or_insert(error);
    }
}

impl Directory {
    /// Removes the upload sessions to which nothing was added for longer than
    /// `age`, by the newest of their files, and old temporary files. With
    /// `dry_run`, sessions are only counted. Each is reported, with its bytes. Does
    /// nothing while another process owns the sessions.
    ///
    /// # Errors
    /// When the directory cannot be read. What cannot be removed is logged, and so
    /// are repositories whose uploads cannot be read.
    pub fn purge(
        &self,
        age: Duration,
        dry_run: bool,
        report: impl FnMut(&UploadSession, u64),
    ) -> Result<Purged, StorageError> {
        self.writable()?;
        let mut purged = Purged::default();
        if !self.owns_sessions() && !self.claim_sessions()? {
            return Ok(purged);
        }
        let Some(before) = self.clock()?.checked_sub(age) else { return Ok(purged) };
        let mut sweep = Sweep::new(before, dry_run, report);
        let mut query = NamesQuery {
            list: NameList::Repositories(Holding::Anything),
            values: false,
            after: None,
            limit: LIST_LIMIT,
        };
        loop {
            let page = self.names(&query)?;
            for name in &page.names {
                let Ok(name) = RepositoryName::parse(name) else { continue };
                if let Err(error) = self.purge_repository(&name, &mut sweep, &mut purged) {
                    (self.log)(&format!("cannot remove abandoned uploads of {name}: {error}"));
                }
            }
            match page.names.into_iter().next_back() {
                Some(last) if page.more => query.after = Some(last),
                _ => break,
            }
        }
        if !dry_run {
            purged.temporary = self.sweep_temporary_files()?;
        }
        Ok(purged)
    }

    /// Removes some abandoned sessions beside one that has begun, if it is this session's
    /// turn ([`UploadSession::purges`]): for hosts that do nothing between requests. They are
    /// of the same repository or, by turns, of the next ones in a walk over all, which begins
    /// an `interval` after the last one has ended. They are at least an hour old, whatever
    /// `age` is. Does nothing if this process owns the sessions: [`Directory::purge`] removes
    /// them.
    ///
    /// # Errors
    /// When the sessions cannot be listed. What cannot be removed is logged, in one line for
    /// each repository.
    pub fn purge_beside(
        &self,
        session: &UploadSession,
        age: Duration,
        interval: Duration,
        dry_run: bool,
    ) -> Result<Purged, StorageError> {
        let mut purged = Purged::default();
        if !session.purges() || self.owns_sessions() {
            return Ok(purged);
        }
        self.writable()?;
        let now = self.clock()?;
        let Some(before) = now.checked_sub(age.max(PURGE_LEAST_AGE)) else {
            return Ok(purged);
        };
        let mut sweep = Sweep::new(before, dry_run, |_: &UploadSession, _| ());
        sweep.left = PURGE_LIMIT;
        let walk = walks(session).then(|| Walk::read(self, now, age, interval, dry_run)).flatten();
        if let Some(walk) = walk {
            self.walk_on(walk, session, &mut sweep, &mut purged)?;
        } else {
            let sessions = self.some_sessions(&session.repository, session)?;
            sweep.until = Some(Instant::now() + PURGE_TIME);
            self.purge_sessions(sessions, &mut sweep, &mut purged);
        }
        Ok(purged)
    }

    /// Looks at the next repositories of a walk, and notes how far that is.
    fn walk_on(
        &self,
        mut walk: Walk,
        beside: &UploadSession,
        sweep: &mut Sweep<impl FnMut(&UploadSession, u64)>,
        purged: &mut Purged,
    ) -> Result<(), StorageError> {
        let page = self.names(&NamesQuery {
            list: NameList::Repositories(Holding::Anything),
            values: false,
            after: Some(walk.after.clone()).filter(|after| !after.is_empty()),
            limit: WALK_LIMIT,
        })?;
        let mut ended = !page.more;
        // However long the list took, the first repository is looked at, so that the walk ends.
        sweep.until = Some(Instant::now() + PURGE_TIME);
        for text in page.names {
            if sweep.has_ended() {
                ended = false;
                break;
            }
            let removed = purged.sessions;
            if let Ok(name) = RepositoryName::parse(&text) {
                match self.some_sessions(&name, beside) {
                    Ok(sessions) => self.purge_sessions(sessions, sweep, purged),
                    Err(StorageError::NotFound) => {}
                    Err(error) => {
                        (self.log)(&format!("cannot remove abandoned uploads of {name}: {error}"));
                    }
                }
            }
            // There may be more in it; but what cannot be removed must not end the walk.
            if sweep.has_ended() && !sweep.dry_run && purged.sessions > removed {
                ended = false;
                break;
            }
            walk.after = text;
        }
        if let Err(error) = walk.write(self, ended) {
            (self.log)(&format!("cannot note how far the purge of uploads is: {error}"));
        }
        Ok(())
    }

    /// Up to two batches of the sessions of a repository. They begin anywhere, so that those
    /// that stay do not hide the others.
    fn some_sessions(
        &self,
        name: &RepositoryName,
        beside: &UploadSession,
    ) -> Result<Vec<UploadSession>, StorageError> {
        let uploads = self.root().join(Collection::Sessions(name.clone()).prefix());
        let read = |position| {
            batch(self.root(), &uploads, &position, |id, entry, take| {
                if entry == EntryType::Directory {
                    take(id.to_owned());
                }
            })
        };
        // The end of an identifier is as random as its beginning, by which it is this
        // session's turn.
        let start = beside.id.as_str().get(24..).unwrap_or_default();
        let mut ids = read(Position::From(start.to_owned()))?;
        if ids.len() < BATCH {
            let others = read(Position::After(String::new()))?;
            ids.extend(others.into_iter().take_while(|id| id.as_str() < start));
        }
        let parse = |id: &String| UploadSession::parse(name.clone(), id).ok();
        Ok(ids.iter().filter_map(parse).collect())
    }

    fn purge_repository(
        &self,
        name: &RepositoryName,
        sweep: &mut Sweep<impl FnMut(&UploadSession, u64)>,
        purged: &mut Purged,
    ) -> Result<(), StorageError> {
        let uploads = self.root().join(Collection::Sessions(name.clone()).prefix());
        let mut sessions = Vec::new();
        match for_each(self.root(), &uploads, |id, entry| {
            if entry == EntryType::Directory {
                sessions.extend(UploadSession::parse(name.clone(), id));
            }
            true
        }) {
            // One has just ended. The next purge sees the others.
            Ok(()) | Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
        self.purge_sessions(sessions, sweep, purged);
        Ok(())
    }

    fn purge_sessions(
        &self,
        sessions: Vec<UploadSession>,
        sweep: &mut Sweep<impl FnMut(&UploadSession, u64)>,
        purged: &mut Purged,
    ) {
        for session in sessions {
            if sweep.has_ended() {
                break;
            }
            let (bytes, newest) = match self.size_and_time(&session) {
                Ok(found) => found,
                Err(StorageError::NotFound) => continue,
                Err(error) => {
                    sweep.fail(error);
                    continue;
                }
            };
            if newest >= sweep.before {
                continue;
            }
            sweep.left -= 1;
            let removed = if sweep.dry_run { Ok(()) } else { self.purge_session(&session) };
            match removed {
                Ok(()) => {
                    purged.sessions += 1;
                    purged.bytes += bytes;
                    (sweep.report)(&session, bytes);
                }
                Err(StorageError::NotFound | StorageError::Busy) => {}
                Err(error) => sweep.fail(error),
            }
        }
        if let (count, Some(error)) = std::mem::take(&mut sweep.failed) {
            (self.log)(&format!("cannot remove {count} abandoned uploads; the first one: {error}"));
        }
    }

    /// The bytes of a session, and when something was added to it.
    fn size_and_time(&self, session: &UploadSession) -> Result<(u64, SystemTime), StorageError> {
        let path = self.session_path(session);
        match total(self.root(), &path, SESSION_DEPTH)? {
            Some(found) => Ok(found),
            // Nothing is in it.
            None => Ok((0, files::metadata(&path)?.modified()?)),
        }
    }

    /// Removes a session, unless a request is using it.
    fn purge_session(&self, session: &UploadSession) -> Result<(), StorageError> {
        let path = self.session_path(session);
        let entered = self.enter(&path)?;
        let _lock = match Lock::take(self, &path, entered) {
            // A session that never began, or lost its files.
            Err(StorageError::NotFound) => None,
            lock => Some(lock?),
        };
        self.discard(session)
    }
}

/// How far the walk over all repositories is: in a file of two lines, which several processes
/// may replace at once; then some are looked at again.
struct Walk {
    /// The settings that it is of, as the first line: with others, all is due.
    settings: String,
    /// The last repository that was looked at; empty for none.
    after: String,
}

/// The second line, before the name of the last repository.
const AFTER: &str = "after ";

/// The second line of a walk that has ended.
const ENDED: &str = "ended";

impl Walk {
    fn path(directory: &Directory) -> PathBuf {
        directory.root().join(PRIVATE).join("upload-purge")
    }

    /// The walk that is to go on; `None` if it has ended, and the next one is not due. One
    /// that cannot be read begins again.
    fn read(
        directory: &Directory,
        now: SystemTime,
        age: Duration,
        interval: Duration,
        dry_run: bool,
    ) -> Option<Self> {
        let read = || -> io::Result<(String, SystemTime)> {
            let (file, mut text) = (files::open(&Self::path(directory))?, String::new());
            let modified = file.metadata()?.modified()?;
            file.take(PROGRESS_LIMIT).read_to_string(&mut text)?;
            Ok((text, modified))
        };
        let settings = format!("{} {dry_run}", age.as_secs());
        let begun = |after: &str| Some(Self { settings: settings.clone(), after: after.into() });
        let Ok((text, modified)) = read() else { return begun("") };
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(of), Some(ENDED)) if of == settings => {
                // A clock that was wrong stops no walk for longer than an interval.
                let since = now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration());
                if since < interval { None } else { begun("") }
            }
            (Some(of), Some(line)) if of == settings => {
                begun(line.strip_prefix(AFTER).unwrap_or_default())
            }
            _ => begun(""),
        }
    }

    fn write(&self, directory: &Directory, ended: bool) -> Result<(), StorageError> {
        let Self { settings, after } = self;
        let text = if ended {
            format!("{settings}\n{ENDED}\n")
        } else {
            format!("{settings}\n{AFTER}{after}\n")
        };
        let (file, temporary) = directory.temporary_file()?;
        let written = files::write_all(&file, &temporary, text.as_bytes())
            .and_then(|()| files::rename(&temporary, &Self::path(directory)));
        written.map_err(|error| {
            let _ = files::remove_file(&temporary);
            error.into()
        })
    }
}

/// Whether a session whose turn it is looks at the next repositories of the walk, if it is
/// due: by a digit that decides nothing else.
fn walks(session: &UploadSession) -> bool {
    let digit = session.id.as_str().chars().nth(21).and_then(|digit| digit.to_digit(16));
    digit.is_some_and(|digit| digit.is_multiple_of(2))
}

#[cfg(test)]
mod tests;
