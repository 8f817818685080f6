//! The entries of a tar archive, of which only regular files matter: their names, and
//! where their bytes are. Understands ustar, and the long names and large sizes of GNU and
//! PAX.

use super::read_at;
use std::fs::File;
use std::io;

const BLOCK: u64 = 512;

/// A block in memory.
type Block = [u8; 512];

/// The most entries that are read.
///
/// Limit: entries of an archive that `rescue` reads; test: none, it would take an archive of 512 MB.
const ENTRIES: usize = 1_000_000;

/// The longest name, or headers of PAX, in bytes.
///
/// Limit: bytes of a name in an archive; test: `damaged_archives_end_where_the_damage_is`.
const NAME: u64 = 64 * 1024;

/// A regular file in an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its bytes begin.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) size: u64,
}

/// Why an archive was not read to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not an archive at all.
    NoArchive,
    /// It is damaged from this offset on.
    Damaged(u64),
    /// It cannot be read.
    Failed(io::Error),
}

/// The headers of an archive, one after the other.
pub(super) struct Entries<'a> {
    file: &'a File,
    /// Where the next header is.
    at: u64,
    end: u64,
    count: usize,
    /// What headers before an entry say of it.
    name: Option<String>,
    size: Option<u64>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(file: &'a File, end: u64) -> Self {
        Self { file, at: 0, end, count: 0, name: None, size: None }
    }

    /// The next regular file.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Stop> {
        loop {
            // Some programs leave out the blocks of zeros at the end.
            if self.at == self.end && self.count > 0 {
                return Ok(None);
            }
            let start = self.at;
            let damaged = if start == 0 { Stop::NoArchive } else { Stop::Damaged(start) };
            if self.count == ENTRIES || self.end - start < BLOCK {
                return Err(damaged);
            }
            let mut header: Block = [0; 512];
            read_at(self.file, &mut header, start).map_err(Stop::Failed)?;
            if header == [0; 512] && self.count > 0 {
                return Ok(None);
            }
            let Some(length) = valid(&header).then(|| number(field(&header, 124, 12))).flatten()
            else {
                return Err(damaged);
            };
            self.count += 1;
            let kind = header[156];
            let extra = matches!(kind, b'x' | b'L' | b'g' | b'K');
            let size = if extra { length } else { self.size.take().unwrap_or(length) };
            let offset = start + BLOCK;
            let next =
                size.checked_next_multiple_of(BLOCK).and_then(|size| offset.checked_add(size));
            // The last block may lack its padding.
            let Some(next) = next.filter(|_| size <= self.end - offset) else {
                return Err(Stop::Damaged(start));
            };
            self.at = next.min(self.end);
            match kind {
                b'L' => self.name = Some(self.text(offset, size, start)?),
                b'x' => {
                    let text = self.text(offset, size, start)?;
                    self.extend(&text);
                }
                b'g' | b'K' => {}
                b'0' | 0 | b'7' => {
                    let name = self.name.take().unwrap_or_else(|| name(&header));
                    return Ok(Some(Entry { name, offset, size }));
                }
                // Links, directories and devices: nothing is taken from where they lead.
                _ => self.name = None,
            }
        }
    }

    fn text(&self, offset: u64, size: u64, start: u64) -> Result<String, Stop> {
        let size = usize::try_from(size.min(NAME + 1)).unwrap_or_default();
        if size as u64 > NAME {
            return Err(Stop::Damaged(start));
        }
        let mut bytes = vec![0; size];
        read_at(self.file, &mut bytes, offset).map_err(Stop::Failed)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }

    /// What a header of PAX says: lines `<length> <key>=<value>`.
    fn extend(&mut self, text: &str) {
        for line in text.lines() {
            let pair = line.split_once(' ').and_then(|(_, pair)| pair.split_once('='));
            match pair {
                Some(("path", name)) => self.name = Some(name.to_owned()),
                Some(("size", size)) => self.size = size.parse().ok(),
                _ => {}
            }
        }
    }
}

fn field(header: &[u8], start: usize, length: usize) -> &[u8] {
    header.get(start..start + length).unwrap_or_default()
}

/// The text of a field, which ends at the first zero.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn name(header: &[u8]) -> String {
    let name = text(field(header, 0, 100));
    let prefix = if field(header, 257, 6) == b"ustar\0" {
        text(field(header, 345, 155))
    } else {
        String::new()
    };
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

/// A number: octal digits, or binary as GNU writes large ones.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((&first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        return rest.iter().try_fold(u64::from(first & 0x7f), |all, byte| {
            all.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// Whether a header has its checksum, for which its own field counts as spaces.
fn valid(header: &Block) -> bool {
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = field(header, 148, 8).iter().map(|byte| u64::from(*byte)).sum();
    number(field(header, 148, 8)) == Some(sum - own + 8 * u64::from(b' '))
}
