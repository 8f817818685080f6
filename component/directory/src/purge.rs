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
use std::io::{self, ErrorKind, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// How many sessions are removed while a client waits.
///
/// Limit: sessions in a directory that one upload removes; test: `an_upload_removes_some_abandoned_ones`.
const PURGE_LIMIT: u64 = 32;

/// How many other repositories an upload looks at.
///
/// Limit: repositories in a directory that one upload looks at; test:
/// `uploads_walk_over_other_repositories`.
const WALK_LIMIT: usize = 8;

/// The most bytes that are read of the file that says how far the walk over the
/// repositories is: more than the longest name has.
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
    /// of the same repository or, by turns, of others, over which a walk begins an `interval`
    /// after the last one has ended. They are at least an hour old, whatever `age` is. Does
    /// nothing if this process owns the sessions: [`Directory::purge`] removes them.
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
        sweep.until = Some(Instant::now() + PURGE_TIME);
        let after = if walks(session) { self.walk_goes_on(now, interval)? } else { None };
        if let Some(after) = after {
            self.walk(after, session, &mut sweep, &mut purged)?;
        } else {
            let sessions = self.some_sessions(&session.repository, session)?;
            self.purge_sessions(sessions, &mut sweep, &mut purged);
        }
        Ok(purged)
    }

    /// After which repository the walk goes on, empty for its beginning; `None` if it has
    /// ended, and the next one is not due.
    fn walk_goes_on(
        &self,
        now: SystemTime,
        interval: Duration,
    ) -> Result<Option<String>, StorageError> {
        let read = || -> io::Result<(String, SystemTime)> {
            let (file, mut after) = (files::open(&self.progress_path())?, String::new());
            let modified = file.metadata()?.modified()?;
            file.take(PROGRESS_LIMIT).read_to_string(&mut after)?;
            Ok((after.trim_end().to_owned(), modified))
        };
        match read() {
            Ok((after, modified)) if after.is_empty() => {
                // A clock that was wrong stops no walk for longer than an interval.
                let since = now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration());
                Ok((since >= interval).then_some(after))
            }
            Ok((after, _)) => Ok(Some(after)),
            // None has begun, or it cannot be understood.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
                Ok(Some(String::new()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at the repositories after one, and notes how far that is: several processes that
    /// do so at once only look at some of them again.
    fn walk(
        &self,
        mut after: String,
        beside: &UploadSession,
        sweep: &mut Sweep<impl FnMut(&UploadSession, u64)>,
        purged: &mut Purged,
    ) -> Result<(), StorageError> {
        let page = self.names(&NamesQuery {
            list: NameList::Repositories(Holding::Anything),
            values: false,
            after: Some(after.clone()).filter(|after| !after.is_empty()),
            limit: WALK_LIMIT,
        })?;
        let mut goes_on = page.more;
        for text in page.names {
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
            let ended = sweep.has_ended();
            // There may be more of them; but what stays must not end the walk.
            if !(ended && !sweep.dry_run && purged.sessions > removed) {
                after = text;
            }
            if ended {
                goes_on = true;
                break;
            }
        }
        let path = self.progress_path();
        if goes_on && after.is_empty() {
            return match files::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        let file = files::open_for_writing(&path)?;
        files::call("truncate", &path, || file.set_len(0))?;
        // The line's end marks the file as modified, also where nothing precedes it.
        let line = format!("{}\n", if goes_on { after.as_str() } else { "" });
        Ok(files::write_all(&file, &path, line.as_bytes())?)
    }

    /// Says how far the walk over the repositories is: a line with the last one's name, or
    /// without any once it has ended.
    fn progress_path(&self) -> PathBuf {
        self.root().join(PRIVATE).join("upload-purge")
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
        let _lock = match Lock::take(self, &self.session_path(session)) {
            // A session that never began, or lost its files.
            Err(StorageError::NotFound) => None,
            lock => Some(lock?),
        };
        self.discard(session)
    }
}

/// Whether a session whose turn it is looks at other repositories, if some are due: by a
/// digit that decides nothing else.
fn walks(session: &UploadSession) -> bool {
    let digit = session.id.as_str().chars().nth(21).and_then(|digit| digit.to_digit(16));
    digit.is_some_and(|digit| digit.is_multiple_of(2))
}

#[cfg(test)]
mod tests;
