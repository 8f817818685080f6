//! Advice where the user that this process runs as lacks a permission.

use std::io::ErrorKind;
use std::path::Path;

/// How to let this process use a file or a directory, if that is what it could not.
/// In a container the path is inside, and what is mounted there has to change.
pub(crate) fn advice(error: ErrorKind, path: &Path) -> Option<String> {
    (error == ErrorKind::PermissionDenied).then(|| {
        let (user, group) = ids();
        let (flag, shown) = (if path.is_dir() { "-R " } else { "" }, path.display());
        format!(
            "this process is user {user} and group {group}: chown {flag}{user}:{group} {shown} \
             helps, or in a container, that of what is mounted there; or run it as another user"
        )
    })
}

#[cfg(unix)]
fn ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[cfg(not(unix))]
fn ids() -> (u32, u32) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::{advice, ids};
    use std::io::ErrorKind;
    use std::path::Path;

    #[test]
    fn who_may_not_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (user, group) = ids();
        for (path, expected) in [
            (directory.path(), format!("chown -R {user}:{group} {} ", directory.path().display())),
            (Path::new("/no/file"), format!("chown {user}:{group} /no/file ")),
        ] {
            let said = advice(ErrorKind::PermissionDenied, path).unwrap();
            assert!(said.contains(&expected), "{said}");
            assert_eq!(advice(ErrorKind::NotFound, path), None);
        }
    }
}
