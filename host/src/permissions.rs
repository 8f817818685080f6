//! Advice where the user that this process runs as lacks a permission.

use std::io::ErrorKind;
use std::path::Path;

/// How to let this process use a file or a directory, if that is what it could not.
/// In a container the path is inside, and what is mounted there has to change.
#[cfg(unix)]
pub(crate) fn advice(error: ErrorKind, path: &Path) -> Option<String> {
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
pub(crate) fn advice(_: ErrorKind, _: &Path) -> Option<String> {
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
