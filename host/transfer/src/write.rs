//! Writes the volumes of a plan. An interrupted export goes on where it was: what is in a
//! file is compared with the plan, and kept as far as it agrees.

mod ahead;
mod check;
mod layout;

use crate::progress::Progress;
use crate::source::{Reading, Source};
use ahead::Ahead;
use bytes::Bytes;
use check::Agreement;
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use roadstead_archive::{Body, Inventory, Member, Plan, Volume};
use roadstead_oci::Digest;
use roadstead_operator::hash::Hash;
use roadstead_operator::registry::Registry;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// How many pieces wait to be written.
///
/// Limit: pieces that wait to be written to an archive; test: none, more are not read yet.
const AHEAD: usize = 4;

/// The file of a volume, if there are several of them: `images.tar` is `images-1.tar` then.
pub(crate) fn path(path: &Path, number: usize, of: usize) -> PathBuf {
    if of == 1 {
        return path.to_owned();
    }
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    // As many digits as the last has, so that a shell lists them in order.
    name.push(format!("-{number:0width$}", width = of.to_string().len()));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// A volume of another export that is beside the files of this one: whoever takes all of them
/// would take it too.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn other_volume(output: &Path, of: usize) -> io::Result<Option<PathBuf>> {
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
    let own: Vec<_> = (1..=of).map(|number| path(output, number, of)).collect();
    let stem = output.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    for entry in std::fs::read_dir(parent.unwrap_or(Path::new(".")))? {
        let found = output.with_file_name(entry?.file_name());
        let name = found.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
        let numbered = number.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        if numbered && found.extension() == output.extension() && !own.contains(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Why a volume was not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// The content that cannot be read or has another digest, if that is why.
    pub(crate) content: Option<Digest>,
    /// In words.
    pub(crate) problem: String,
}

impl From<String> for Failure {
    fn from(problem: String) -> Self {
        Self { content: None, problem }
    }
}

/// Writes volumes.
pub(crate) struct Writing<'a, R> {
    pub(crate) source: &'a Source<'a, R>,
    /// The inventory of the plan.
    pub(crate) inventory: &'a Inventory,
    /// How many contents are read at a time.
    pub(crate) parallel: usize,
    pub(crate) progress: &'a Progress,
}

impl<R: Registry> Writing<'_, R> {
    /// Writes a volume to a file. Returns how many bytes were written: none, if it was there.
    ///
    /// # Errors
    /// When a content cannot be read or has another digest, or the file cannot be written.
    pub(crate) async fn file(&self, volume: &Volume, path: &Path) -> Result<u64, Failure> {
        let failed = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
        if check::is_written(volume, path).map_err(|error| failed(path, &error))? {
            self.progress.add(volume.size());
            return Ok(0);
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let open = || {
            let known = std::fs::symlink_metadata(&partial);
            if known.is_ok_and(|it| !it.is_file()) {
                return Err(io::Error::other("it is no regular file"));
            }
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(&partial)?;
            file.try_lock().map_err(io::Error::from)?;
            let agreed = check::agreement(volume, self, &mut file)?;
            file.set_len(agreed.bytes)?;
            file.seek(SeekFrom::Start(agreed.bytes))?;
            Ok((file, agreed))
        };
        let opened = open().map_err(|error| failed(&partial, &error));
        let (file, Agreement { members, bytes }) = opened?;
        self.progress.add(bytes);
        let file = Ahead::new(file).map_err(|error| failed(&partial, &error))?;
        let file = self.members(volume, members, file).await?;
        let finish = || {
            file.end()?;
            std::fs::rename(&partial, path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().map_err(|error| failed(path, &error))?;
        Ok(volume.size() - bytes)
    }

    /// Writes a volume to standard output, or to another thing that is written from the
    /// beginning to the end. Returns how many bytes that were.
    ///
    /// # Errors
    /// When a content cannot be read or has another digest, or nobody reads.
    pub(crate) async fn stream<W>(&self, volume: &Volume, out: W) -> Result<u64, Failure>
    where
        W: Write + Send + 'static,
    {
        self.members(volume, 0, out).await?;
        Ok(volume.size())
    }

    /// Writes the members from this one on, and the end.
    async fn members<W>(&self, volume: &Volume, first: usize, out: W) -> Result<W, Failure>
    where
        W: Write + Send + 'static,
    {
        let members = volume.members.get(first..).unwrap_or_default();
        let mut contents = Contents::new(members, self.source, self.parallel);
        let mut writer = Writer::new(out);
        for member in members {
            if let Err(problem) = self.member(member, &mut contents, &mut writer).await {
                // Why the writer takes no more is what matters.
                writer.end().await?;
                let content = match &member.body {
                    Body::Content { digest, .. } => Some(digest.clone()),
                    Body::Bytes(_) => None,
                };
                return Err(Failure { content, problem: format!("{}: {problem}", member.name) });
            }
        }
        writer.send(Step::Bytes(Bytes::from_static(Plan::END))).await?;
        self.progress.add(Plan::END.len() as u64);
        writer.end().await
    }

    async fn member<W: Write + Send + 'static>(
        &self,
        member: &Member,
        contents: &mut Contents<'_, R>,
        writer: &mut Writer<W>,
    ) -> Result<(), String> {
        writer.send(Step::Bytes(member.header().into())).await?;
        match self.expected(member)? {
            None => {
                if let Body::Bytes(bytes) = &member.body {
                    writer.send(Step::Bytes(bytes.clone())).await?;
                }
            }
            Some(digest) => {
                writer.send(Step::Begin(digest)).await?;
                let mut size = 0;
                while let Some(piece) = contents.next().await? {
                    size += piece.len() as u64;
                    self.progress.add(piece.len() as u64);
                    writer.send(Step::Content(piece)).await?;
                }
                if size != member.size {
                    return Err(format!("it has {size} bytes instead of {}", member.size));
                }
                writer.send(Step::End).await?;
            }
        }
        self.progress.add(member.stored() - member.size);
        writer.send(Step::Bytes(vec![0; member.padding()].into())).await
    }

    /// The digest that a member's bytes must have: that of the content, or that of a piece.
    fn expected(&self, member: &Member) -> Result<Option<Digest>, String> {
        let Body::Content { digest, range, .. } = &member.body else { return Ok(None) };
        let content = self.inventory.contents.get(digest);
        let content = content.ok_or_else(|| format!("{digest} is not in the inventory"))?;
        if *range == (0..content.size) {
            return Ok(Some(digest.clone()));
        }
        let piece = content.piece(range.start);
        let known = piece.and_then(|piece| piece.digest.clone());
        known.map(Some).ok_or_else(|| format!("a piece of {digest} has no digest"))
    }
}

/// The contents of members, in order, several of which are read at a time.
struct Contents<'a, R> {
    members: std::slice::Iter<'a, Member>,
    source: &'a Source<'a, R>,
    parallel: usize,
    pumps: FuturesUnordered<LocalBoxFuture<'a, Result<(), String>>>,
    queue: VecDeque<Receiver<io::Result<Bytes>>>,
}

impl<'a, R: Registry> Contents<'a, R> {
    fn new(members: &'a [Member], source: &'a Source<'a, R>, parallel: usize) -> Self {
        let (pumps, queue) = (FuturesUnordered::new(), VecDeque::new());
        Self { members: members.iter(), source, parallel, pumps, queue }
    }

    /// The next piece of the current content, and at its end none.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.fill();
        loop {
            let Some(pieces) = self.queue.front_mut() else { return Ok(None) };
            tokio::select! {
                biased;
                piece = pieces.recv() => {
                    if piece.is_none() {
                        self.queue.pop_front();
                    }
                    return piece.transpose().map_err(|error| error.to_string());
                }
                // What went wrong is in the pieces, too.
                Some(_) = self.pumps.next() => {}
            }
        }
    }

    /// Begins to read what comes next.
    fn fill(&mut self) {
        while self.queue.len() < self.parallel
            && let Some(member) = self.members.next()
        {
            if let Body::Content { repository, digest, range, manifest } = &member.body {
                let reading = self.source.open(repository, digest, range.clone(), *manifest);
                let Reading { pieces, pump } = reading;
                self.pumps.push(pump);
                self.queue.push_back(pieces);
            }
        }
    }
}

/// What is written next.
enum Step {
    /// These bytes.
    Bytes(Bytes),
    /// From here on a content, with this digest.
    Begin(Digest),
    /// These bytes of it.
    Content(Bytes),
    /// The end of it.
    End,
}

/// Writes on a thread of its own, and hashes on another one.
struct Writer<W> {
    steps: Sender<Step>,
    thread: JoinHandle<Result<W, Failure>>,
}

impl<W: Write + Send + 'static> Writer<W> {
    fn new(out: W) -> Self {
        let (steps, received) = channel(AHEAD);
        Self { steps, thread: tokio::task::spawn_blocking(move || write(out, received)) }
    }

    async fn send(&mut self, step: Step) -> Result<(), String> {
        self.steps.send(step).await.map_err(|_| "it is not written any more".to_owned())
    }

    /// Waits until all is written.
    async fn end(self) -> Result<W, Failure> {
        drop(self.steps);
        self.thread.await.map_err(|error| Failure::from(error.to_string()))?
    }
}

/// Writes all steps. What has a wrong digest ends it, perhaps some pieces later; the file has its
/// name after the end only.
fn write<W: Write>(mut out: W, mut steps: Receiver<Step>) -> Result<W, Failure> {
    let failed = |error: io::Error| Failure::from(format!("cannot write: {error}"));
    let (to_hash, hashed) = sync_channel(AHEAD);
    let hashing = thread::Builder::new().name("hash".to_owned()).spawn(move || hash(&hashed));
    let hashing = hashing.map_err(failed)?;
    while let Some(step) = steps.blocking_recv() {
        let bytes = match &step {
            Step::Bytes(bytes) | Step::Content(bytes) => bytes.clone(),
            Step::Begin(_) | Step::End => Bytes::new(),
        };
        if !matches!(step, Step::Bytes(_)) && to_hash.send(step).is_err() {
            // It says below why it takes no more.
            break;
        }
        out.write_all(&bytes).map_err(failed)?;
    }
    drop(to_hash);
    let outcome = hashing.join();
    outcome.map_err(|_| Failure::from("the thread that hashes has failed".to_owned()))??;
    out.flush().map_err(failed)?;
    Ok(out)
}

/// Compares the digests of contents.
fn hash(steps: &std::sync::mpsc::Receiver<Step>) -> Result<(), Failure> {
    let mut content = None;
    while let Ok(step) = steps.recv() {
        match step {
            Step::Begin(digest) => content = Some(Hash::of(digest)),
            Step::Content(bytes) => {
                if let Some(content) = &mut content {
                    content.update(&bytes);
                }
            }
            Step::End => {
                if let Some(hash) = content.take() {
                    let content = Some(hash.expected().clone());
                    hash.verify().map_err(|problem| Failure { content, problem })?;
                }
            }
            Step::Bytes(_) => {}
        }
    }
    Ok(())
}
