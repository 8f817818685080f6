//! Commands on the standard streams: those that ask a registry by its URL or open its storage
//! themselves, and those that need neither.

use super::{collect, environment, options};
use crate::collect::offline::{Offline, Purpose};
use crate::log;
use crate::options::{Options, default_root};
use anyhow::Context as _;
use roadstead_config::{AccessFormat, LogFormat, LogLevel};
use roadstead_directory::{self as directory, Directory, Recovered};
use roadstead_operator::gc::Display;
use roadstead_operator::registry::{Access, Opener, Storage};
use roadstead_operator::terminal::Screen;
use roadstead_operator::{
    Output, Streams, cat, config, diff, du, history, inspect, login, ls, rescue, retention, rm,
    tag, tags,
};
use roadstead_transfer::{cp, export, import, inventory, key, mirror};
use std::io::{Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Deletes in a registry or a storage.
pub(super) fn rm(args: &rm::Args) -> ExitCode {
    with_streams(|streams| rm::run(args, &Storages, streams))
}

/// Checks the configuration, or shows it.
pub(super) fn config(args: &config::Args, file: Option<PathBuf>) -> ExitCode {
    let environment = environment().collect();
    let start = config::Start { file, environment, default_root: default_root() };
    with_streams(|streams| config::run(args, &start, streams))
}

/// Prints what a tag has led to.
pub(super) fn history(args: &history::Args) -> ExitCode {
    with_streams(|streams| history::run(args, &Storages, streams))
}

/// Prints how much repositories hold.
pub(super) fn du(args: &du::Args) -> ExitCode {
    let mut shown = stderr();
    let mut display = Display::standard_error(&mut shown);
    with_streams(|streams| du::run(args, &Storages, &mut display, streams))
}

/// Says which tags expire, and why.
pub(super) fn retention(args: &retention::Args) -> ExitCode {
    with_streams(|streams| retention::run(args, &Storages, streams))
}

/// Brings lost content back into a registry or a storage.
pub(super) fn rescue(args: &rescue::Args) -> ExitCode {
    let mut shown = stderr();
    let mut display = Display::standard_error(&mut shown);
    with_streams(|streams| rescue::run(args, &Storages, &mut display, streams))
}

/// Brings images from archives.
pub(super) fn import(args: &import::Args) -> ExitCode {
    with_streams(|streams| import::run(args, &Storages, streams))
}

/// Writes images to archives.
pub(super) fn export(args: &export::Args) -> ExitCode {
    with_streams(|streams| export::run(args, &Storages, streams))
}

/// Copies images from one registry into another.
pub(super) fn mirror(args: &mirror::Args) -> ExitCode {
    with_streams(|streams| mirror::run(args, &Storages, streams))
}

/// Prints what a registry has.
pub(super) fn inventory(args: &inventory::Args) -> ExitCode {
    with_streams(|streams| inventory::run(args, &Storages, streams))
}

/// Makes keys that sign inventories.
pub(super) fn key(args: &key::Args) -> ExitCode {
    with_streams(|streams| key::run(args, streams))
}

/// Writes a content, and ends when nobody reads it any more.
pub(super) fn cat(args: &cat::Args) -> ExitCode {
    with_output(&mut stdout(), |streams| cat::run(args, &Storages, streams))
}

/// Copies an image.
pub(super) fn cp(args: &cp::Args) -> ExitCode {
    with_streams(|streams| cp::run(args, &Storages, streams))
}

/// Compares two images.
pub(super) fn diff(args: &diff::Args) -> ExitCode {
    with_streams(|streams| diff::run(args, &Storages, streams))
}

/// Shows what a reference leads to.
pub(super) fn inspect(args: &inspect::Args) -> ExitCode {
    with_streams(|streams| inspect::run(args, &Storages, streams))
}

/// Logs in to a registry.
pub(super) fn login(args: &login::Args) -> ExitCode {
    with_streams(|streams| login::run(args, streams))
}

/// Forgets a login.
pub(super) fn logout(args: &login::LogoutArgs) -> ExitCode {
    with_streams(|streams| login::run_logout(args, streams))
}

/// Lists repositories.
pub(super) fn ls(args: &ls::Args) -> ExitCode {
    with_streams(|streams| ls::run(args, &Storages, streams))
}

/// Makes further tags.
pub(super) fn tag(args: &tag::Args) -> ExitCode {
    with_streams(|streams| tag::run(args, &Storages, streams))
}

/// Lists tags.
pub(super) fn tags(args: &tags::Args) -> ExitCode {
    with_streams(|streams| tags::run(args, &Storages, streams))
}

/// Runs a command on the standard streams; what it returns is the exit status.
fn with_streams(run: impl FnOnce(&mut Streams<'_>) -> u8) -> ExitCode {
    with_output(&mut Output::standard(), run)
}

fn with_output(output: &mut dyn Write, run: impl FnOnce(&mut Streams<'_>) -> u8) -> ExitCode {
    let screen = Screen::of_standard_output();
    let mut streams = Streams { input: &mut stdin(), output, errors: &mut stderr(), screen };
    let status = run(&mut streams);
    log::finish();
    ExitCode::from(status)
}

/// Recovers a directory from its journal, as each start does.
pub(super) fn recover(root: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let is_ours = root.join(directory::PRIVATE).is_dir();
    anyhow::ensure!(is_ours, "{} is not a directory that was served", root.display());
    let log = |line: &str| eprintln!("{line}");
    let directory = Directory::open_with(root, directory::Options { log, ..Default::default() });
    let directory = directory.with_context(|| format!("cannot recover {}", root.display()))?;
    anyhow::ensure!(
        directory.owns_sessions(),
        "{} is served, and was recovered when that began",
        root.display()
    );
    let Recovered { recorded, restored, removed } = directory.recovered();
    writeln!(
        output,
        "{recorded} changes in the journal: {restored} were lost and are there again, {removed} \
         deletions were repeated"
    )?;
    Ok(output.flush()?)
}

/// Opens storages that nobody serves.
pub(super) struct Storages;

impl Storages {
    /// The settings for a storage: those of the environment, but for what is named.
    fn options(storage: &Storage) -> anyhow::Result<Options> {
        match storage {
            Storage::Directory(path) => collect::at(path),
            Storage::Config(file) => options(Some(file)),
        }
    }
}

impl Opener for Storages {
    type Registry = Offline;

    /// What the component logs goes to standard error.
    async fn open(&self, storage: &Storage, access: Access) -> anyhow::Result<Offline> {
        let options = Self::options(storage)?;
        log::start(LogLevel::Warn, LogFormat::Text, AccessFormat::Same)?;
        let purpose = match access {
            Access::Read => Purpose::Read,
            Access::Write => Purpose::Change,
        };
        Offline::open(options, purpose).await
    }

    fn directory(&self, storage: &Storage) -> Option<PathBuf> {
        let options = Self::options(storage).ok()?;
        options.config.cloud.is_none().then_some(options.root)
    }
}
