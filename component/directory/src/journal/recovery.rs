//! Puts back what a loss of power took away.
//!
//! The last record of each path says what was acknowledged. Whether power was lost is told by
//! the boot id: under the same kernel, the changes are still in place, and a file that is
//! missing was removed by somebody else since. A file that was changed after its record, by
//! the file's ctime, was changed by somebody else, and stays. Recovery can be interrupted and
//! repeated: the segments are removed when all of it is durable.

use super::format::{self, Record, nanoseconds_since_1970};
use super::{DIRECTORY, sync_directory};
use crate::PRIVATE;
use rustix::fs::syncfs;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What [`recover`] did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// How many files and directories the journal had records of.
    pub recorded: u64,
    /// How many of them had to be written again.
    pub restored: u64,
    /// How many had to be removed again.
    pub removed: u64,
}

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

/// Removes a segment, durably.
pub(super) fn remove_segment(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        // With its directory, someone has removed all of them.
        _ => match path.parent().map(sync_directory) {
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// Removes all segments, durably.
pub(super) fn remove_segments(directory: &Path) -> io::Result<()> {
    segments(directory)?.iter().try_for_each(|segment| remove_segment(segment))
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
    let segments = segments(directory)?;
    if segments.is_empty() {
        return Ok(Recovered::default());
    }
    let file_system = File::open(root)?;
    let bytes: io::Result<Vec<_>> = segments.iter().map(fs::read).collect();
    let bytes = bytes?;
    let current = boot_id()?;
    let mut last = HashMap::new();
    let mut order = 0_u64;
    for (boot, records) in bytes.iter().filter_map(|segment| format::parse(segment)) {
        let lost_power = boot != current;
        for found in records {
            order += 1;
            last.insert(found.path, (order, lost_power, found));
        }
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_by_key(|(order, ..)| *order);
    let mut recovered = Recovered { recorded: last.len() as u64, ..Recovered::default() };
    let temporary = directory.join("restored");
    for (_, lost_power, found) in last {
        let path = root.join(found.path);
        match found.record {
            Record::Put(content) => {
                if is_wanting(&path, content, found.time, lost_power)? {
                    write(&path, content, &temporary)?;
                    recovered.restored += 1;
                }
            }
            Record::Made if lost_power && !path.is_dir() => {
                fs::create_dir_all(&path)?;
                recovered.restored += 1;
            }
            Record::Gone => {
                // One that was made since has another time.
                if time(&path)?.is_some_and(|(changed, _)| changed < found.time) {
                    fs::remove_file(&path)?;
                    recovered.removed += 1;
                }
            }
            Record::Placed | Record::Made => {}
        }
    }
    syncfs(&file_system)?;
    remove_segments(directory)?;
    Ok(recovered)
}

/// When a file was changed, and its length; `None` if there is no file.
fn time(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(None),
        Ok(found) => {
            let changed = nanoseconds_since_1970(found.ctime(), found.ctime_nsec());
            Ok(Some((changed, found.len())))
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a file does not have the content that it was given last.
fn is_wanting(path: &Path, content: &[u8], at: u64, lost_power: bool) -> io::Result<bool> {
    let Some((changed, length)) = time(path)? else { return Ok(lost_power) };
    if length == content.len() as u64 && fs::read(path)? == content {
        return Ok(false);
    }
    // Whoever changed it later gave it other content. Of a blob, there is none.
    let is_blob = path.ends_with("data");
    Ok(changed <= at || is_blob || length == 0 && !content.is_empty())
}

fn write(path: &Path, content: &[u8], temporary: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(temporary)?.write_all(content)?;
    // Of one file at a time: a file without its name is not yet durable, and the next loss
    // of power finds the segments again.
    fs::rename(temporary, path)
}
