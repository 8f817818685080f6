//! Every operation on a directory as one value, and what answers it.
//!
//! The component asks for operations; a native host that holds the directory
//! answers them over the host store's HTTP dialect, and over a mounted
//! directory the component answers itself. The values are the same, and so is
//! [`Directory::execute`], so both adapters follow one set of rules.
//!
//! # The host store's dialect
//! A request is `PUT http://<authority>/` with the operation as JSON in the
//! header [`OPERATION_HEADER`], and the bytes that go with it as its body. The
//! response has the status 200 and the JSON of `Result<Reply, Fault>` in the
//! header [`REPLY_HEADER`], or in the body where the header says `body`
//! because the JSON is longer than [`REPLY_HEADER_LIMIT`]; otherwise the body
//! is the object that was read. Values up to [`VALUE_LIMIT`] travel within
//! the reply, since a body costs more than a header.

use crate::{Appender, Directory, Error, Key, Metadata, Names, NamesQuery, WriteMode};
use roadstead_oci::{ByteRange, Digest};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// Header of a request that carries its [`Operation`].
pub const OPERATION_HEADER: &str = "store-operation";
/// Header of a response that carries its `Result<Reply, Fault>`.
pub const REPLY_HEADER: &str = "store-reply";
/// Longest reply in a header, in bytes.
pub const REPLY_HEADER_LIMIT: usize = 8 * 1024;
/// Largest value that travels within a reply, in bytes.
pub const VALUE_LIMIT: u64 = 1024;
/// Largest object that [`Operation::Write`] takes, in bytes: a manifest of
/// the largest size, and room.
pub const WRITE_LIMIT: usize = 8 * 1024 * 1024;
/// Most entries of one list.
pub const LIST_LIMIT: usize = 10_000;

/// Most objects that are written after a commit.
pub const LINKS_LIMIT: usize = 8;

/// An operation on a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The object, or a part of it, and the values of small objects that
    /// belong to it.
    Read {
        /// The object.
        key: Key,
        /// The part of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        range: Option<ByteRange>,
        /// Objects of at most [`VALUE_LIMIT`] bytes of text.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        companions: Vec<Key>,
    },
    /// The same without the object's bytes.
    Stat {
        /// The object.
        key: Key,
        /// As in [`Operation::Read`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        companions: Vec<Key>,
    },
    /// Writes an object of at most [`WRITE_LIMIT`] bytes: the request's body.
    Write {
        /// The object.
        key: Key,
        /// Whether it may exist.
        mode: WriteMode,
    },
    /// Copies an object.
    Copy {
        /// From where.
        from: Key,
        /// To where.
        to: Key,
        /// Whether the target may exist.
        mode: WriteMode,
    },
    /// Deletes an object.
    Delete {
        /// The object.
        key: Key,
        /// Only if this is its value; see [`Directory::delete_value`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// [`Directory::list`].
    List {
        /// Whole segments that the keys start with.
        prefix: Option<Key>,
        /// The key after which the list begins.
        after: Option<String>,
        /// At most [`LIST_LIMIT`].
        limit: usize,
    },
    /// [`Directory::names`], at most [`LIST_LIMIT`] of them.
    Names(NamesQuery),
    /// [`Directory::begin`].
    Begin {
        /// The new session.
        session: Key,
    },
    /// [`Directory::session`].
    Status {
        /// The session.
        session: Key,
    },
    /// Appends the request's body to a session. If the body breaks off, what
    /// came counts and the answer is [`Fault::Aborted`].
    Append {
        /// The session.
        session: Key,
        /// Where the session must end before.
        at: Option<u64>,
        /// How many bytes must come; else nothing counts.
        length: Option<u64>,
    },
    /// Appends the request's body, which may be empty, and then does
    /// [`Directory::commit`].
    Commit {
        /// The session.
        session: Key,
        /// Where the session must end before.
        at: Option<u64>,
        /// The object that the bytes become.
        to: Key,
        /// The digest that they must have.
        digest: Digest,
        /// What is written after it, in this order: what makes it visible.
        /// At most [`LINKS_LIMIT`].
        links: Vec<(Key, String)>,
    },
    /// [`Directory::discard`].
    Discard {
        /// The session.
        session: Key,
    },
}

/// What answers an operation that succeeded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// There is nothing to say.
    Done,
    /// How many bytes a session (or, committed, its object) has.
    Length(u64),
    /// Of [`Operation::Read`] and [`Operation::Stat`].
    Object(Object),
    /// Of [`Operation::Names`].
    Names(Names),
    /// Of [`Operation::List`].
    List(Vec<Listed>),
}

/// An object that was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Object {
    /// Size of the whole object, in bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified: u64,
    /// The part that is sent.
    pub range: Range<u64>,
    /// The values of the companions, in their order; `None` where there is no
    /// such object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Option<String>>,
    /// The part itself, if it is text of at most [`VALUE_LIMIT`] bytes; else
    /// it is the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// An object of a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified: u64,
}

/// What answers an operation that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// [`Error::NotFound`].
    NotFound,
    /// [`Error::AlreadyExists`].
    AlreadyExists,
    /// [`Error::Offset`].
    Offset(u64),
    /// [`Error::Busy`].
    Busy,
    /// [`Error::DigestMismatch`], with the digest that the bytes have.
    DigestMismatch(Digest),
    /// No byte of the range is in the object, which has this size.
    Range(u64),
    /// The body broke off before its end.
    Aborted,
    /// The body had this length instead of the one announced.
    BodyLength(u64),
    /// The operation or its body is not as it must be: a defect of the
    /// component.
    Invalid(String),
    /// The file system failed; the text is for the log, not for clients.
    Io(String),
}

/// An [`Operation`], or its answer, as JSON that a header can hold: JSON escapes
/// all control characters but DEL, which no header may have.
pub fn header_json(value: &impl Serialize) -> Vec<u8> {
    const DEL: u8 = 0x7f;
    // No value of these types fails to be JSON.
    let json = serde_json::to_vec(value).unwrap_or_default();
    if !json.contains(&DEL) {
        return json;
    }
    let escape = |byte: &u8| if *byte == DEL { b"\\u007f".to_vec() } else { vec![*byte] };
    json.iter().flat_map(escape).collect()
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::NotFound,
            Error::AlreadyExists => Self::AlreadyExists,
            Error::Offset { expected } => Self::Offset(expected),
            Error::Busy => Self::Busy,
            Error::DigestMismatch { actual } => Self::DigestMismatch(actual),
            Error::Io(error) => Self::Io(error.to_string()),
        }
    }
}

/// What [`Directory::execute`] gives: the reply and, for
/// [`Operation::Read`], the file, placed at the part's first byte, unless the
/// reply holds the value.
pub type Executed = (Reply, Option<File>);

impl Directory {
    /// Carries out every operation whose bytes are at hand. `payload` is what
    /// [`Operation::Write`] writes.
    ///
    /// [`Operation::Append`] and [`Operation::Commit`] are carried out with an
    /// empty body: callers with a stream use [`Directory::append`].
    pub fn execute(&self, operation: &Operation, payload: &[u8]) -> Result<Executed, Fault> {
        let reply = match operation {
            Operation::Read { key, range, companions } => {
                return self.read_part(key, *range, companions);
            }
            Operation::Stat { key, companions } => {
                let metadata = self.stat(key)?;
                Reply::Object(self.object(metadata, 0..metadata.size, companions)?)
            }
            Operation::Write { key, mode } => {
                self.write(key, payload, *mode)?;
                Reply::Done
            }
            Operation::Copy { from, to, mode } => {
                self.copy(from, to, *mode)?;
                Reply::Done
            }
            Operation::Delete { key, value } => {
                match value {
                    Some(value) => drop(self.delete_value(key, value)?),
                    None => self.delete(key)?,
                }
                Reply::Done
            }
            Operation::List { prefix, after, limit } => {
                let limit = (*limit).min(LIST_LIMIT);
                let found = self.list(prefix.as_ref(), after.as_deref(), limit)?;
                let listed = found.into_iter().map(|(key, metadata)| Listed {
                    key,
                    size: metadata.size,
                    modified: nanoseconds(metadata.modified),
                });
                Reply::List(listed.collect())
            }
            Operation::Names(query) => {
                let limit = query.limit.min(LIST_LIMIT);
                Reply::Names(self.names(&NamesQuery { limit, ..query.clone() })?)
            }
            Operation::Begin { session } => {
                self.begin(session)?;
                Reply::Done
            }
            Operation::Status { session } => Reply::Length(self.session(session)?),
            Operation::Append { session, at, .. } => {
                Reply::Length(self.append(session, *at)?.finish(self)?)
            }
            Operation::Commit { session, at, to, digest, links } => {
                let appender = self.append(session, *at)?;
                Reply::Length(self.commit_appended(session, appender, to, digest, links)?)
            }
            Operation::Discard { session } => {
                self.discard(session)?;
                Reply::Done
            }
        };
        Ok((reply, None))
    }

    /// The same with the bytes that were read, at most [`WRITE_LIMIT`].
    pub fn fetch(&self, operation: &Operation, payload: &[u8]) -> Result<(Reply, Vec<u8>), Fault> {
        let (reply, file) = self.execute(operation, payload)?;
        let mut bytes = Vec::new();
        match (&reply, file) {
            (Reply::Object(object), Some(file)) => {
                let length = object.range.end - object.range.start;
                let limit = length.min(WRITE_LIMIT as u64);
                file.take(limit).read_to_end(&mut bytes).map_err(Error::Io)?;
            }
            (Reply::Object(Object { value: Some(value), .. }), None) => {
                bytes.extend_from_slice(value.as_bytes());
            }
            _ => {}
        }
        Ok((reply, bytes))
    }

    /// Starts the session's part of an operation with a stream of bytes,
    /// [`Operation::Append`] or [`Operation::Commit`].
    pub fn start_body(&self, operation: &Operation) -> Result<Appender, Fault> {
        match operation {
            Operation::Append { session, at, .. } | Operation::Commit { session, at, .. } => {
                Ok(self.append(session, *at)?)
            }
            other => Err(Fault::Invalid(format!("{other:?} takes no stream"))),
        }
    }

    /// Ends an operation whose bytes the appender has. `aborted` says that
    /// more should have come.
    pub fn end_body(
        &self,
        operation: &Operation,
        appender: Appender,
        aborted: bool,
    ) -> Result<Reply, Fault> {
        if aborted {
            appender.finish(self)?;
            return Err(Fault::Aborted);
        }
        match operation {
            Operation::Append { length, .. } => match (*length, appender.appended()) {
                (Some(announced), came) if announced != came => Err(Fault::BodyLength(came)),
                _ => Ok(Reply::Length(appender.finish(self)?)),
            },
            Operation::Commit { session, to, digest, links, .. } => {
                Ok(Reply::Length(self.commit_appended(session, appender, to, digest, links)?))
            }
            other => Err(Fault::Invalid(format!("{other:?} takes no stream"))),
        }
    }

    fn read_part(
        &self,
        key: &Key,
        range: Option<ByteRange>,
        companions: &[Key],
    ) -> Result<Executed, Fault> {
        let (metadata, mut file) = self.read(key)?;
        let range = match range {
            // Of nothing there is no part, and all of it is nothing.
            Some(range) if metadata.size > 0 => {
                range.resolve(metadata.size).ok_or(Fault::Range(metadata.size))?
            }
            _ => 0..metadata.size,
        };
        let mut object = self.object(metadata, range.clone(), companions)?;
        file.seek(SeekFrom::Start(range.start)).map_err(Error::Io)?;
        let length = range.end - range.start;
        if length <= VALUE_LIMIT {
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.by_ref().take(length).read_to_end(&mut bytes).map_err(Error::Io)?;
            match String::from_utf8(bytes) {
                Ok(value) => {
                    object.value = Some(value);
                    return Ok((Reply::Object(object), None));
                }
                Err(_) => {
                    file.seek(SeekFrom::Start(range.start)).map_err(Error::Io)?;
                }
            }
        }
        Ok((Reply::Object(object), Some(file)))
    }

    fn object(
        &self,
        metadata: Metadata,
        range: Range<u64>,
        companions: &[Key],
    ) -> Result<Object, Error> {
        let companion = |key| match self.read_small(key, VALUE_LIMIT) {
            Ok(bytes) => Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok())),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Object {
            size: metadata.size,
            modified: nanoseconds(metadata.modified),
            range,
            companions: companions.iter().map(companion).collect::<Result<_, _>>()?,
            value: None,
        })
    }
}

/// Nanoseconds since 1970, until 2554; 0 for times before.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
