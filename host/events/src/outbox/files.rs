//! The files of an outbox: segments, the cursors, and a lock.

use super::record::PREFIX;
use super::{Position, START};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const CURSORS: &str = "cursors.json";
const CURSORS_NEW: &str = "cursors.json.new";
const LOCK: &str = "lock";
const SUFFIX: &str = ".events";

/// The version of the files. Later ones are refused.
const VERSION: u32 = 1;

/// The largest file of cursors, in bytes; a larger one is none.
///
/// Limit: bytes of the file of cursors; test: `cursors_that_cannot_be_read`.
const CURSORS_LIMIT: u64 = 1024 * 1024;

/// How far endpoints have come, by their names.
pub(crate) type Cursors = BTreeMap<String, Position>;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    endpoints: Cursors,
}

/// What is known of endpoints.
pub(crate) enum Known {
    /// Nothing: there was no outbox.
    New,
    /// How far they have come.
    Cursors(Cursors),
    /// The file cannot be read, for this reason.
    Unreadable(String),
}

pub(crate) fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}{SUFFIX}"))
}

/// The numbers of the segments, in order.
pub(crate) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        let number =
            number.filter(|text| text.len() == 20).and_then(|text| text.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates a segment.
pub(crate) fn create(directory: &Path, number: u64) -> io::Result<File> {
    let path = segment(directory, number);
    let created = || {
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        file.write_all(PREFIX)?;
        file.sync_all()?;
        sync_directory(directory)?;
        Ok(file)
    };
    created().inspect_err(|_| {
        // It has no events. The next one has another number.
        let _ = fs::remove_file(&path);
    })
}

/// Opens a segment to write more.
pub(crate) fn append(directory: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().append(true).open(segment(directory, number))
}

/// Keeps other processes from the outbox, as long as the file is open.
pub(crate) fn lock(directory: &Path) -> io::Result<File> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process has it open"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

pub(crate) fn read_cursors(directory: &Path) -> io::Result<Known> {
    let path = directory.join(CURSORS);
    let length = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::New),
        Err(error) => return Err(error),
    };
    if length > CURSORS_LIMIT {
        return Ok(Known::Unreadable(format!("it is larger than {CURSORS_LIMIT} bytes")));
    }
    match serde_json::from_slice::<Saved>(&fs::read(&path)?) {
        Ok(saved) if saved.version > VERSION => {
            let text = format!("its format, {}, is that of a later version", saved.version);
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        Ok(saved) => Ok(Known::Cursors(saved.endpoints)),
        Err(error) => Ok(Known::Unreadable(error.to_string())),
    }
}

/// Replaces the file of cursors.
pub(crate) fn save_cursors(directory: &Path, endpoints: Cursors) -> io::Result<()> {
    let text = serde_json::to_vec(&Saved { version: VERSION, endpoints })?;
    let new = directory.join(CURSORS_NEW);
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(new, directory.join(CURSORS))?;
    sync_directory(directory)
}

pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The first position of a segment.
pub(crate) fn first(segment: u64) -> Position {
    Position { segment, offset: START }
}
