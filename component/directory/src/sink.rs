//! Writes the bytes of an upload to its file.
//!
//! Large uploads bypass the page cache where the system supports it (Linux's
//! `O_DIRECT`): they must be on disk anyway before the client is told that they
//! are stored, and copying them to the page cache costs about half the CPU time
//! of hashing them. The remainders before and after the [`BLOCK`]-sized pieces,
//! and all of a small upload, are written through the cache.

use crate::files;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Size and alignment of direct writes, in bytes: a multiple of every disk's
/// block size.
const BLOCK: usize = 512 * 1024;

/// Alignment in memory of the buffer for direct writes.
const ALIGNMENT: usize = 4096;

/// Writes to a file. Holds at most [`BLOCK`] bytes.
#[derive(Debug)]
pub(crate) struct Sink {
    file: Arc<File>,
    path: PathBuf,
    /// The file offset of the buffered bytes.
    offset: u64,
    /// The buffered bytes, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    direct: Direct,
}

/// The same file, opened for direct writes.
#[derive(Debug)]
enum Direct {
    Untried,
    Open(File),
    Impossible,
}

impl Sink {
    /// Writes to `file`, which is open at `path`, from `offset` on.
    pub(crate) fn new(file: Arc<File>, path: &Path, offset: u64) -> Self {
        let (path, direct) = (path.to_owned(), Direct::Untried);
        Self { file, path, offset, buffer: Vec::new(), start: 0, direct }
    }

    /// Writes `bytes`, or buffers them.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.buffer.capacity() == 0 {
            self.buffer = Vec::with_capacity(BLOCK + ALIGNMENT);
            self.start = self.buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
            self.buffer.resize(self.start, 0);
        }
        while !bytes.is_empty() {
            let held = self.buffer.len() - self.start;
            // The end of the block in which the bytes begin.
            let within = usize::try_from(self.offset % BLOCK as u64).unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - within - held));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if within + held + now.len() == BLOCK {
                if within == 0 && self.write_direct()? {
                    self.offset += BLOCK as u64;
                    self.buffer.truncate(self.start);
                } else {
                    self.write_held()?;
                }
            }
        }
        Ok(())
    }

    /// Writes all buffered bytes, and frees the buffer.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        self.write_held()?;
        self.buffer = Vec::new();
        Ok(())
    }

    /// Writes all buffered bytes, and returns the file.
    pub(crate) fn into_file(mut self) -> io::Result<Arc<File>> {
        self.settle()?;
        Ok(self.file)
    }

    /// Writes all buffered bytes through the page cache.
    fn write_held(&mut self) -> io::Result<()> {
        let held = self.buffer.get(self.start..).unwrap_or_default();
        if !held.is_empty() {
            files::call("write", &self.path, || write_at(&self.file, held, self.offset))?;
        }
        self.offset += held.len() as u64;
        self.buffer.truncate(self.start);
        Ok(())
    }

    /// Writes the buffered block directly, if that is possible.
    fn write_direct(&mut self) -> io::Result<bool> {
        if matches!(self.direct, Direct::Untried) {
            self.direct = open_direct(&self.path).map_or(Direct::Impossible, Direct::Open);
        }
        let Direct::Open(file) = &self.direct else { return Ok(false) };
        let bytes = &self.buffer[self.start..];
        match files::call("write", &self.path, || write_at(file, bytes, self.offset)) {
            Ok(()) => Ok(true),
            // The file system accepts the flag, but not direct writes.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.direct = Direct::Impossible;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?.into())
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek as _, Write as _};
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Direct, Sink, open_direct};
    use std::fs::{self, File};
    use std::sync::Arc;

    /// Bytes of which no two blocks are alike.
    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from(((i / 7) ^ (i / BLOCK)) % 251).unwrap()).collect()
    }

    /// Writes `content` in pieces, in two goes.
    fn write(first: usize, piece: usize, length: usize, direct: Direct) -> (Vec<u8>, Direct) {
        // Where there is a disk: a file system in memory may know no other way.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = directory.path().join("file");
        let content = content(length);
        let mut file = Arc::new(File::create(&path).unwrap());
        let (before, after) = content.split_at(first);
        let mut sink = Sink::new(file, &path, 0);
        sink.write(before).unwrap();
        file = sink.into_file().unwrap();
        let mut sink = Sink { direct, ..Sink::new(file, &path, first as u64) };
        for piece in after.chunks(piece) {
            sink.write(piece).unwrap();
        }
        sink.settle().unwrap();
        assert!(fs::read(&path).unwrap() == content, "{first}, {piece}, {length}");
        (content, sink.direct)
    }

    #[test]
    fn what_is_written_is_there() {
        for first in [0, 1, 4096, BLOCK - 1, BLOCK, BLOCK + 5] {
            for piece in [1000, 4096, BLOCK - 1, BLOCK, 3 * BLOCK] {
                for length in [first, first + 10, 4 * BLOCK - 1, 4 * BLOCK, 4 * BLOCK + 1] {
                    write(first, piece, length, Direct::Untried);
                }
            }
        }
        write(0, 1000, 3 * BLOCK, Direct::Impossible);
    }

    #[test]
    fn large_uploads_go_past_the_cache() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        if open_direct(&path).is_err() {
            return; // Not on this file system.
        }
        assert!(matches!(write(0, 1000, 2 * BLOCK, Direct::Untried).1, Direct::Open(_)));
        assert!(matches!(write(0, 1000, BLOCK - 1, Direct::Untried).1, Direct::Untried));
    }
}
