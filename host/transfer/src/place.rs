//! Where a registry is: at a URL, or in a storage that this process opens.

use http::{Request, Response};
use roadstead_operator::client::{Client, Connection};
use roadstead_operator::credentials::Credentials;
use roadstead_operator::gc::is_url;
pub(crate) use roadstead_operator::place::Place;
use roadstead_operator::registry::{
    Access, Content, Incoming, Opener, Registry, Storage, Unanswered,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The registry of a source that is none.
#[derive(Debug)]
pub(crate) enum Nowhere {}

impl Registry for Nowhere {
    async fn exchange(&self, _: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        match *self {}
    }
}

/// How registries are reached.
#[derive(clap::Args, Debug)]
pub(crate) struct Reach {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Give up on a request after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    /// How many requests are sent at a time
    #[arg(long, value_name = "NUMBER", default_value_t = DEFAULT_PARALLEL,
        value_parser = clap::value_parser!(u8).range(1..=MAX_PARALLEL))]
    parallel: u8,
}

/// Seconds without progress, without `--timeout`.
///
/// Limit: seconds that a request of a transfer may pass without progress, by default; test:
/// none, tests have no slow server.
const DEFAULT_TIMEOUT: u64 = 120;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds that a request of a transfer may pass without progress, at most; test:
/// none, it is compared with the flag.
const MAX_TIMEOUT: u64 = 3600;

/// Requests at a time, without `--parallel`.
///
/// Limit: requests of a transfer at a time, by default; test: none, `--parallel` says
/// another.
const DEFAULT_PARALLEL: u8 = 4;

/// The largest `--parallel`.
///
/// Limit: requests of a transfer at a time, at most; test: none, it is compared with the flag.
const MAX_PARALLEL: i64 = 64;

/// Whether a text names a registry: a URL or, unless there is such a file, a host as in names of
/// images.
fn is_registry(text: &str) -> bool {
    let is_host = text.contains(['.', ':']) && !text.contains('/');
    is_url(text) || is_host && !Path::new(text).exists()
}

impl Reach {
    /// How many requests are sent at a time.
    pub(crate) fn parallel(&self) -> usize {
        usize::from(self.parallel)
    }

    /// Makes a data directory of one that is new or empty, unless nothing is to be written.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn begin(target: &str, dry_run: bool) -> Result<(), String> {
        if is_registry(target) { Ok(()) } else { Self::begin_at(Path::new(target), dry_run) }
    }

    /// The same of a path, although it may look like a host.
    pub(crate) fn begin_at(path: &Path, dry_run: bool) -> Result<(), String> {
        if dry_run || path.is_file() {
            return Ok(());
        }
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let is_new = match std::fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed(error)),
        };
        if is_new {
            std::fs::create_dir_all(path.join("docker/registry/v2")).map_err(failed)?;
        }
        Ok(())
    }

    /// The data directory of a storage of this machine, if it is one.
    pub(crate) fn directory(text: &str, opener: &impl Opener) -> Option<PathBuf> {
        let storage = Storage::at(Path::new(text)).filter(|_| !is_registry(text))?;
        opener.directory(&storage)
    }

    /// The registry of a host or URL.
    ///
    /// # Errors
    /// When it is malformed, and when a file of CAs cannot be read.
    pub(crate) fn ask<R>(
        &self,
        registry: &str,
        user: Option<Credentials>,
    ) -> Result<Place<R>, String> {
        let limit = Duration::from_secs(self.timeout);
        let client = Client::new(registry, &self.connection, user, limit)?;
        Ok(Place::Url(Box::new(client)))
    }

    /// The registry at a URL, or over a storage.
    ///
    /// # Errors
    /// When it is neither, or cannot be opened.
    pub(crate) async fn open<O: Opener>(
        &self,
        text: &str,
        access: Access,
        user: Option<Credentials>,
        opener: &O,
    ) -> Result<Place<O::Registry>, String> {
        if is_registry(text) {
            return self.ask(text, user);
        }
        Self::open_at(Path::new(text), access, user, opener).await
    }

    /// The registry over the storage at a path, although that may look like a host.
    ///
    /// # Errors
    /// When there is no storage, it cannot be opened, or a user is named.
    pub(crate) async fn open_at<O: Opener>(
        path: &Path,
        access: Access,
        user: Option<Credentials>,
        opener: &O,
    ) -> Result<Place<O::Registry>, String> {
        let text = path.display();
        if user.is_some() {
            return Err(format!("--user is for a registry's URL, and {text} is none"));
        }
        let storage = Storage::at(path).ok_or_else(|| {
            format!(
                "{text} is neither a data directory nor a configuration file, nor a URL as in \
                 https://registry.example:5000"
            )
        })?;
        let registry = opener.open(&storage, access).await;
        registry.map(Place::Here).map_err(|error| format!("{error:#}"))
    }
}
