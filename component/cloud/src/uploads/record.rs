//! What is stored of an upload session: one object, `<session>/record`.
//!
//! The first line has the number of bytes and, if all of them are stored as a
//! blob already, its digest; the second line is [`Header`] as JSON; then come the
//! bytes that are in no part yet. Parts are named one by one: what the record
//! names counts, whatever else was sent.
//!
//! A record is created or replaced on the condition that it is still the one that
//! was read: of two requests that append at once, the second finds it changed. It
//! has a mark of the write that made it, by which a request knows its own record:
//! a proxy may answer 503 after the store has written, and the repeated write then
//! finds its condition broken by the first.
//! Where a store knows no conditions, the last write wins, and names its own parts
//! and bytes: what is committed is what was hashed.
//!
//! The place of a record may also hold [`GONE`]: the session has ended. A session
//! without a record would be taken for one without bytes; see
//! [`roadstead_storage::SessionSecret`].

use crate::error::Error;
use crate::multipart::Multipart;
use bytes::Bytes;
use object_store::PutPayload;
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::hash_state;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What is in the place of a record whose session has ended.
pub(super) const GONE: &[u8] = b"gone\n";

/// The longest beginning of a record, without its tail, in bytes: it names as many
/// parts as an object can have.
///
/// Limit: bytes of an upload's record; test: none, a store refuses so many parts.
pub(super) const HEAD_LIMIT: u64 = 1024 * 1024;

/// The longest first line of a record, in bytes.
///
/// Limit: bytes of the first line of a record; test: none, it is the registry's own.
pub(super) const FIRST_LINE_LIMIT: u64 = 256;

/// The bytes of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// How many there are.
    pub(crate) size: u64,
    /// Their hash.
    pub(crate) sha256: Sha256,
    /// Those that were sent in parts.
    pub(crate) multipart: Option<Multipart>,
    /// Those that were not.
    pub(crate) tail: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// Unknown to records of earlier versions, which have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multipart: Option<Multipart>,
}

/// A record to be written.
#[derive(Clone, Debug)]
pub(super) struct PrintedRecord {
    /// The object.
    pub(super) payload: PutPayload,
    /// The mark of this write.
    pub(super) mark: String,
}

/// The first line of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FirstLine {
    /// How many bytes the session has.
    pub(super) size: u64,
    /// The blob that all of them are stored as.
    pub(super) blob: Option<Digest>,
}

impl Record {
    /// The digest of the bytes.
    pub(crate) fn digest(&self) -> Result<Digest, Error> {
        Digest::from_bytes(Algorithm::Sha256, &self.sha256.clone().finalize())
            .ok_or_else(|| Error::failed("a hash of another length"))
    }

    /// The record as an object; the bytes are not copied.
    pub(super) fn print(&self) -> Result<PrintedRecord, Error> {
        self.print_with("-", self.tail.clone())
    }

    /// The same for bytes that are stored as a blob.
    pub(super) fn print_blob(&self, digest: &Digest) -> Result<PrintedRecord, Error> {
        self.print_with(digest.as_str(), Bytes::new())
    }

    fn print_with(&self, blob: &str, tail: Bytes) -> Result<PrintedRecord, Error> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let (sha256, multipart) = (hash_state::print(&self.sha256), self.multipart.clone());
        let header = Header { mark: Some(mark.clone()), sha256, multipart };
        let json =
            serde_json::to_string(&header).map_err(|error| Error::failed(error.to_string()))?;
        let head = Bytes::from(format!("{} {blob}\n{json}\n", self.size));
        Ok(PrintedRecord { payload: PutPayload::from_iter([head, tail]), mark })
    }

    /// Parses a record, without the blob that its first line may name.
    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        let FirstLine { size, .. } = FirstLine::parse(bytes)?;
        let mut lines = bytes.splitn(3, |&byte| byte == b'\n').skip(1);
        let header: Header = serde_json::from_slice(lines.next()?).ok()?;
        let tail = bytes.slice_ref(lines.next()?);
        let sha256 = hash_state::parse(&header.sha256)?;
        Some(Self { size, sha256, multipart: header.multipart, tail })
    }
}

/// The mark of the write that made a record, whose tail may be missing.
pub(super) fn mark_of(bytes: &[u8]) -> Option<String> {
    header(bytes)?.mark
}

/// The multipart upload that a record names, whose tail may be missing.
pub(super) fn multipart_of(bytes: &[u8]) -> Option<Multipart> {
    header(bytes)?.multipart
}

fn header(bytes: &[u8]) -> Option<Header> {
    let line = bytes.split(|&byte| byte == b'\n').nth(1)?;
    serde_json::from_slice(line).ok()
}

impl FirstLine {
    /// Parses the first line of a record, of which the rest may be missing.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let line = bytes.split(|&byte| byte == b'\n').next()?;
        let (size, blob) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let blob = match blob {
            "-" => None,
            digest => Some(Digest::parse(digest).ok()?),
        };
        Some(Self { size: size.parse().ok()?, blob })
    }
}

#[cfg(test)]
mod tests {
    use super::{FirstLine, GONE, Multipart, PrintedRecord, Record, mark_of, multipart_of};
    use bytes::Bytes;
    use roadstead_oci::RepositoryName;
    use roadstead_storage::{Key, SessionFile, UploadSession};
    use sha2::Digest as _;

    fn record() -> Record {
        let name = RepositoryName::parse("a/b").unwrap();
        let session = UploadSession::from_random(name, [7; 16]);
        let mut record = Record::default();
        record.sha256.update(b"some\nbytes");
        record.size = 10;
        record.tail = Bytes::from_static(b"\nbytes\n\xff");
        record.multipart = Some(Multipart {
            key: Key::SessionObject(session, SessionFile::parts(0x1f)),
            id: "an \"id\"\n".to_owned(),
            equal: None,
            parts: vec!["\"etag\"".to_owned()],
        });
        record
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let record = record();
        let PrintedRecord { payload, mark } = record.print().unwrap();
        let printed = Bytes::from(payload);
        let read = Record::parse(&printed).unwrap();
        assert_eq!((read.size, &read.tail), (10, &record.tail));
        assert_eq!(read.multipart, record.multipart);
        assert_eq!(read.digest(), record.digest());
        assert_eq!(FirstLine::parse(&printed), Some(FirstLine { size: 10, blob: None }));
        assert_eq!(mark_of(&printed), Some(mark.clone()));
        assert_eq!(multipart_of(&printed), record.multipart);
        // Each write has a mark of its own.
        assert_ne!(record.print().unwrap().mark, mark);
        let digest = record.digest().unwrap();
        let PrintedRecord { payload, mark } = record.print_blob(&digest).unwrap();
        let printed = Bytes::from(payload);
        assert_eq!(mark_of(&printed), Some(mark));
        let line = FirstLine { size: 10, blob: Some(digest) };
        assert_eq!(FirstLine::parse(&printed[..256]), Some(line));
        assert_eq!(Record::parse(&printed).unwrap().tail, "");
        assert!(Record::parse(&Bytes::from_static(GONE)).is_none());
    }

    /// A record as version 0.1 wrote it, and a mark.
    #[test]
    fn records_keep_their_form() {
        let printed = Bytes::from(record().print().unwrap().payload);
        let printed = String::from_utf8_lossy(&printed);
        let (line, rest) = printed.split_once('\n').unwrap();
        let (json, tail) = rest.split_once('\n').unwrap();
        assert_eq!((line, tail), ("10 -", "\nbytes\n\u{fffd}"));
        let header: serde_json::Value = serde_json::from_str(json).unwrap();
        let directory = "docker/registry/v2/repositories/a/b/_uploads";
        let expected = serde_json::json!({
            "key": format!("{directory}/07070707-0707-4707-8707-070707070707/data-{:032x}", 0x1f),
            "id": "an \"id\"\n",
            "parts": ["\"etag\""],
        });
        assert_eq!(header["multipart"], expected);
        assert!(header["sha256"].is_string());
        assert_eq!(header["mark"].as_str().unwrap().len(), 32);
        assert_eq!(header.as_object().unwrap().len(), 3);
    }
}
