//! Removes upload sessions that their clients have abandoned.

use crate::entries::{BATCH, EntryType, Position, batch, for_each};
use crate::enumeration::{SESSION_DEPTH, total};
use crate::lock::Lock;
use crate::{Directory, files};
use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_oci::RepositoryName;
use roadstead_storage::{
    Collection, Holding, NameList, NamesQuery, PURGE_LEAST_AGE, PURGE_TIME, StorageError,
    UploadSession,
};
use std::time::{Duration, Instant, SystemTime};

/// How many sessions are removed while a client waits.
///
/// Limit: sessions in a directory that one upload removes; test: `an_upload_removes_some_abandoned_ones`.
const PURGE_LIMIT: u64 = 32;

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

    /// Removes some abandoned sessions of the repository of a session that has begun, if it
    /// is this session's turn ([`UploadSession::purges`]): for hosts that do nothing between
    /// requests. They are at least an hour old, whatever `age` is. Does nothing if this
    /// process owns the sessions: [`Directory::purge`] removes them.
    ///
    /// # Errors
    /// When the sessions cannot be listed. What cannot be removed is logged, in one line.
    pub fn purge_beside(
        &self,
        session: &UploadSession,
        age: Duration,
        dry_run: bool,
    ) -> Result<Purged, StorageError> {
        let mut purged = Purged::default();
        if !session.purges() || self.owns_sessions() {
            return Ok(purged);
        }
        self.writable()?;
        let Some(before) = self.clock()?.checked_sub(age.max(PURGE_LEAST_AGE)) else {
            return Ok(purged);
        };
        let mut sweep = Sweep::new(before, dry_run, |_: &UploadSession, _| ());
        sweep.left = PURGE_LIMIT;
        sweep.until = Some(Instant::now() + PURGE_TIME);
        let sessions = self.some_sessions(session)?;
        self.purge_sessions(sessions, &mut sweep, &mut purged);
        Ok(purged)
    }

    /// Up to two batches of the sessions of the same repository. They begin anywhere, so that
    /// those that stay do not hide the others.
    fn some_sessions(&self, beside: &UploadSession) -> Result<Vec<UploadSession>, StorageError> {
        let name = &beside.repository;
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

#[cfg(test)]
mod tests;
