//! The entries of a tar file. Nothing in one becomes a path, and whatever programs
//! understand in different ways is refused, so that nobody sees another archive than the
//! one that was looked at before.

use super::error::Error;
use super::files::Span;
use super::pax::Pax;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use tar::{EntryType, Header};

/// The bytes of a header.
pub(super) const SIZE: usize = 512;

const BLOCK: u64 = SIZE as u64;

/// The longest name.
///
/// Limit: bytes of the name of an entry; test: `hostile_archives_are_refused`.
const NAME: usize = 4096;

/// The largest extended header.
///
/// Limit: bytes of a PAX header; test: `hostile_archives_are_refused`.
const PAX: usize = 1024 * 1024;

/// What is in an archive, besides directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Its path, without `.` in it.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    File(Span),
    /// What Docker wrote before version 25 for a layer that is in the archive twice, and
    /// others still do: the name of the other member.
    Layer(String),
}

/// What headers say of the entry after them.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// The entries of a tar file, one after the other.
pub(super) struct Entries<'a> {
    archive: &'a str,
    file: &'a File,
    /// Where the next header is.
    at: u64,
    end: u64,
    count: u64,
    /// How many headers there may be.
    limit: u64,
    pending: Pending,
    /// The beginnings of the hashes of all names: a million names may be 4 GB.
    seen: HashSet<[u8; 16]>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(archive: &'a str, file: &'a File, limit: u64) -> Result<Self, Error> {
        let end = file.metadata().map_err(|error| Error::of(archive, error))?.len();
        let (pending, seen) = (Pending::default(), HashSet::new());
        Ok(Self { archive, file, at: 0, end, count: 0, limit, pending, seen })
    }

    /// The next entry that is no directory.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        while let Some(header) = self.header()? {
            let pending = std::mem::take(&mut self.pending);
            let kind = header.entry_type();
            if is_extension(kind) {
                self.pending = self.extend(pending, &header)?;
                continue;
            }
            let pax = pending.pax.unwrap_or_default();
            let name = match (pax.path, pending.name) {
                (Some(path), Some(name)) if path != name => {
                    return Err(Error::entry(self.archive, &path, "has two names"));
                }
                (path, name) => path.or(name).unwrap_or_else(|| header.path_bytes().into_owned()),
            };
            let refused = |why| Error::entry(self.archive, &name, why);
            if pax.sparse || kind.is_gnu_sparse() {
                return Err(refused("is sparse"));
            }
            let size = match pax.size {
                Some(size) => size,
                None => size_of(&header).ok_or_else(|| refused("has a damaged size"))?,
            };
            let path = clean(&name).map_err(refused)?;
            let span = self.take(&name, size)?;
            let link = pax.link.or(pending.link).or_else(|| Some(header.link_name_bytes()?.into()));
            let kind = sort(kind, &name, size).map_err(refused)?;
            let kind = match kind {
                Sorted::Directory => continue,
                _ if path.is_empty() => return Err(refused("has no name")),
                Sorted::File => Kind::File(span),
                Sorted::Link => match layer_link(&path, &link.unwrap_or_default()) {
                    Some(target) => Kind::Layer(target),
                    None => return Err(refused("is a symbolic link")),
                },
            };
            let hash = Sha256::digest(&path);
            if !hash.first_chunk().is_none_or(|hash| self.seen.insert(*hash)) {
                return Err(refused("is in the archive twice"));
            }
            return Ok(Some(Entry { name: path, kind }));
        }
        if self.pending.name.is_some() || self.pending.link.is_some() || self.pending.pax.is_some()
        {
            return Err(self.cut("the entry of its last header is missing"));
        }
        Ok(None)
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        // Some programs leave out the blocks of zeros at the end.
        if self.at == self.end && self.count > 0 {
            return Ok(None);
        }
        if self.count == 0 && self.end < BLOCK {
            return Err(Error::of(self.archive, "is no tar file"));
        }
        let Some(header) = self.block(self.at)? else {
            return Err(self.cut("a header is not complete"));
        };
        if is_zero(&header) {
            return match self.block(self.at + BLOCK)? {
                Some(next) if !is_zero(&next) => Err(Error::of(
                    self.archive,
                    format_args!("is damaged at byte {}: its end is in the middle", self.at),
                )),
                _ => Ok(None),
            };
        }
        if !is_valid(&header) {
            return Err(Error::of(
                self.archive,
                if self.count == 0 {
                    "is no tar file".to_owned()
                } else {
                    format!("is damaged at byte {}: there is no header", self.at)
                },
            ));
        }
        self.count += 1;
        if self.count > self.limit {
            let limit = self.limit;
            return Err(Error::of(self.archive, format_args!("has more than {limit} entries")));
        }
        Ok(Some(header))
    }

    fn block(&self, at: u64) -> Result<Option<Header>, Error> {
        if self.end.saturating_sub(at) < BLOCK {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let read = self.file.read_exact_at(header.as_mut_bytes(), at);
        read.map(|()| Some(header)).map_err(|error| Error::of(self.archive, error))
    }

    /// Goes on behind the bytes of an entry, whose header is the current one.
    fn take(&mut self, name: &[u8], size: u64) -> Result<Span, Error> {
        let offset = self.at + BLOCK;
        let next = size.checked_next_multiple_of(BLOCK).and_then(|size| offset.checked_add(size));
        let here = self.end - offset;
        match next {
            Some(next) if size <= here => {
                // The last block may lack its padding.
                self.at = next.min(self.end);
                Ok(Span { offset, size })
            }
            _ => {
                let why = format_args!(
                    "is cut off: it has {size} bytes, of which {here} are there; the archive \
                     ends at byte {}",
                    self.end
                );
                Err(Error::entry(self.archive, name, why))
            }
        }
    }

    /// Reads what a header says of the entry after it.
    fn extend(&mut self, mut pending: Pending, header: &Header) -> Result<Pending, Error> {
        let kind = header.entry_type();
        let name = header.path_bytes();
        let refused = |why| Error::entry(self.archive, &name, why);
        let size = size_of(header).ok_or_else(|| refused("has a damaged size"))?;
        let is_pax = kind.is_pax_local_extensions() || kind.is_pax_global_extensions();
        // A long name ends with a zero.
        let (limit, why) =
            if is_pax { (PAX, "has a PAX header that is too large") } else { (NAME + 1, LONG) };
        let archive = self.archive;
        let bytes = self.take(&name, size)?.read(self.file, limit);
        let bytes = bytes.map_err(|error| Error::entry(archive, &name, error))?;
        let bytes = bytes.ok_or_else(|| Error::entry(archive, &name, why))?;
        let refused = |why| Error::entry(archive, &name, why);
        let twice = if is_pax {
            let pax = Pax::parse(&bytes).map_err(refused)?;
            if kind.is_pax_global_extensions() {
                // Such as git's comments; a name or a size of all entries makes no sense.
                if pax.is_empty() {
                    return Ok(pending);
                }
                return Err(refused("has a PAX header that is for all entries"));
            }
            pending.pax.replace(pax).is_some()
        } else {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let text = bytes.get(..end).unwrap_or_default().to_vec();
            let is_name = kind.is_gnu_longname();
            let slot = if is_name { &mut pending.name } else { &mut pending.link };
            slot.replace(text).is_some()
        };
        if twice { Err(refused("has two headers of one kind")) } else { Ok(pending) }
    }

    fn cut(&self, why: &str) -> Error {
        Error::of(self.archive, format_args!("is cut off at byte {}: {why}", self.end))
    }
}

const LONG: &str = "has a name that is too long";

fn is_extension(kind: EntryType) -> bool {
    kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
}

/// Entries by what is done with them.
enum Sorted {
    File,
    Directory,
    Link,
}

fn sort(kind: EntryType, name: &[u8], size: u64) -> Result<Sorted, &'static str> {
    match kind {
        // Old programs mark directories by their names.
        EntryType::Regular | EntryType::Continuous if !name.ends_with(b"/") => Ok(Sorted::File),
        EntryType::Regular | EntryType::Continuous | EntryType::Directory if size == 0 => {
            Ok(Sorted::Directory)
        }
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => {
            Err("is a directory with content")
        }
        EntryType::Symlink if size == 0 => Ok(Sorted::Link),
        EntryType::Symlink => Err("is a symbolic link with content"),
        EntryType::Link => Err("is a hard link"),
        EntryType::Char | EntryType::Block => Err("is a device"),
        EntryType::Fifo => Err("is a named pipe"),
        _ => Err("is of a type that archives of images do not have"),
    }
}

/// A path without `.` and empty components.
fn clean(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.len() > NAME {
        return Err(LONG);
    }
    if name.contains(&0) {
        return Err("has a name with a zero in it");
    }
    if name.starts_with(b"/") {
        return Err("has an absolute path");
    }
    let mut parts = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("has a path that leads out of the archive"),
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// The member that `<id>/layer.tar` leads to by `../<other id>/layer.tar` or, as Skopeo and
/// Podman write, `../<digest>.tar`.
fn layer_link(name: &[u8], target: &[u8]) -> Option<String> {
    let is_id = |id: &[u8]| !id.is_empty() && id.iter().all(u8::is_ascii_alphanumeric);
    let target = target.strip_prefix(b"../")?;
    let (id, other) = (name.strip_suffix(LAYER)?, target.strip_suffix(LAYER));
    let other = other.or(target.strip_suffix(b".tar"))?;
    (is_id(id) && is_id(other)).then(|| String::from_utf8(target.to_vec()).ok())?
}

/// How Docker called layers, after their ids.
const LAYER: &[u8] = b"/layer.tar";

/// The size of an entry: octal digits, or binary as GNU writes large ones.
fn size_of(header: &Header) -> Option<u64> {
    let field = header.as_old().size;
    if let [0x80, 0, 0, 0, binary @ ..] = field {
        return Some(u64::from_be_bytes(binary));
    }
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let digits = field.get(..end).unwrap_or_default().trim_ascii();
    digits.iter().try_fold(0, |all: u64, digit| match digit {
        b'0'..=b'7' => all.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Whether a tar file begins like this.
pub(super) fn begins(beginning: &[u8]) -> bool {
    let mut header = Header::new_old();
    let Some(block) = beginning.get(..SIZE) else { return false };
    header.as_mut_bytes().copy_from_slice(block);
    !is_zero(&header) && is_valid(&header)
}

fn is_zero(header: &Header) -> bool {
    header.as_bytes().iter().all(|byte| *byte == 0)
}

/// Whether a header has its checksum, for which its own field counts as spaces.
fn is_valid(header: &Header) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let own = header.as_old().cksum;
    let expected = sum(header.as_bytes()) - sum(&own) + 8 * u32::from(b' ');
    header.cksum().is_ok_and(|stated| stated == expected)
}
