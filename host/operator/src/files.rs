//! Atomic writes of files.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The mode of a file with a secret.
pub(crate) const SECRET: u32 = 0o600;

/// The mode of a file that everyone may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// How many symbolic links to a file that is not there are followed.
///
/// Limit: symbolic links that are followed to the file that is to be made; test:
/// `a_link_to_nothing_stays`.
const LINKS: usize = 16;

/// What to do with an existing file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Replace it. The new file gets the owner of the old one; if this process
    /// may not change the owner, nothing is written.
    Replace,
    /// Keep it, and fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
}

/// Writes a file atomically. It has this mode before its first byte is written.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    // A symbolic link stays; its target is replaced.
    let path = match existing {
        Existing::Replace => path.canonicalize().unwrap_or_else(|_| end_of_links(path)),
        Existing::Keep => path.to_owned(),
    };
    let directory = directory(&path);
    let mut file = tempfile::Builder::new().prefix(".roadstead-").tempfile_in(&directory)?;
    prepare(file.as_file(), &path, mode)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Replace => file.persist(&path).map_err(|error| match error.error.kind() {
            // The file is a mount point, as in a container.
            io::ErrorKind::ResourceBusy => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the file itself is a mount; mount its directory instead",
            ),
            _ => error.error,
        })?,
        Existing::Keep => file.persist_noclobber(&path)?,
    };
    sync(&directory)
}

/// Where symbolic links lead, though there may be nothing.
fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = path.read_link() else { break };
        path = directory(&path).join(next);
    }
    path
}

/// Reads a file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes; check that it is the right file"),
        ));
    }
    Ok(bytes)
}

/// The directory of a file.
pub(crate) fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(unix)]
fn prepare(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let new = file.metadata()?;
    if let Ok(old) = std::fs::metadata(path)
        && (old.uid(), old.gid()) != (new.uid(), new.gid())
    {
        // A registry that runs as the old owner could not read the new file.
        fchown(file, Some(old.uid()), Some(old.gid())).map_err(|error| {
            let (uid, gid) = (old.uid(), old.gid());
            io::Error::new(
                error.kind(),
                format!("it belongs to user {uid} and group {gid}; run this as that user or root"),
            )
        })?;
    }
    // Until here, the mode is that of a temporary file: for the owner only.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn prepare(_file: &File, _path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Syncs a directory, so that a rename in it survives power loss.
fn sync(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// The mode of a file, without its type; [`SECRET`] on systems without modes.
pub(crate) fn mode(path: &Path) -> io::Result<u32> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        Ok(metadata.permissions().mode() & 0o7777)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        Ok(SECRET)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::{Existing, SECRET, write};
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_to_nothing_stays() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("x")).unwrap();
        symlink("x/second", at("first")).unwrap();
        symlink("file", at("x/second")).unwrap();
        for text in ["one", "two"] {
            write(&at("first"), text.as_bytes(), SECRET, Existing::Replace).unwrap();
            assert_eq!(std::fs::read_to_string(at("x/file")).unwrap(), text);
        }
        assert!(at("first").is_symlink() && at("x/second").is_symlink());
    }
}
