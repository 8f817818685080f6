//! Removes upload sessions that their clients have abandoned.

use crate::entries::{EntryType, for_each};
use crate::enumeration::{SESSION_DEPTH, total};
use crate::lock::Lock;
use crate::{Directory, files};
use roadstead_bridge::storage::LIST_LIMIT;
use roadstead_oci::RepositoryName;
use roadstead_storage::{Collection, Holding, NameList, NamesQuery, StorageError, UploadSession};
use std::time::{Duration, SystemTime};

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

impl Directory {
    /// Removes the upload sessions to which nothing was added for longer than
    /// `age`, and old temporary files. With `dry_run`, sessions are only
    /// counted. Does nothing while another process owns the sessions.
    ///
    /// # Errors
    /// When the directory cannot be read. What cannot be removed is logged, and so
    /// are repositories whose uploads cannot be read.
    pub fn purge(&self, age: Duration, dry_run: bool) -> Result<Purged, StorageError> {
        self.writable()?;
        let mut purged = Purged::default();
        if !self.owns_sessions() && !self.claim_sessions()? {
            return Ok(purged);
        }
        let Some(before) = self.clock()?.checked_sub(age) else { return Ok(purged) };
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
                if let Err(error) = self.purge_repository(&name, before, dry_run, &mut purged) {
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

    fn purge_repository(
        &self,
        name: &RepositoryName,
        before: SystemTime,
        dry_run: bool,
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
        for session in sessions {
            let path = self.session_path(&session);
            let (bytes, newest) = match total(self.root(), &path, SESSION_DEPTH)? {
                Some(found) => found,
                // Nothing is in it.
                None => match files::metadata(&path).and_then(|metadata| metadata.modified()) {
                    Ok(modified) => (0, modified),
                    Err(_) => continue,
                },
            };
            if newest >= before {
                continue;
            }
            if !dry_run && let Err(error) = self.purge_session(&session) {
                if error != StorageError::NotFound && error != StorageError::Busy {
                    (self.log)(&format!("cannot remove an abandoned upload: {error}"));
                }
                continue;
            }
            purged.sessions += 1;
            purged.bytes += bytes;
        }
        Ok(())
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
mod tests {
    use super::Purged;
    use crate::Directory;
    use roadstead_oci::RepositoryName;
    use roadstead_storage::UploadSession;
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    const WEEK: Duration = Duration::from_hours(168);

    fn session(name: &str, number: u8) -> UploadSession {
        UploadSession::from_random(RepositoryName::parse(name).unwrap(), [number; 16])
    }

    /// Makes a directory and its files look as old as a week and an hour.
    fn age(directory: &Path) {
        let old = SystemTime::now() - WEEK - Duration::from_hours(1);
        for entry in fs::read_dir(directory).unwrap() {
            File::open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
        }
        File::open(directory).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn abandoned_uploads_are_removed_by_age() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let all = [session("a", 1), session("a/b", 2), session("a/b", 3), session("c", 4)];
        for session in &all {
            directory.begin(session).unwrap();
            let mut appender = directory.append(session, None).unwrap();
            appender.write(b"bytes").unwrap();
            appender.finish(&directory).unwrap();
        }
        let path = |session: &UploadSession| directory.session_path(session);
        all[..3].iter().for_each(|session| age(&path(session)));
        // Nothing but a directory, as a full disk or a kill leaves it.
        let empty = session("e", 5);
        fs::create_dir_all(path(&empty)).unwrap();
        age(&path(&empty));
        // One is in use, though nothing arrives.
        let used = directory.append(&all[1], None).unwrap();
        age(&path(&all[1]));
        let found = directory.purge(WEEK, true).unwrap();
        assert_eq!((found.sessions, found.temporary), (4, 0));
        assert!(all.iter().all(|session| path(session).exists()));
        let second = Directory::open(root.path()).unwrap();
        assert_eq!(second.purge(WEEK, false), Ok(Purged::default()));
        // A temporary file of a process that died, and one of a process that may live.
        let temporary = directory.temporary_directory();
        for (name, is_old) in [("0000000000000001-1", true), ("0000000000000002-1", false)] {
            let file = File::create(temporary.join(name)).unwrap();
            if is_old {
                file.set_modified(SystemTime::now() - WEEK).unwrap();
            }
        }
        let purged = directory.purge(WEEK, false).unwrap();
        assert_eq!((purged.sessions, purged.temporary), (3, 1));
        let left: Vec<bool> = all.iter().map(|session| path(session).exists()).collect();
        assert_eq!(left, [false, true, false, true]);
        assert!(!path(&empty).parent().unwrap().exists());
        assert_eq!(directory.status(&all[3]), Ok(5));
        assert_eq!(used.finish(&directory), Ok(5));
        let left = fs::read_dir(directory.temporary_directory()).unwrap().count();
        assert_eq!(left, 1, "temporary files");
    }

    #[test]
    fn who_outlives_the_owner_removes_uploads() {
        let root = tempfile::tempdir().unwrap();
        let first = Directory::open(root.path()).unwrap();
        let second = Directory::open(root.path()).unwrap();
        let abandoned = session("a", 1);
        second.begin(&abandoned).unwrap();
        age(&second.session_path(&abandoned));
        assert_eq!(second.purge(WEEK, false), Ok(Purged::default()));
        drop(first);
        assert_eq!(second.purge(WEEK, false).unwrap().sessions, 1);
        assert!(second.owns_sessions());
    }
}
