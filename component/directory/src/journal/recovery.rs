//! Puts back what a loss of power took away.
//!
//! The last record of each path says what was acknowledged. Whether power was lost is told by
//! the boot id: under the same kernel, all changes that were acknowledged are in place, and
//! nothing is done, unless a process has noted that the disk lost writes ([`mark`]). A file
//! that was modified after its record (mtime, which neither `chmod` nor a rename changes) was
//! written by somebody else, and stays. Recovery can be interrupted and repeated: the segments
//! are removed when all of it is durable.

use super::format::{self, Record, modified};
use super::{DIRECTORY, sync_directory};
use crate::tidy::kept;
use crate::{PRIVATE, Recovered};
use roadstead_storage::Key;
use rustix::fs::syncfs;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The file that says that the disk lost writes, beside the segments.
const MARK: &str = "lost";

/// Identifies the running kernel, so that a loss of power is noticed.
pub(super) fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = id.trim();
    if id.len() == 36 && id.is_ascii() {
        Ok(id.to_owned())
    } else {
        Err(io::Error::other("the kernel's boot id is not a UUID"))
    }
}

/// The segments in their order.
fn segments(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            segments.push(entry.path());
        }
    }
    segments.sort();
    Ok(segments)
}

/// Notes for the next start that the disk lost writes. It may be unable to write this too.
pub(super) fn mark(directory: &Path) {
    let noted = File::create(directory.join(MARK)).and_then(|file| file.sync_all());
    let _ = noted.and_then(|()| sync_directory(directory));
}

/// Whether a loss of power may have taken away what is not put back yet.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn is_pending(root: &Path) -> io::Result<bool> {
    let directory = root.join(PRIVATE).join(DIRECTORY);
    Ok(directory.join(MARK).exists() || !lost(&segments(&directory)?)?.is_empty())
}

/// The segments that another kernel has written.
fn lost(segments: &[PathBuf]) -> io::Result<Vec<&PathBuf>> {
    let current = format::header(&boot_id()?);
    let mut lost = Vec::new();
    for segment in segments {
        let mut header = Vec::new();
        File::open(segment)?.take(current.len() as u64).read_to_end(&mut header)?;
        if header != current.as_bytes() {
            lost.push(segment);
        }
    }
    Ok(lost)
}

/// Recovers the directory `root`, which this process owns, from its journal, if there is one.
///
/// # Errors
/// When the journal cannot be read, or what it holds not be written: then what was
/// acknowledged may be missing, and must not be served.
pub(crate) fn recover(root: &Path) -> io::Result<Recovered> {
    let directory = root.join(PRIVATE).join(DIRECTORY);
    recover_from(root, &directory).map_err(|error| {
        let what = format!("what {} holds cannot be put back: {error}", directory.display());
        io::Error::new(error.kind(), what)
    })
}

fn recover_from(root: &Path, directory: &Path) -> io::Result<Recovered> {
    let (segments, mark) = (segments(directory)?, directory.join(MARK));
    let lost_writes = mark.exists();
    if segments.is_empty() && !lost_writes {
        return Ok(Recovered::default());
    }
    let file_system = File::open(root)?;
    // Under the same kernel, everything is in place.
    let read = if lost_writes { segments.iter().collect() } else { lost(&segments)? };
    let bytes: io::Result<Vec<_>> = read.into_iter().map(fs::read).collect();
    let bytes = bytes?;
    let mut last = HashMap::new();
    let mut order = 0_u64;
    for found in bytes.iter().filter_map(|segment| format::parse(segment)).flatten() {
        order += 1;
        last.insert(found.path, (order, found.record));
    }
    let mut last: Vec<_> = last.into_iter().collect();
    last.sort_by_key(|(_, (order, _))| *order);
    let mut recovered = Recovered { recorded: last.len() as u64, ..Recovered::default() };
    let temporary = directory.join("restored");
    for (path, (_, record)) in last {
        let key = path.to_str().and_then(|path| Key::parse(path).ok());
        let path = root.join(path);
        match record {
            Record::Put(content, time) => {
                // What the kernel shows of it may not be what the disk has.
                let is_blob = matches!(key, Some(Key::Blob(_)));
                if lost_writes && !is_later(&path, time)
                    || is_wanting(&path, content, time, is_blob)
                {
                    write(&path, content, &temporary)?;
                    recovered.restored += 1;
                }
                if let Some(Key::Revision(name, _)) = key {
                    kept(root, &name).iter().try_for_each(fs::create_dir_all)?;
                }
            }
            Record::Gone(time) => {
                let found = fs::symlink_metadata(&path);
                // One that was made since is younger.
                if found.is_ok_and(|found| !found.is_dir() && modified(&found) <= time) {
                    fs::remove_file(&path)?;
                    recovered.removed += 1;
                }
            }
            Record::Placed => {}
        }
    }
    syncfs(&file_system)?;
    for segment in segments {
        fs::remove_file(segment)?;
    }
    if lost_writes {
        fs::remove_file(mark)?;
    }
    sync_directory(directory)?;
    Ok(recovered)
}

/// Whether a file was modified after a time.
fn is_later(path: &Path, time: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| modified(&found) > time)
}

/// Whether a file lacks the content that it was given last.
fn is_wanting(path: &Path, content: &[u8], time: u64, is_blob: bool) -> bool {
    match fs::read(path) {
        Ok(found) if found == content => false,
        // Whoever modified it later gave it other content. Of a blob, there is none; and no
        // file is empty or has zeros but by a loss of power.
        Ok(found) => !is_later(path, time) || is_blob || found.iter().all(|byte| *byte == 0),
        Err(_) => true,
    }
}

/// Writes a file so that another loss of power leaves the old one or the new one.
fn write(path: &Path, content: &[u8], temporary: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::create(temporary)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(temporary, path)
}
