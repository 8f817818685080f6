//! Compressed archives, and streams: both are copied to a file without a name first, as
//! contents are read from anywhere in an archive, and several times.

use super::Options;
use super::error::Error;
use super::files::BUFFER;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Write as _};
use std::os::unix::fs::FileExt as _;

/// How many bytes a compressed archive may become, whatever its size.
///
/// Limit: bytes that a small compressed archive unpacks to; test: `bombs_are_refused`.
const UNPACKED: u64 = 1024 * 1024 * 1024;

/// How many bytes more each of its bytes may become. Layers of zeros compress further, but
/// then nothing tells them from a bomb.
///
/// Limit: bytes that a byte of a compressed archive unpacks to; test: `bombs_are_refused`.
const RATIO: u64 = 200;

/// The largest window of zstd: that of its strongest level without `--long`.
///
/// Limit: bytes that zstd looks back, which are in memory; test: `windows_of_zstd_are_limited`.
const WINDOW: u64 = 128 * 1024 * 1024;

/// How an archive is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packing {
    Gzip,
    Zstd,
}

/// How many bytes tell how a file is compressed.
const MAGIC: usize = 6;

/// By the first bytes; an error names the program that unpacks it.
fn packing(first: &[u8]) -> Result<Option<Packing>, &'static str> {
    match first {
        [0x1f, 0x8b, ..] => Ok(Some(Packing::Gzip)),
        // A frame, or one of those that programs put before it and that are skipped.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Ok(Some(Packing::Zstd))
        }
        [b'B', b'Z', b'h', ..] => Err("bunzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err("unxz"),
        _ => Ok(None),
    }
}

/// Whether a file that begins like this is compressed, in a way that is understood or not.
pub(super) fn is_packed(first: &[u8]) -> bool {
    packing(first) != Ok(None)
}

/// The tar file of an archive that was opened: itself, or what it unpacks to.
pub(super) fn file(label: &str, mut file: File, options: &Options) -> Result<File, Error> {
    let failed = |error: io::Error| Error::of(label, error);
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        // A named pipe.
        return stream(label, &mut file, options);
    }
    let mut first = [0; MAGIC];
    let length = usize::try_from(metadata.len()).unwrap_or(MAGIC).min(MAGIC);
    let first = first.get_mut(..length).unwrap_or_default();
    file.read_exact_at(first, 0).map_err(failed)?;
    match packing(first) {
        Ok(None) => Ok(file),
        Ok(Some(packing)) => Spool::new(label, options, LIMITS)?.unpack(packing, &mut file),
        Err(program) => Err(other_packing(label, program)),
    }
}

/// The tar file that comes from a stream, or what that unpacks to.
pub(super) fn stream(label: &str, stream: &mut dyn Read, options: &Options) -> Result<File, Error> {
    let mut first = Vec::with_capacity(MAGIC);
    let read = stream.take(MAGIC as u64).read_to_end(&mut first);
    read.map_err(|error| Error::of(label, error))?;
    let packing = packing(&first).map_err(|program| other_packing(label, program))?;
    let mut all = Cursor::new(first).chain(stream);
    let spool = Spool::new(label, options, LIMITS)?;
    match packing {
        Some(packing) => spool.unpack(packing, &mut all),
        None => spool.copy(&mut all),
    }
}

fn other_packing(label: &str, program: &str) -> Error {
    Error::of(label, format_args!("is compressed: unpack it first with {program}"))
}

/// How much an archive may become.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) unpacked: u64,
    pub(super) ratio: u64,
}

const LIMITS: Limits = Limits { unpacked: UNPACKED, ratio: RATIO };

/// A temporary file that is written.
pub(super) struct Spool<'a> {
    label: &'a str,
    file: File,
    written: u64,
    /// How many bytes of the archive were read for it.
    read: Cell<u64>,
    limits: Limits,
}

impl<'a> Spool<'a> {
    fn new(label: &'a str, options: &Options, limits: Limits) -> Result<Self, Error> {
        let Some(directory) = &options.temporary else {
            return Err(Error::of(
                label,
                "is compressed or a stream, which needs a directory for temporary files; unpack \
                 it to a file first, with gunzip or unzstd",
            ));
        };
        let file = tempfile::tempfile_in(directory).map_err(|error| {
            let place = directory.display();
            Error::of(label, format_args!("cannot be unpacked to {place}: {error}"))
        })?;
        Ok(Self { label, file, written: 0, read: Cell::new(0), limits })
    }

    fn copy(mut self, source: &mut dyn Read) -> Result<File, Error> {
        io::copy(source, &mut self.file).map_err(|error| Error::of(self.label, error))?;
        Ok(self.file)
    }

    fn unpack(mut self, packing: Packing, source: &mut dyn Read) -> Result<File, Error> {
        // The spool is written while its counter counts.
        let read = std::mem::take(&mut self.read);
        let mut source = BufReader::with_capacity(BUFFER, Counted { source, read: &read });
        match packing {
            Packing::Gzip => self.drain(&mut MultiGzDecoder::new(&mut source), &read)?,
            Packing::Zstd => self.frames(&mut source, &read)?,
        }
        Ok(self.file)
    }

    /// Writes all that comes from a decoder.
    fn drain(&mut self, decoder: &mut dyn Read, read: &Cell<u64>) -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match decoder.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(error)),
            };
            self.written += length as u64;
            let allowed = read.get().saturating_mul(self.limits.ratio);
            if self.written > allowed.saturating_add(self.limits.unpacked) {
                return Err(Error::of(
                    self.label,
                    format_args!(
                        "unpacks to more than {} times its size; if it is no bomb, unpack it \
                         first with gunzip or unzstd",
                        self.limits.ratio
                    ),
                ));
            }
            let bytes = buffer.get(..length).unwrap_or_default();
            self.file.write_all(bytes).map_err(|error| Error::of(self.label, error))?;
        }
    }

    /// Unpacks the frames of zstd: there may be several, some of which are skipped.
    fn frames(&mut self, source: &mut dyn Read, read: &Cell<u64>) -> Result<(), Error> {
        loop {
            let mut head = Vec::new();
            let magic = fill(source, &mut head, 4).map_err(|error| self.damaged(error))?;
            match (magic, head.as_slice()) {
                (_, []) => return Ok(()),
                (true, [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => {
                    skip(source).map_err(|error| self.damaged(error))?;
                }
                (true, [0x28, 0xb5, 0x2f, 0xfd]) => {
                    let window = window(source, &mut head).map_err(|error| self.damaged(error))?;
                    if window.is_none_or(|window| window > WINDOW) {
                        let why = "needs a dictionary or much memory: unpack it first with \
                                   unzstd --long=31";
                        return Err(Error::of(self.label, why));
                    }
                    let frame = Cursor::new(head).chain(&mut *source);
                    let mut decoder =
                        StreamingDecoder::new(frame).map_err(|error| self.damaged(error))?;
                    self.drain(&mut decoder, read)?;
                }
                _ => return Err(self.damaged("something else is behind it")),
            }
        }
    }

    fn damaged(&self, why: impl std::fmt::Display) -> Error {
        Error::of(
            self.label,
            format_args!("is damaged or cut off: after {} unpacked bytes: {why}", self.written),
        )
    }
}

/// Reads so many bytes more; `false` if there are not as many.
fn fill(source: &mut dyn Read, head: &mut Vec<u8>, length: u64) -> io::Result<bool> {
    Ok(source.take(length).read_to_end(head)? as u64 == length)
}

/// Skips the length and the content of a skippable frame.
fn skip(source: &mut dyn Read) -> io::Result<()> {
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let skipped = io::copy(&mut source.take(length), &mut io::sink())?;
    if skipped < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The size of a frame's window, whose header is read to `head` as far as needed (RFC 8878,
/// section 3.1.1.1); none, if it needs a dictionary.
fn window(source: &mut dyn Read, head: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut more = |length: usize| {
        let mut field = [0; 8];
        let bytes = field.get_mut(..length).unwrap_or_default();
        source.read_exact(bytes)?;
        head.extend_from_slice(bytes);
        io::Result::Ok(u64::from_le_bytes(field))
    };
    let descriptor = more(1)?;
    if descriptor & 3 != 0 {
        return Ok(None);
    }
    let single = descriptor & 0x20 != 0;
    if !single {
        let window = more(1)?;
        let base = 1 << (10 + (window >> 3));
        return Ok(Some(base + base / 8 * (window & 7)));
    }
    let size = more([1, 2, 4, 8][usize::try_from(descriptor >> 6).unwrap_or_default() & 3])?;
    Ok(Some(size))
}

/// Counts what is read.
struct Counted<'a> {
    source: &'a mut dyn Read,
    read: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.read.set(self.read.get() + length as u64);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Packing, Spool, WINDOW, window};
    use crate::Options;
    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::{Cursor, Read as _, Seek as _, Write as _};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(packing: Packing, bytes: &[u8], limits: Limits) -> Result<Vec<u8>, String> {
        let options = Options { temporary: Some(std::env::temp_dir()) };
        let spool = Spool::new("a.tar", &options, limits).unwrap();
        let mut file = spool.unpack(packing, &mut &*bytes).map_err(|error| error.to_string())?;
        let mut unpacked = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut unpacked).unwrap();
        Ok(unpacked)
    }

    const ROOM: Limits = Limits { unpacked: 1 << 20, ratio: 20 };

    #[test]
    fn several_members_and_frames_are_one_archive() {
        let (first, second) = (b"first ".repeat(100), b"second".repeat(100));
        let both = [first.as_slice(), &second].concat();
        let zstd = |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest);
        let skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc".as_slice();
        for (packing, packed) in [
            (Packing::Gzip, [gzip(&first), gzip(&second)].concat()),
            (Packing::Zstd, [zstd(&first), zstd(&second)].concat()),
            (Packing::Zstd, [skipped, &zstd(&first), skipped, &zstd(&second), skipped].concat()),
        ] {
            assert_eq!(unpack(packing, &packed, ROOM).as_ref(), Ok(&both));
            for end in 1..packed.len() {
                match unpack(packing, packed.get(..end).unwrap(), ROOM) {
                    Ok(part) => assert!(both.starts_with(&part) || part.is_empty()),
                    Err(error) => assert!(error.contains("damaged or cut off"), "{error}"),
                }
            }
        }
        let behind = [zstd(&first).as_slice(), b"more"].concat();
        assert!(unpack(Packing::Zstd, &behind, ROOM).is_err());
        let behind = [gzip(&first).as_slice(), b"more"].concat();
        assert!(unpack(Packing::Gzip, &behind, ROOM).is_err());
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0; 3 << 20];
        for (packing, packed) in [
            (Packing::Gzip, gzip(&zeros)),
            (Packing::Zstd, compress_to_vec(zeros.as_slice(), CompressionLevel::Fastest)),
        ] {
            let error = unpack(packing, &packed, ROOM).map(|all| all.len()).unwrap_err();
            assert!(error.starts_with("a.tar: unpacks to more than 20 times"), "{error}");
            let more = Limits { unpacked: 3 << 20, ratio: 0 };
            assert!(unpack(packing, &packed, more).is_ok_and(|all| all == zeros));
        }
    }

    #[test]
    fn windows_of_zstd_are_limited() {
        let large = b"\x28\xb5\x2f\xfd\x00\x90\x01\0\0".as_slice();
        let error = unpack(Packing::Zstd, large, ROOM).unwrap_err();
        assert!(error.contains("unzstd --long=31"), "{error}");
        for (header, expected) in [
            (b"\x00\x88".as_slice(), Some(WINDOW)),
            (b"\x00\x89", Some(WINDOW / 8 * 9)),
            (b"\x00\xff", Some((1 << 41) + 7 * (1 << 38))),
            (b"\x20\x05", Some(5)),
            (b"\xe0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
            (b"\x21\x05", None),
        ] {
            let mut head = Vec::new();
            assert_eq!(window(&mut Cursor::new(header), &mut head).unwrap(), expected);
        }
    }

    #[test]
    fn blocks_of_zstd_are_limited() {
        // 16 raw bytes, then a block of 2 KB whose 1000 sequences each copy 65539 bytes.
        let head = b"\x28\xb5\x2f\xfd\x00\x58\x80\0\0xxxxxxxxxxxxxxxx\xc5\x3e\0";
        let sequences = b"\0\x83\xe8\x54\0\0\x34";
        let packed = [head.as_slice(), sequences, &[0; 2000], &[1]].concat();
        let room = Limits { unpacked: 1 << 30, ratio: 200 };
        let error = unpack(Packing::Zstd, &packed, room).map(|all| all.len()).unwrap_err();
        assert!(error.contains("is damaged or cut off"), "{error}");
    }
}
