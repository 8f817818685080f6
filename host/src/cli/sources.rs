//! What `roadstead serve` is given: a configuration file, or archives.

use anyhow::bail;
use roadstead_archive::BEGINNING;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sources {
    /// What the settings say, with those of a file if one is named.
    Settings(Option<PathBuf>),
    /// Archives.
    Archives(Vec<PathBuf>),
}

impl Sources {
    /// What these arguments stand for.
    ///
    /// # Errors
    /// When a configuration file is among several.
    pub(super) fn of(given: Vec<PathBuf>) -> anyhow::Result<Self> {
        Ok(match &given[..] {
            [] => Self::Settings(None),
            [path] if is_archive(path) => Self::Archives(given),
            [path] => Self::Settings(Some(path.clone())),
            several => {
                if let Some(file) = several.iter().find(|path| is_named_config(path)) {
                    bail!(
                        "{} is given with other files; archives take their settings from \
                         REGISTRY_* variables alone",
                        file.display()
                    );
                }
                Self::Archives(given)
            }
        })
    }
}

fn is_named_config(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "yml" || it == "yaml")
}

/// Whether a path is that of an archive, by its name and otherwise by its content. A pipe is
/// taken for a configuration file: it can be read only once, so its content is not probed.
fn is_archive(path: &Path) -> bool {
    if is_named_config(path) {
        return false;
    }
    if path.extension().is_some_and(|it| it == "tar") || path == Path::new("-") {
        return true;
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => true,
        Ok(metadata) if metadata.is_file() && !path.starts_with("/dev") => {
            let mut start = Vec::new();
            let read = File::open(path)
                .and_then(|file| file.take(BEGINNING as u64).read_to_end(&mut start));
            read.is_ok() && roadstead_archive::is_archive(&start)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{BEGINNING, Sources};
    use std::fs;
    use std::path::PathBuf;

    /// Where a header has its checksum, as octal digits.
    const CHECKSUM: std::ops::Range<usize> = 148..156;

    /// A header of a tar file with only a name and a checksum.
    fn header() -> Vec<u8> {
        let mut header = vec![0; BEGINNING];
        header[..5].copy_from_slice(b"index");
        header[CHECKSUM].fill(b' ');
        let sum: u64 = header.iter().copied().map(u64::from).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }

    #[test]
    fn archives_are_told_from_configuration_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut damaged = header();
        damaged[0] ^= 1;
        let long = format!("# {}\nhttp: {{}}\n", "x".repeat(BEGINNING));
        fs::create_dir(directory.path().join("folder")).unwrap();
        for (name, content, archive) in [
            ("config.yml", Some(&b"http: {}"[..]), false),
            ("config.yaml", Some(&header()), false),
            ("config", Some(b"http: {}"), false),
            ("config-long", Some(long.as_bytes()), false),
            ("nothing", Some(b""), false),
            ("missing", None, false),
            ("missing.yml", None, false),
            ("missing.tar", None, true),
            ("broken.tar", Some(b"http: {}"), true),
            ("images", Some(&header()), true),
            ("damaged", Some(&damaged), false),
            ("images.tgz", Some(&[0x1f, 0x8b, 8, 0]), true),
            ("images.zst", Some(&[0x28, 0xb5, 0x2f, 0xfd]), true),
            ("images.bz2", Some(b"BZh91AY"), true),
            ("folder", None, true),
        ] {
            let path = directory.path().join(name);
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let expected = if archive {
                Sources::Archives(vec![path.clone()])
            } else {
                Sources::Settings(Some(path.clone()))
            };
            assert_eq!(Sources::of(vec![path]).unwrap(), expected, "{name}");
        }
        assert_eq!(Sources::of(Vec::new()).unwrap(), Sources::Settings(None));
        let stdin = PathBuf::from("/dev/stdin");
        assert_eq!(Sources::of(vec![stdin.clone()]).unwrap(), Sources::Settings(Some(stdin)));
    }

    #[test]
    fn several_are_archives() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let several = paths(&["a", "b"]);
        assert_eq!(Sources::of(several.clone()).unwrap(), Sources::Archives(several));
        for names in [["a.tar", "c.yml"], ["c.yaml", "a.tar"]] {
            let error = Sources::of(paths(&names)).unwrap_err().to_string();
            assert!(error.starts_with("c.y"), "{error}");
        }
    }
}
