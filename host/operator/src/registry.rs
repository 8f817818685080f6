//! A registry that answers requests, wherever it is: elsewhere, by its URL, or in this
//! process, over a storage that nobody serves.

pub use crate::doctor::http::{Answer, read};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The body of a response, which is received as it is read.
pub type Incoming = UnsyncBoxBody<Bytes, String>;

/// The body of a request, which is sent as it is made.
pub type Outgoing = UnsyncBoxBody<Bytes, std::io::Error>;

/// What makes the body of a request, anew whenever it has to be sent again, as after a login.
#[derive(Clone)]
pub struct Content {
    /// How many bytes it has.
    pub length: u64,
    make: Arc<dyn Fn() -> Outgoing + Send + Sync>,
}

impl Content {
    /// A body of this many bytes.
    pub fn new(length: u64, make: impl Fn() -> Outgoing + Send + Sync + 'static) -> Self {
        Self { length, make: Arc::new(make) }
    }

    /// The body.
    pub fn body(&self) -> Outgoing {
        (self.make)()
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes.len() as u64, move || {
            Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync()
        })
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Why a request was not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unanswered {
    /// In words for whoever runs the command.
    pub problem: String,
    /// Whether the same request may be answered a moment later: a connection was lost, and
    /// nothing is wrong with the request itself.
    pub passes: bool,
}

impl From<String> for Unanswered {
    /// What does not pass.
    fn from(problem: String) -> Self {
        Self { problem, passes: false }
    }
}

impl From<Unanswered> for String {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.problem
    }
}

/// A registry that answers requests.
pub trait Registry {
    /// Sends a request, whose URI is a path, and gives the response once its head is there.
    ///
    /// # Errors
    /// When there is no response.
    fn exchange(
        &self,
        request: Request<Content>,
    ) -> impl Future<Output = Result<Response<Incoming>, Unanswered>>;

    /// Sends a request, whose URI is a path, and reads the answer, of whose body at most
    /// `most` bytes.
    ///
    /// # Errors
    /// When there is no answer, in words for whoever runs the command.
    fn request(
        &self,
        request: Request<Bytes>,
        most: usize,
    ) -> impl Future<Output = Result<Answer, String>> {
        async move { Ok(read(self.exchange(request.map(Content::from)).await?, most).await) }
    }
}

/// A storage on this machine, or one that a file on it describes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storage {
    /// A data directory.
    Directory(PathBuf),
    /// That of a configuration file.
    Config(PathBuf),
}

impl Storage {
    /// The storage of a data directory or a configuration file, if it is one of them.
    pub fn at(path: &Path) -> Option<Self> {
        if path.is_dir() {
            Some(Self::Directory(path.to_owned()))
        } else {
            path.is_file().then(|| Self::Config(path.to_owned()))
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Directory(path) | Self::Config(path)) = self;
        path.display().fmt(f)
    }
}

/// What a storage is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To read: another process may serve it.
    Read,
    /// To write: nobody else may serve a directory.
    Write,
}

impl Access {
    /// That of a command that only says what it would do, or does it.
    pub fn of(dry_run: bool) -> Self {
        if dry_run { Self::Read } else { Self::Write }
    }
}

/// Opens storages on this machine.
pub trait Opener {
    /// What answers requests for the storage.
    type Registry: Registry;

    /// Opens a storage.
    ///
    /// # Errors
    /// When it cannot be opened, or another process serves what is to be written.
    fn open(
        &self,
        storage: &Storage,
        access: Access,
    ) -> impl Future<Output = anyhow::Result<Self::Registry>>;

    /// The data directory of a storage, if it is one.
    fn directory(&self, storage: &Storage) -> Option<PathBuf>;
}

/// A request with a body of JSON, or with none.
pub(crate) fn json(method: Method, path: &str, body: Bytes) -> Result<Request<Bytes>, String> {
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(body).map_err(|error| error.to_string())
}

/// The message of an error of the API, if there is one.
pub(crate) fn message(answer: &Answer) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    json["errors"][0]["message"].as_str().map(str::to_owned)
}

/// What a registry says when it refuses something: the status, and the message if there is
/// one.
pub fn refusal(answer: &Answer) -> String {
    let said = message(answer).map(|said| format!(": {said}")).unwrap_or_default();
    format!("{}{said}", answer.status)
}
