//! Where a command looks: at a registry by its URL, or at a storage that this process opens.

use crate::client::{Client, Connection};
use crate::credentials::Credentials;
use crate::gc::is_url;
use crate::image::{Image, at_hub, split};
use crate::problem::Problem;
use crate::registry::{Access, Content, Incoming, Opener, Registry, Storage, Unanswered};
use http::{Request, Response};
use roadstead_oci::RepositoryName;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many seconds each request may take, without `--timeout`.
///
/// Limit: seconds of each request of commands on images, by default; test: none, tests have no
/// slow server.
const DEFAULT_TIMEOUT: u64 = 120;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds of each request of commands on images, at most; test: none, it is compared with
/// the flag.
const MAX_TIMEOUT: u64 = 3600;

/// A registry, wherever it is.
#[derive(Debug)]
pub enum Place<R> {
    /// At a URL.
    Url(Box<Client>),
    /// In this process.
    Here(R),
}

impl<R: Registry> Registry for Place<R> {
    async fn exchange(&self, request: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        match self {
            Self::Url(client) => client.exchange(request).await,
            Self::Here(registry) => registry.exchange(request).await,
        }
    }
}

/// The flags that say where, beside the reference itself.
#[derive(clap::Args, Debug)]
pub struct Location {
    /// Open this data directory instead of asking a registry
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    directory: Option<PathBuf>,
    /// Open the storage of this configuration file: a directory or a bucket
    #[arg(long, value_name = "config.yml")]
    config: Option<PathBuf>,
    /// Give up on a request after this many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

/// What a command line names: a registry by its host, or a storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    /// A registry, with its scheme if that was given.
    Registry(String),
    /// A storage.
    Storage(Storage),
}

impl Named {
    /// A whole registry: one that is named by its host or URL, a data directory or a
    /// configuration file; and the path that follows a host.
    ///
    /// # Errors
    /// When the text names none.
    pub(crate) fn of_whole(text: &str) -> Result<(Self, &str), Problem> {
        let path = Path::new(text);
        if !is_url(text)
            && let Some(storage) = Storage::at(path)
        {
            return Ok((Self::Storage(storage), ""));
        }
        let start = text.find("://").map_or(0, |at| at + "://".len());
        let rest = text.get(start..).unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_url(text) && host != "localhost" && !host.contains(['.', ':']) || host.is_empty() {
            return Err(Problem::Usage(format!(
                "{text} is no registry, no directory and no file: use the form \
                 registry.example:5000, or name a storage with --directory or --config"
            )));
        }
        let registry = text.get(..start + host.len()).unwrap_or_default();
        Ok((Self::Registry(registry.to_owned()), path))
    }

    /// A repository as it is called there.
    pub fn name_of(&self, name: RepositoryName) -> RepositoryName {
        match self {
            Self::Registry(registry) => at_hub(registry, name),
            Self::Storage(_) => name,
        }
    }
}

impl Location {
    /// The storage of the flags, if there is one.
    pub(crate) fn storage(&self) -> Option<Storage> {
        let directory = self.directory.clone().map(Storage::Directory);
        directory.or_else(|| self.config.clone().map(Storage::Config))
    }

    /// Where something is, and what follows its registry in a text of the command line.
    fn split<'a>(&self, text: &'a str, command: &str) -> Result<(Named, &'a str), Problem> {
        if let Some(storage) = self.storage() {
            return Ok((Named::Storage(storage), text));
        }
        let (registry, rest) =
            split(text, command).map_err(|problem| Problem::Usage(format!("{text}: {problem}")))?;
        Ok((Named::Registry(registry.to_owned()), rest))
    }

    /// A repository, and where it is.
    ///
    /// # Errors
    /// When the text names none.
    pub(crate) fn repository(
        &self,
        text: &str,
        command: &str,
    ) -> Result<(Named, RepositoryName), Problem> {
        let (named, rest) = self.split(text, command)?;
        let name = RepositoryName::parse(rest).map_err(|error| {
            Problem::Usage(format!(
                "{text}: {error}; give a repository without tag and digest, such as team/app"
            ))
        })?;
        let name = named.name_of(name);
        Ok((named, name))
    }

    /// A tag or a digest of a repository, and where it is.
    ///
    /// # Errors
    /// When the text names none.
    pub(crate) fn image(&self, text: &str, command: &str) -> Result<(Named, Image), Problem> {
        let (named, rest) = self.split(text, command)?;
        let image = Image::parse_named(rest, text);
        let image = image.map_err(|problem| Problem::Usage(format!("{text}: {problem}")))?;
        let name = named.name_of(image.name);
        Ok((named, Image { name, ..image }))
    }

    /// Who logs in.
    ///
    /// # Errors
    /// When there is no password, and when flags for registries are given with a storage.
    pub(crate) fn user(
        &self,
        named: &Named,
        input: &mut dyn Read,
    ) -> Result<Option<Credentials>, Problem> {
        let storage = match named {
            Named::Storage(storage) => Some(storage),
            Named::Registry(_) => None,
        };
        self.connection.credentials_for(storage, input).map_err(Problem::Usage)
    }

    /// Who logs in at both of two places.
    ///
    /// # Errors
    /// Like [`Self::user`], and when a user is named for two registries.
    pub(crate) fn user_of_both(
        &self,
        both: [&Named; 2],
        input: &mut dyn Read,
    ) -> Result<Option<Credentials>, Problem> {
        let registries = both.into_iter().filter_map(|named| match named {
            Named::Registry(registry) => Some(registry.as_str()),
            Named::Storage(_) => None,
        });
        self.connection.check_one(registries).map_err(Problem::Usage)?;
        self.user(both[0], input)
    }

    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be opened, or another process serves a directory that is to be written.
    pub(crate) async fn open<O: Opener>(
        &self,
        named: &Named,
        access: Access,
        user: Option<Credentials>,
        opener: &O,
    ) -> Result<Place<O::Registry>, Problem> {
        match named {
            Named::Registry(registry) => {
                let limit = Duration::from_secs(self.timeout);
                let client = Client::new(registry, &self.connection, user, limit);
                Ok(Place::Url(Box::new(client?)))
            }
            Named::Storage(storage) => {
                let registry = opener.open(storage, access).await;
                Ok(Place::Here(registry.map_err(|error| format!("{error:#}"))?))
            }
        }
    }
}
