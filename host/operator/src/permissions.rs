//! What the user that this process runs as may do with files, and advice where a permission
//! is missing.

use std::io::{self, ErrorKind};
use std::path::Path;

/// What is said where a storage directory cannot be used, before the reason.
pub fn cannot_open(root: &Path, read_only: bool, error: ErrorKind) -> String {
    let shown = root.display();
    let what = if read_only {
        format!("cannot read the storage directory {shown}")
    } else {
        format!(
            "cannot write to the storage directory {shown}; choose another with \
             REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY, or serve it without writing with \
             REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true"
        )
    };
    match advice(error, root) {
        Some(advice) => format!("{what}; {advice}"),
        None => what,
    }
}

/// Whether this process may list a directory and enter it, and with `write` make files in it,
/// for all that the system says without anything being written.
///
/// # Errors
/// When it may not, or there is no such directory.
pub fn directory(path: &Path, write: bool) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    std::fs::read_dir(path)?;
    permitted(path, write)
}

#[cfg(unix)]
fn permitted(path: &Path, write: bool) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, access, accessat};
    use rustix::io::Errno;
    let wanted = Access::READ_OK | Access::EXEC_OK;
    let wanted = if write { wanted | Access::WRITE_OK } else { wanted };
    match accessat(CWD, path, wanted, AtFlags::EACCESS) {
        // An old system, or a sandbox that is older than this call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(access(path, wanted)?),
        other => Ok(other?),
    }
}

/// Systems without such a call.
#[cfg(not(unix))]
fn permitted(path: &Path, write: bool) -> io::Result<()> {
    let refused = write && std::fs::metadata(path)?.permissions().readonly();
    if refused { Err(ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

/// How to let this process use a file or a directory, if that is what it could not.
/// In a container the path is inside, and what is mounted there has to change.
#[cfg(unix)]
pub fn advice(error: ErrorKind, path: &Path) -> Option<String> {
    // What is not there cannot be given to a user; what it would be in can.
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok())?;
    (error == ErrorKind::PermissionDenied).then(|| {
        let (user, group) = ids();
        let flag = if there == path && path.is_dir() { "-R " } else { "" };
        format!(
            "this process is user {user} and group {group}: chown {flag}{user}:{group} {} helps, or \
             in a container, that of what is mounted there; or run it as another user",
            there.display()
        )
    })
}

/// Systems without users that are numbers.
#[cfg(not(unix))]
pub fn advice(_: ErrorKind, _: &Path) -> Option<String> {
    None
}

#[cfg(unix)]
fn ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[cfg(all(test, unix))]
mod tests {
    use super::{advice, ids};
    use std::io::ErrorKind;

    #[test]
    fn who_may_not_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (user, group) = ids();
        let there = directory.path();
        let file = there.join("file");
        std::fs::write(&file, "").unwrap();
        for (path, expected) in [
            (there.to_owned(), format!("chown -R {user}:{group} {} ", there.display())),
            (file.clone(), format!("chown {user}:{group} {} ", file.display())),
            (there.join("no/file"), format!("chown {user}:{group} {} ", there.display())),
        ] {
            let said = advice(ErrorKind::PermissionDenied, &path).unwrap();
            assert!(said.contains(&expected), "{said}");
            assert_eq!(advice(ErrorKind::NotFound, &path), None);
        }
    }
}
