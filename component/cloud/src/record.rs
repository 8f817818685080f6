//! What is stored of an upload session: one object, `<session>/record`.
//!
//! Its first line has the session's length and, perhaps, the digest of all its
//! bytes; the second is [`Header`] as JSON; the rest are the bytes that are in
//! no part yet. The parts are named one by one, so what counts is what the
//! record names, whatever else was written meanwhile.
//!
//! A record is created or replaced under the condition that it is still the one
//! that was read: of two requests that append at once, the second finds it
//! changed. Where a store knows no conditions, the last one counts, and it
//! names its own parts and bytes: what is committed is what was hashed.
//!
//! Its place may also hold [`GONE`]: a session that has ended. Nothing then
//! makes it one that has no bytes yet; see [`super::identifiers`].

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use roadstead_directory::hash_state;
use roadstead_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What is in the place of a record whose session has ended.
pub(super) const GONE: &[u8] = b"gone\n";

/// How many bytes the first line of a record has at most.
pub(super) const FIRST_LINE: u64 = 256;

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// How many bytes it has.
    pub(super) offset: u64,
    /// The hash of these bytes.
    pub(super) sha256: Sha256,
    /// The digest under which all of them are stored already, as a blob that
    /// nobody can see yet.
    pub(super) whole: Option<Digest>,
    /// Those that are in parts.
    pub(super) multipart: Option<Multipart>,
    /// Those that are not.
    pub(super) tail: Bytes,
}

/// A multipart upload.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Multipart {
    /// The object that the parts become.
    pub(super) key: String,
    /// The store's name for it.
    pub(super) id: String,
    /// The size of all parts, if they must be equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) equal: Option<u64>,
    /// The store's names for the parts, in their order.
    pub(super) parts: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multipart: Option<Multipart>,
}

/// A record's first line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Summary {
    pub(super) offset: u64,
    pub(super) whole: Option<Digest>,
}

impl Record {
    /// A session without bytes.
    pub(super) fn new() -> Self {
        let (sha256, tail) = (Sha256::new(), Bytes::new());
        Self { offset: 0, sha256, whole: None, multipart: None, tail }
    }

    /// The digest of its bytes.
    pub(super) fn digest(&self) -> Option<Digest> {
        Digest::from_bytes(Algorithm::Sha256, &self.sha256.clone().finalize())
    }

    /// As an object; the bytes are not copied.
    pub(super) fn print(&self) -> serde_json::Result<PutPayload> {
        let header =
            Header { sha256: hash_state::print(&self.sha256), multipart: self.multipart.clone() };
        let json = serde_json::to_string(&header)?;
        let whole = self.whole.as_ref().map_or("-", Digest::as_str);
        let head = format!("{} {whole}\n{json}\n", self.offset);
        Ok(PutPayload::from_iter([Bytes::from(head), self.tail.clone()]))
    }

    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let Summary { offset, whole } = Summary::parse(bytes)?;
        let mut lines = bytes.splitn(3, |&byte| byte == b'\n').skip(1);
        let header: Header = serde_json::from_slice(lines.next()?).ok()?;
        let tail = bytes.slice_ref(lines.next()?);
        let sha256 = hash_state::parse(&header.sha256)?;
        Some(Self { offset, sha256, whole, multipart: header.multipart, tail })
    }
}

impl Summary {
    /// Reads the first line of a record; what follows may be missing.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|&byte| byte == b'\n').next()?;
        let (offset, whole) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let whole = match whole {
            "-" => None,
            digest => Some(Digest::parse(digest).ok()?),
        };
        Some(Self { offset: offset.parse().ok()?, whole })
    }
}

/// Where the record of a session is.
pub(super) fn key(session: &Path) -> Path {
    session.clone().join("record")
}

#[cfg(test)]
mod tests {
    use super::{GONE, Multipart, Record, Summary};
    use bytes::Bytes;
    use sha2::Digest as _;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut record = Record::new();
        record.sha256.update(b"some\nbytes");
        record.offset = 10;
        record.tail = Bytes::from_static(b"\nbytes\n\xff");
        record.multipart = Some(Multipart {
            key: "r/data".to_owned(),
            id: "an \"id\"\n".to_owned(),
            equal: None,
            parts: vec!["\"etag\"".to_owned()],
        });
        let read = Record::parse(&record.print().unwrap().into()).unwrap();
        assert_eq!((read.offset, &read.tail), (10, &record.tail));
        assert_eq!(read.multipart, record.multipart);
        assert_eq!(read.digest(), record.digest());
        record.whole = record.digest();
        let printed = Bytes::from(record.print().unwrap());
        let summary = Summary { offset: 10, whole: record.digest() };
        assert_eq!(Summary::parse(&printed[..256]).unwrap(), summary);
        assert!(Record::parse(&Bytes::from_static(GONE)).is_none());
    }
}
