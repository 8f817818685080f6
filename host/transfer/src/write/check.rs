//! How far a file agrees with a plan.

use super::Writing;
use roadstead_archive::{Body, Member, Plan, Volume};
use roadstead_oci::Digest;
use roadstead_operator::hash::Hash;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

/// The bytes of a file that are compared at a time.
///
/// Limit: bytes of an unfinished archive in memory; test: none, it is the size of a buffer.
const BUFFER: usize = 256 * 1024;

/// How far a file agrees with a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Agreement {
    /// How many members.
    pub(super) members: usize,
    /// How many bytes these take.
    pub(super) bytes: u64,
}

/// Whether a file is this volume. It was synced before it got its name, so that contents are
/// not read again: its inventory and its links say which they are.
///
/// # Errors
/// When it cannot be read.
pub(super) fn is_written(volume: &Volume, path: &Path) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != volume.size() {
        return Ok(false);
    }
    for member in &volume.members {
        if !is_next(&mut file, &member.header())? {
            return Ok(false);
        }
        match &member.body {
            Body::Bytes(bytes) if !is_next(&mut file, bytes)? => return Ok(false),
            Body::Bytes(_) => {}
            Body::Content { .. } => skip(&mut file, member.size)?,
        }
        skip(&mut file, member.padding() as u64)?;
    }
    is_next(&mut file, Plan::END)
}

fn skip(file: &mut File, bytes: u64) -> io::Result<()> {
    let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
    file.seek(SeekFrom::Current(bytes)).map(drop)
}

/// How far a file agrees with a volume: whole members, whose contents have their digests.
///
/// # Errors
/// When it cannot be read.
pub(super) fn agreement<R: roadstead_operator::registry::Registry>(
    volume: &Volume,
    writing: &Writing<'_, R>,
    file: &mut File,
) -> io::Result<Agreement> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut kept = Agreement::default();
    for member in &volume.members {
        let expected = writing.expected(member).map_err(io::Error::other)?;
        let agrees = is_next(&mut file, &member.header())?
            && match (&member.body, expected) {
                (Body::Bytes(bytes), _) => is_next(&mut file, bytes)?,
                (Body::Content { .. }, Some(digest)) => has(&mut file, member, Hash::of(digest))?,
                (Body::Content { .. }, None) => false,
            }
            && is_next(&mut file, &vec![0; member.padding()])?;
        if !agrees {
            break;
        }
        kept = Agreement { members: kept.members + 1, bytes: kept.bytes + member.stored() };
    }
    Ok(kept)
}

/// Whether a file, which no symbolic link leads to, has a member's content.
pub(super) fn is_content(path: &Path, member: &Member, digest: Digest) -> bool {
    let known = std::fs::symlink_metadata(path);
    if !known.is_ok_and(|it| it.is_file() && it.len() == member.size) {
        return false;
    }
    let file = File::open(path).map(|file| BufReader::with_capacity(BUFFER, file));
    file.is_ok_and(|mut file| has(&mut file, member, Hash::of(digest)).unwrap_or(false))
}

/// Whether these bytes come next.
fn is_next(file: &mut impl Read, expected: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; expected.len()];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes == expected),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a member's content comes next.
fn has(file: &mut impl Read, member: &Member, mut hash: Hash) -> io::Result<bool> {
    let (mut left, mut buffer) = (member.size, vec![0; BUFFER]);
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let piece = buffer.get_mut(..length).unwrap_or_default();
        match file.read_exact(piece) {
            Ok(()) => hash.update(piece),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
        left -= length as u64;
    }
    Ok(hash.verify().is_ok())
}
