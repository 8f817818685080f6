//! `roadstead gc` and `roadstead garbage-collect`.

use super::{environment, options};
use crate::collect::offline::{Offline, Purpose};
use crate::log;
use crate::options::Options;
use anyhow::{Context as _, bail};
use roadstead_config::{AccessFormat, Given, LogFormat, LogLevel, Settings};
use roadstead_operator::Output;
use roadstead_operator::gc::{self, Display};
use roadstead_operator::registry::Storage;
use std::io::{stderr, stdin};
use std::path::Path;

/// Collects where the arguments say.
pub(super) fn run(args: &gc::Args) -> anyhow::Result<()> {
    let mut errors = stderr();
    let mut display = Display::standard_error(&mut errors);
    let options = match args.target.as_deref() {
        None => options(None)?,
        Some(url) if gc::is_url(url) => {
            return gc::run_remote(args, &mut stdin(), &mut display, &mut Output::standard());
        }
        Some(target) => at(Path::new(target))?,
    };
    args.check_storage()?;
    if let Some(question) = args.question() {
        return offline(options, Purpose::Read, async |storage| {
            question.answer(storage, args.json, &mut Output::standard()).await
        });
    }
    offline(options, Purpose::Collect(args.waits()), async |storage| {
        args.drive(storage, &mut display, &mut Output::standard()).await
    })
}

/// Collects as distribution's command does.
pub(super) fn run_as_distribution(args: &gc::DistributionArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref();
    let options = options(Some(config.context("name the configuration file")?))?;
    let (ask, waits) = (args.request(), args.waits());
    let mut errors = stderr();
    let mut display =
        if args.quiet { Display::nothing() } else { Display::standard_error(&mut errors) };
    let outcome = offline(options, Purpose::Collect(waits), async |storage| {
        gc::drive(storage, ask, waits, &mut display).await
    })?;
    if args.quiet { Ok(()) } else { gc::print_as_distribution(&outcome, &mut Output::standard()) }
}

/// The options of a configuration file or of a data directory.
pub(super) fn at(target: &Path) -> anyhow::Result<Options> {
    match Storage::at(target) {
        Some(Storage::Directory(_)) => {}
        Some(Storage::Config(_)) => return options(Some(target)),
        None => bail!(
            "{} is neither a configuration file nor a data directory, nor a URL as in \
             https://registry.example:5000",
            target.display()
        ),
    }
    let Some(root) = target.to_str() else { bail!("{} is not UTF-8", target.display()) };
    // The directory is the storage, whatever storage a registry here has.
    let others = environment().filter(|(name, _)| {
        !name.starts_with("REGISTRY_STORAGE") || name.starts_with("REGISTRY_STORAGE_MAINTENANCE_GC")
    });
    let named = [
        ("REGISTRY_STORAGE".to_owned(), "filesystem".to_owned()),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY".to_owned(), root.to_owned()),
    ];
    let given = others.chain(named).map(|(name, value)| Given::variable(name, value));
    Ok(Options::new(&Settings::gather(given))?)
}

/// Does something with a storage that this process opens.
fn offline<T>(
    options: Options,
    purpose: Purpose,
    work: impl AsyncFnOnce(&mut Offline) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    on_runtime(async {
        let mut storage = Offline::open(options, purpose).await?;
        let result = work(&mut storage).await;
        storage.close();
        result
    })
}

/// Does something on a runtime of its own. What the component logs goes to standard error.
pub(super) fn on_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    log::start(LogLevel::Warn, LogFormat::Text, AccessFormat::Same)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    log::finish();
    result
}
