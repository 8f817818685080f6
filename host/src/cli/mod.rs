//! The command line.

mod collect;
mod documents;
mod program;
mod scrub;
mod sources;
mod storage;

use crate::collect::schedule::Hurry;
use crate::engine;
use crate::log;
use crate::options::{Options, default_root};
use crate::server;
use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use program::FILE_VARIABLE;
use roadstead_config::{Config, Given, Settings, manual};
use roadstead_embedded::COMPONENT;
use roadstead_operator::{
    Output, cat, cert, config, config_file, diff, doctor, du, gc, health, history, htpasswd,
    inspect, login, ls, rescue, retention, rm, tag, tags,
};
use roadstead_transfer::{cp, export, import, inventory, key, mirror};
use sources::Sources;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the help of `serve` says of archives.
const ARCHIVES: &str = "\
Archives are OCI layouts, and tar files (volumes included) written by `docker save`, skopeo,
oc-mirror or `roadstead export`. They are served read-only and are not unpacked; signatures of
inventories are not verified. Settings come from environment variables only; REGISTRY_STORAGE_* is
ignored. Image names omit the original registry:
  roadstead serve /media/disk/*.tar
  docker pull localhost:5000/nginx";

/// A container registry.
#[derive(Parser)]
#[command(name = "roadstead", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the registry, or archives of images
    Serve {
        /// A configuration file with distribution's keys, which environment variables override; or
        /// archives, directories of archives and OCI layouts, which are served as they are
        #[arg(value_name = "config.yml | ARCHIVE")]
        sources: Vec<PathBuf>,
        /// Run this component instead of the built-in one
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Keep that component's compiled code in this directory [default: `$XDG_CACHE_HOME/roadstead`]
        #[arg(long, value_name = "DIRECTORY")]
        cache: Option<PathBuf>,
    },
    /// Write the built-in component, which runs under any WASI 0.3 host
    Component {
        /// The file to write [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    Gc(gc::Args),
    #[command(name = "garbage-collect")]
    GarbageCollect(gc::DistributionArgs),
    Cat(cat::Args),
    Cert(cert::Args),
    Config(config::Args),
    Cp(Box<cp::Args>),
    Diff(diff::Args),
    Doctor(doctor::Args),
    Du(du::Args),
    Export(Box<export::Args>),
    /// Ask the registry of these settings whether it answers, as a container's health check
    Health {
        /// The configuration file with which it serves
        #[arg(value_name = "config.yml")]
        config: Option<PathBuf>,
    },
    /// Print a shell's completions for this program
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages of this program and of its commands
    #[command(hide = true)]
    Man {
        /// The directory to write to
        directory: PathBuf,
    },
    History(history::Args),
    Htpasswd(htpasswd::Args),
    Import(Box<import::Args>),
    Inspect(inspect::Args),
    Inventory(inventory::Args),
    Key(key::Args),
    Login(login::Args),
    Logout(login::LogoutArgs),
    Ls(ls::Args),
    Mirror(Box<mirror::Args>),
    /// Put back what a loss of power took away, from the journal of a directory that is not
    /// served
    Recover {
        /// The storage directory
        directory: PathBuf,
    },
    Rescue(rescue::Args),
    Retention(retention::Args),
    Rm(rm::Args),
    Scrub(roadstead_operator::scrub::Args),
    Tag(tag::Args),
    Tags(tags::Args),
}

/// Runs the command line, and returns the exit status. `compiled` is what
/// [`crate::precompile`] made of the component for this target, at the beginning of a page.
/// `commit` names the source, where the build knows it.
pub fn main(compiled: &'static [u8], commit: Option<&'static str>) -> ExitCode {
    engine::built_in(compiled);
    run(commit).unwrap_or_else(|error| {
        // Without the backtrace that `Debug` would add: causes are enough.
        let _ = writeln!(std::io::stderr(), "Error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(commit: Option<&'static str>) -> anyhow::Result<ExitCode> {
    let called: Vec<_> = std::env::args_os().collect();
    let matches = command(commit).get_matches_from(program::arguments(called.clone()));
    let or_default = |config: Option<PathBuf>| {
        let named = std::env::var_os(FILE_VARIABLE).filter(|file| !file.is_empty());
        config.or_else(|| program::default_file(&called, named.map(PathBuf::from), Path::exists))
    };
    match Cli::from_arg_matches(&matches)?.command {
        Command::Serve { sources, component, cache } => {
            let mut options = options_of(Sources::of(sources)?, or_default)?;
            options.hurry = Hurry::from_environment()?;
            options.commit = commit;
            options.component = component;
            options.code_cache = cache.or(options.code_cache);
            return serve(options);
        }
        Command::Gc(args) => collect::run(&args)?,
        Command::GarbageCollect(mut args) => {
            args.config = or_default(args.config);
            collect::run_as_distribution(&args)?;
        }
        Command::Health { config } => {
            let served = checked(config, program::first_process);
            let config = options_of(served, or_default)?.config;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(health::check(&config.address, config.tls.is_some()))?;
        }
        Command::Completions { shell } => documents::completions(shell, &mut command(commit)),
        Command::Man { directory } => documents::manual_pages(&directory, command(commit))?,
        Command::Component { output } => write_component(output.as_deref())?,
        Command::Cat(args) => return Ok(storage::cat(&args)),
        Command::Cert(args) => cert::run(&args, &mut Output::standard())?,
        Command::Config(args) => return Ok(storage::config(&args, or_default(args.file()))),
        Command::Cp(args) => return Ok(storage::cp(&args)),
        Command::Diff(args) => return Ok(storage::diff(&args)),
        Command::Doctor(args) => {
            let found = doctor::run(&args, &mut std::io::stdin(), &mut Output::standard())?;
            return Ok(ExitCode::from(u8::from(doctor::failed(&found))));
        }
        Command::Du(args) => return Ok(storage::du(&args)),
        Command::Export(args) => return Ok(storage::export(&args)),
        Command::History(args) => return Ok(storage::history(&args)),
        Command::Htpasswd(args) => return Ok(ExitCode::from(manage_users(&args))),
        Command::Import(args) => return Ok(storage::import(&args)),
        Command::Inspect(args) => return Ok(storage::inspect(&args)),
        Command::Inventory(args) => return Ok(storage::inventory(&args)),
        Command::Key(args) => return Ok(storage::key(&args)),
        Command::Login(args) => return Ok(storage::login(&args)),
        Command::Logout(args) => return Ok(storage::logout(&args)),
        Command::Ls(args) => return Ok(storage::ls(&args)),
        Command::Mirror(args) => return Ok(storage::mirror(&args)),
        Command::Recover { directory } => storage::recover(&directory, &mut Output::standard())?,
        Command::Rescue(args) => return Ok(storage::rescue(&args)),
        Command::Retention(args) => return Ok(storage::retention(&args)),
        Command::Rm(args) => return Ok(storage::rm(&args)),
        Command::Scrub(args) => return Ok(ExitCode::from(scrub::run(&args))),
        Command::Tag(args) => return Ok(storage::tag(&args)),
        Command::Tags(args) => return Ok(storage::tags(&args)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The options to serve these, with the configuration file that is used by default.
fn options_of(
    sources: Sources,
    or_default: impl FnOnce(Option<PathBuf>) -> Option<PathBuf>,
) -> anyhow::Result<Options> {
    match sources {
        Sources::Settings(file) => options(or_default(file).as_deref()),
        Sources::Archives(paths) => archives(paths),
    }
}

/// Writes the built-in component to a file, or to standard output.
fn write_component(file: Option<&Path>) -> anyhow::Result<()> {
    if let Some(file) = file {
        let written = std::fs::write(file, COMPONENT);
        return written.with_context(|| format!("cannot write {}", file.display()));
    }
    let terminal = std::io::stdout().is_terminal();
    anyhow::ensure!(!terminal, "a component is binary; use --output FILE");
    let mut output = Output::standard();
    Ok(output.write_all(COMPONENT).and_then(|()| output.flush())?)
}

/// Manages a file of users.
fn manage_users(args: &htpasswd::Args) -> u8 {
    let mut streams = htpasswd::Streams {
        input: &mut std::io::stdin(),
        output: &mut Output::standard(),
        errors: &mut std::io::stderr(),
    };
    htpasswd::run(args, &mut streams)
}

/// What is served that a health check asks for: that of the configuration file it is given, or
/// else that of the container's first process.
fn checked(given: Option<PathBuf>, first: impl FnOnce() -> Vec<OsString>) -> Sources {
    let served = || served(first()).unwrap_or(Sources::Settings(None));
    given.map_or_else(served, |file| Sources::Settings(Some(file)))
}

/// What a command line serves, if it is one of this program and serves something.
fn served(line: Vec<OsString>) -> Option<Sources> {
    if !program::is_ours(line.first()?) {
        return None;
    }
    let matches = Cli::command().try_get_matches_from(program::arguments(line)).ok()?;
    match Cli::from_arg_matches(&matches).ok()?.command {
        Command::Serve { sources, .. } => Sources::of(sources).ok(),
        _ => None,
    }
}

/// The command line, with what is only known when it is run.
fn command(commit: Option<&str>) -> clap::Command {
    let help = help();
    let mut command = Cli::command()
        .mut_subcommand("serve", |serve| serve.after_help(format!("{help}\n\n{ARCHIVES}")))
        .after_help(help);
    if let Some(commit) = commit {
        let version: &str = format!("{} ({commit})", env!("CARGO_PKG_VERSION")).leak();
        command = command.version(version);
    }
    command
}

/// The environment's settings. The variable that names a file is none of them.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name != FILE_VARIABLE)
}

/// The options of a configuration file, and of the environment, which overrides it.
fn options(config: Option<&Path>) -> anyhow::Result<Options> {
    let mut given = match config {
        Some(file) => config_file::read(file)?,
        None => Vec::new(),
    };
    given.extend(environment().map(|(name, value)| Given::variable(name, value)));
    Ok(Options::new(&Settings::gather(given))?)
}

/// The options to serve archives, of the environment alone.
fn archives(paths: Vec<PathBuf>) -> anyhow::Result<Options> {
    let mut options = Options::over_archives(paths, environment())?;
    if std::env::var_os(FILE_VARIABLE).is_some_and(|file| !file.is_empty()) {
        let warning = format!("archives are served; {FILE_VARIABLE} is ignored");
        options.config.warnings.push(warning);
    }
    Ok(options)
}

/// Serves, and returns the exit status. From here on, everything that is said
/// goes by the log, which waits for nobody.
fn serve(options: Options) -> anyhow::Result<ExitCode> {
    let Config { log_level, log_format, access_format, .. } = options.config;
    log::start(log_level, log_format, access_format)?;
    for warning in &options.config.warnings {
        tracing::warn!(target: log::UNLIMITED, "{warning}");
    }
    let result = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = result.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(server::serve(options));
        // Does not wait for threads that are blocked on a disk: nothing that
        // they do has been acknowledged.
        runtime.shutdown_background();
        result
    });
    if let Err(error) = &result {
        log::print(&format!("Error: {error:#}\n"));
    }
    log::finish();
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn help() -> String {
    let settings = manual::help(&default_root().display().to_string());
    format!(
        "Settings are distribution's, as variables or as keys of config.yml. The most important ones
(docs/configuration.md has all):
{settings}
Example:
  roadstead serve
  docker tag nginx localhost:5000/nginx && docker push localhost:5000/nginx"
    )
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, Sources, checked, command, program};
    use clap::FromArgMatches as _;
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    const FILE: &str = "/etc/docker/registry/config.yml";

    /// A container's health check is of what its first process serves.
    #[test]
    fn the_file_that_is_served_with() {
        for (line, expected) in [
            ("/bin/registry /x.yml", Some("/x.yml")),
            ("/bin/registry serve /x.yml", Some("/x.yml")),
            ("/bin/registry serve --cache c /x.yml", Some("/x.yml")),
            ("/bin/registry serve /x", Some("/x")),
            ("/bin/registry serve --cache c", None),
            ("/bin/registry", None),
            ("/bin/registry gc /x.yml", None),
            ("/bin/roadstead serve /x.yml", Some("/x.yml")),
            ("/sbin/init", None),
            ("sh -c x", None),
            ("caddy serve /x.yml", None),
        ] {
            let first = || line.split(' ').map(Into::into).collect();
            let expected = Sources::Settings(expected.map(PathBuf::from));
            assert_eq!(checked(None, first), expected, "{line}");
            let given = Some(PathBuf::from("/y.yml"));
            assert_eq!(checked(given.clone(), first), Sources::Settings(given), "{line}");
        }
        assert_eq!(checked(None, Vec::new), Sources::Settings(None));
        let archives = || "registry serve a.tar b".split(' ').map(Into::into).collect();
        let expected = Sources::Archives(vec!["a.tar".into(), "b".into()]);
        assert_eq!(checked(None, archives), expected);
    }

    /// The two command lines of the `CronJob` of twuni's chart.
    #[test]
    fn the_cron_job_of_twunis_chart() {
        for (value, expected) in [("true", true), ("false", false)] {
            let flag = format!("--delete-untagged={value}");
            let line = ["/bin/registry", "garbage-collect", &flag, FILE].map(OsString::from);
            let matches = command(None).get_matches_from(program::arguments(line.to_vec()));
            let Command::GarbageCollect(args) = Cli::from_arg_matches(&matches).unwrap().command
            else {
                panic!("another command");
            };
            assert_eq!(args.config.as_deref(), Some(Path::new(FILE)));
            let flags = (args.delete_untagged, args.dry_run, args.quiet);
            assert_eq!(flags, (expected, false, false));
        }
    }
}
