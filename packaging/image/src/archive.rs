//! Entries of archives, with nothing in them that depends on the machine.

use std::io::{self, Write};
use tar::{Builder, EntryType, Header};

/// An entry of the archive.
pub(crate) enum Entry<'a> {
    /// A directory with this mode, of this user and group.
    Directory(u32, u32),
    /// A file with this mode.
    File(u32, &'a [u8]),
    /// A symbolic link to this path.
    Link(&'a str),
}

/// Appends an entry. `created` is its time, in seconds since 1970.
pub(crate) fn append(
    archive: &mut Builder<impl Write>,
    path: &str,
    entry: &Entry<'_>,
    created: u64,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_mtime(created);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    let contents: &[u8] = match entry {
        Entry::Directory(mode, user) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_uid((*user).into());
            header.set_gid((*user).into());
            &[]
        }
        Entry::File(mode, contents) => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(contents.len() as u64);
            contents
        }
        Entry::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_link_name(target)?;
            &[]
        }
    };
    header.set_path(path)?;
    header.set_cksum();
    archive.append(&header, contents)
}
