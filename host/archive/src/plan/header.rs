//! Headers of tar members: ustar's, which every reader knows, and GNU's where ustar has no
//! room for a name or a size. They say nothing of the machine, the user or the time.

use tar::{EntryType, Header};

/// What tar files consist of.
pub(super) const BLOCK: u64 = SIZE as u64;

const SIZE: usize = 512;

/// The most bytes that [`blocks`] returns for a name of at most 1023 bytes: a header, and for a
/// long name another one and the blocks of the name.
pub(super) const LONGEST: u64 = 4 * BLOCK;

/// The largest size that ustar can say: 11 octal digits.
const USTAR_SIZE: u64 = 0o777_7777_7777;

/// What GNU tar calls the member that has the name of the next one.
const LONG_NAME: &str = "././@LongLink";

/// All blocks before the bytes of a member.
pub(super) fn blocks(name: &str, size: u64) -> Vec<u8> {
    let mut header = Header::new_ustar();
    if size <= USTAR_SIZE && header.set_path(name).is_ok() {
        return finished(header, EntryType::Regular, size).to_vec();
    }
    let mut header = Header::new_gnu();
    let mut blocks = Vec::new();
    if name.len() > header.as_old().name.len() {
        blocks = long_name(name);
    }
    write_name(&mut header, name);
    blocks.extend_from_slice(&finished(header, EntryType::Regular, size));
    blocks
}

/// How many zero bytes follow a member's bytes.
pub(super) fn padding(size: u64) -> usize {
    usize::try_from(size.wrapping_neg() % BLOCK).unwrap_or_default()
}

/// The member that has a long name, which ends with a zero byte, as its bytes.
fn long_name(name: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    write_name(&mut header, LONG_NAME);
    let size = name.len() as u64 + 1;
    let mut blocks = finished(header, EntryType::GNULongName, size).to_vec();
    blocks.extend_from_slice(name.as_bytes());
    blocks.push(0);
    blocks.resize(blocks.len().next_multiple_of(SIZE), 0);
    blocks
}

/// As much of a name as the header has room for.
fn write_name(header: &mut Header, name: &str) {
    let room = header.as_old_mut().name.iter_mut();
    room.zip(name.as_bytes()).for_each(|(place, byte)| *place = *byte);
}

fn finished(mut header: Header, kind: EntryType, size: u64) -> [u8; SIZE] {
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}
