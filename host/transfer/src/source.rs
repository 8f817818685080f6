//! Where contents come from: a registry, or archives. A content is a stream of pieces, for
//! which the caller must poll [`Reading::pump`].

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use roadstead_archive::{Part, Set};
use roadstead_oci::{Digest, Reference, RepositoryName};
use roadstead_operator::pull;
use roadstead_operator::registry::{Outgoing, Registry};
use roadstead_storage::Key;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The bytes of an archive that are read at a time.
///
/// Limit: bytes of an archive that are in memory for each request at a time, twice; test:
/// none, it is the size of a buffer.
const BUFFER: usize = 512 * 1024;

/// How many pieces of a content wait to be used.
///
/// Limit: pieces of a content that a transfer reads ahead; test: none, more are not read yet.
const AHEAD: usize = 2;

/// How often in a row a blob is asked for again of which nothing came.
///
/// Limit: downloads of a blob in a row without a byte; test: none, it would take as long.
const CUTS: usize = 5;

/// The bytes of manifests that are kept, so that they need not be fetched again.
///
/// Limit: bytes of manifests that a transfer keeps in memory; test: none, others are fetched
/// again.
const KEPT: usize = 64 * 1024 * 1024;

/// Where contents come from.
#[derive(Debug)]
pub(crate) struct Source<'a, R> {
    pub(crate) origin: Origin<'a, R>,
    /// The data directory of the registry, if it is one of this machine: its blobs are files.
    directory: Option<PathBuf>,
    /// Manifests that were made, or read before.
    manifests: RefCell<Kept>,
}

/// A registry or archives.
#[derive(Debug)]
pub(crate) enum Origin<'a, R> {
    /// A registry.
    Registry(&'a R),
    /// Archives.
    Archives(&'a Set),
}

#[derive(Debug, Default)]
struct Kept {
    manifests: HashMap<Digest, Bytes>,
    /// Made here, so that nothing else has them.
    made: HashMap<Digest, Bytes>,
    size: usize,
}

/// A content that is being read.
pub(crate) struct Reading<'a> {
    /// Its pieces.
    pub(crate) pieces: Receiver<io::Result<Bytes>>,
    /// Reads them, and says at the end why it could not.
    pub(crate) pump: LocalBoxFuture<'a, Result<(), String>>,
}

/// The pieces as the body of a request, of which the first may have been received.
pub(crate) fn body(
    first: Option<io::Result<Bytes>>,
    pieces: Receiver<io::Result<Bytes>>,
) -> Outgoing {
    let frames = futures::stream::unfold((first, pieces), async |(first, mut pieces)| {
        let piece = match first {
            Some(piece) => piece,
            None => pieces.recv().await?,
        };
        Some((piece.map(Frame::data), (None, pieces)))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl<'a, R: Registry> Source<'a, R> {
    pub(crate) fn new(origin: Origin<'a, R>) -> Self {
        Self { origin, directory: None, manifests: RefCell::default() }
    }

    /// The registry is over this data directory.
    pub(crate) fn in_directory(self, directory: Option<PathBuf>) -> Self {
        Self { directory, ..self }
    }

    /// The file of a blob, where there is one that has at least these bytes.
    fn file(&self, digest: &Digest, range: &Range<u64>) -> Option<Part> {
        let path = self.directory.as_ref()?.join(Key::Blob(digest.clone()).to_string());
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let whole = metadata.is_file() && metadata.len() >= range.end;
        whole.then(|| Part { file: Arc::new(file), range: range.clone() })
    }

    /// Keeps the bytes of a manifest that only this process has.
    pub(crate) fn add(&self, digest: Digest, bytes: Bytes) {
        self.manifests.borrow_mut().made.insert(digest, bytes);
    }

    /// Keeps the bytes of a manifest, if there is room.
    pub(crate) fn keep(&self, digest: &Digest, bytes: &Bytes) {
        let kept = &mut *self.manifests.borrow_mut();
        if kept.size + bytes.len() <= KEPT
            && kept.manifests.insert(digest.clone(), bytes.clone()).is_none()
        {
            kept.size += bytes.len();
        }
    }

    /// The bytes of a manifest, which have its digest.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub(crate) async fn manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Bytes, String> {
        let kept = {
            let kept = self.manifests.borrow();
            kept.made.get(digest).or_else(|| kept.manifests.get(digest)).cloned()
        };
        if let Some(bytes) = kept {
            return Ok(bytes);
        }
        let found = match &self.origin {
            Origin::Registry(registry) => {
                let reference = Reference::Digest(digest.clone());
                let found = pull::manifest(*registry, repository, &reference).await?;
                found.map(|found| found.bytes)
            }
            Origin::Archives(set) => set.manifest(digest).map_err(|error| error.to_string())?,
        };
        found.ok_or_else(|| format!("the manifest {digest} of {repository} is not there"))
    }

    /// Reads a part of a content. Those who need all of it compare it with its digest.
    pub(crate) fn open(
        &self,
        repository: &'a RepositoryName,
        digest: &'a Digest,
        range: Range<u64>,
        manifest: bool,
    ) -> Reading<'a>
    where
        R: 'a,
    {
        let (sender, pieces) = channel(AHEAD);
        let kept = self.manifests.borrow().made.get(digest).cloned();
        let pump: LocalBoxFuture<'a, _> = match (&self.origin, kept) {
            (_, Some(bytes)) => Box::pin(whole(bytes, range, sender)),
            (Origin::Registry(registry), None) if manifest => {
                let registry = *registry;
                Box::pin(async move {
                    let reference = Reference::Digest(digest.clone());
                    let found = pull::manifest(registry, repository, &reference).await;
                    match found.and_then(|it| it.ok_or_else(|| format!("{digest} is gone"))) {
                        Ok(found) => whole(found.bytes, range, sender).await,
                        Err(problem) => fail(sender, problem).await,
                    }
                })
            }
            (Origin::Registry(registry), None) => match self.file(digest, &range) {
                Some(part) => Box::pin(from_files(Some(vec![part]), digest, sender)),
                None => Box::pin(from_registry(*registry, repository, digest, range, sender)),
            },
            (Origin::Archives(set), None) => {
                Box::pin(from_files(set.parts(digest, range), digest, sender))
            }
        };
        Reading { pieces, pump }
    }
}

/// Reads parts of files.
pub(crate) fn parts(parts: Vec<Part>, digest: &Digest) -> Reading<'_> {
    let (sender, pieces) = channel(AHEAD);
    Reading { pieces, pump: Box::pin(from_files(Some(parts), digest, sender)) }
}

/// Reads a blob of a registry.
pub(crate) fn blob<'a>(
    registry: &'a impl Registry,
    repository: &'a RepositoryName,
    digest: &'a Digest,
    size: u64,
) -> Reading<'a> {
    let (sender, pieces) = channel(AHEAD);
    let pump = Box::pin(from_registry(registry, repository, digest, 0..size, sender));
    Reading { pieces, pump }
}

/// Reads one after the other.
pub(crate) fn chain(readings: Vec<Reading<'_>>) -> Reading<'_> {
    let (sender, pieces) = channel(AHEAD);
    let pump = Box::pin(async move {
        for Reading { mut pieces, pump } in readings {
            let forward = async {
                while let Some(piece) = pieces.recv().await {
                    if sender.send(piece).await.is_err() {
                        break;
                    }
                }
            };
            tokio::join!(pump, forward).0?;
        }
        Ok(())
    });
    Reading { pieces, pump }
}

/// Ends a stream with an error.
async fn fail(sender: Sender<io::Result<Bytes>>, problem: String) -> Result<(), String> {
    // Whoever reads may have gone.
    let _ = sender.send(Err(io::Error::other(problem.clone()))).await;
    Err(problem)
}

async fn whole(
    bytes: Bytes,
    range: Range<u64>,
    sender: Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let piece = bytes.slice(index(range.start).min(index(range.end))..index(range.end));
    let _ = sender.send(Ok(piece)).await;
    Ok(())
}

/// The parts of files.
async fn from_files(
    parts: Option<Vec<Part>>,
    digest: &Digest,
    sender: Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    let Some(parts) = parts else {
        return fail(sender, format!("{digest} is not in the archives")).await;
    };
    let read = move || {
        for Part { file, range } in parts {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(range.end - at).unwrap_or(BUFFER).min(BUFFER);
                let piece = read_at(&file, at, length);
                let failed = piece.as_ref().err().map(ToString::to_string);
                if sender.blocking_send(piece).is_err() {
                    return Ok(());
                }
                if let Some(problem) = failed {
                    return Err(problem);
                }
                at += length as u64;
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
}

fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

/// A blob of a registry, asked for again from where its stream was cut off.
async fn from_registry(
    registry: &impl Registry,
    repository: &RepositoryName,
    digest: &Digest,
    range: Range<u64>,
    sender: Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    let (mut at, mut cuts) = (range.start, 0);
    while at < range.end {
        let before = at;
        let problem = match pull::blob(registry, repository, digest, at).await {
            Ok(response) => {
                let mut body = response.into_body();
                loop {
                    match body.frame().await {
                        Some(Ok(frame)) => {
                            let Ok(mut piece) = frame.into_data() else { continue };
                            // Only a part may be wanted; a registry that sends more is wrong.
                            let room = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                            piece.truncate(room);
                            at += piece.len() as u64;
                            if sender.send(Ok(piece)).await.is_err() || at == range.end {
                                return Ok(());
                            }
                        }
                        Some(Err(problem)) => break problem,
                        None => break "it ended early".to_owned(),
                    }
                }
            }
            Err(problem) => return fail(sender, problem).await,
        };
        cuts = if at > before { 1 } else { cuts + 1 };
        if cuts > CUTS {
            return fail(sender, format!("{repository}/blobs/{digest}: {problem}")).await;
        }
    }
    Ok(())
}
