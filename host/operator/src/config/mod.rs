//! `roadstead config`: checks the configuration, and shows what it comes to.
//!
//! It reads the file and the environment as `roadstead serve` does, and refuses what that
//! refuses, in the same words, but all of it at once. It changes nothing, and asks nothing of
//! the network.

mod check;
mod files;
mod identity;

use crate::config_file;
use crate::streams::Streams;
use roadstead_config::report::Report;
use roadstead_config::{Config, Given, Settings};
use std::io;
use std::path::PathBuf;

/// Exit statuses: all is well, and something is wrong or could not be read.
const OK: u8 = 0;
const WRONG: u8 = 1;

const HELP: &str = "\
Examples:
  roadstead config check /etc/docker/registry/config.yml
  roadstead config show config.yml
  roadstead config show --defaults > config.yml
  roadstead config show --env config.yml > registry.env

Both read the file and the environment as `roadstead serve` does; variables override the file. Without
a file, that is the file of REGISTRY_CONFIGURATION_PATH, or under the name `registry` that of
distribution's images. Secrets are masked. Nothing is changed, and nothing is asked of the network.";

const CHECK_HELP: &str = "\
Every setting that is given is printed with its source, and then a line for each finding: fail for what
stops `roadstead serve`, in the same words; warn for what may not be intended; ok for files and
directories that can be used. What only the network can tell (a port that is taken, a bucket) is not
checked.

Exit status: 0 if no line is fail, 1 otherwise or if the file cannot be read, 2 for wrong usage.";

const SHOW_HELP: &str = "\
The output is read by `roadstead serve` as the same settings, but for masked secrets and for what its
last comments say. With --defaults and without a file, it is a template: what has no default is a
comment, which is in effect without its `#`.

Exit status: 0, or 1 if a setting is wrong: `roadstead config check` says which.";

/// Check the configuration, or show what it comes to
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Check the settings, and the files and directories that they name
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The configuration file
        #[arg(value_name = "config.yml")]
        file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the settings that differ from their defaults, each with its source
    #[command(after_help = SHOW_HELP)]
    Show {
        /// The configuration file
        #[arg(value_name = "config.yml")]
        file: Option<PathBuf>,
        /// Print all settings, with their meanings
        #[arg(long)]
        defaults: bool,
        /// Print variables of the environment, and not the keys of a file
        #[arg(long)]
        env: bool,
    },
}

impl Args {
    /// The file that the command line names.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.command {
            Command::Check { file, .. } | Command::Show { file, .. } => file.clone(),
        }
    }
}

/// What a start would use.
#[derive(Clone, Debug)]
pub struct Start {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The settings of the environment.
    pub environment: Vec<(String, String)>,
    /// The storage directory where the settings name none.
    pub default_root: PathBuf,
}

/// Runs the command, and returns its exit status.
pub fn run(args: &Args, start: &Start, streams: &mut Streams<'_>) -> u8 {
    let result = match &args.command {
        Command::Check { json, .. } => check::run(start, *json, streams.output),
        Command::Show { defaults, env, .. } => show(start, *defaults, *env, streams),
    };
    result.unwrap_or_else(|error| {
        streams.say("config", &error.to_string());
        WRONG
    })
}

/// The settings of a start.
fn settings(start: &Start) -> anyhow::Result<Settings> {
    let mut given = match &start.file {
        Some(file) => config_file::read_with_lines(file)?,
        None => Vec::new(),
    };
    given.extend(start.environment.iter().map(|(name, value)| Given::variable(name, value)));
    Ok(Settings::gather(given))
}

fn show(start: &Start, all: bool, env: bool, streams: &mut Streams<'_>) -> io::Result<u8> {
    let settings = match settings(start) {
        Ok(settings) => settings,
        Err(error) => {
            streams.say("config", &format!("{error:#}"));
            return Ok(WRONG);
        }
    };
    let report = settings.report();
    for error in &report.errors {
        streams.say("config", error);
    }
    if !report.errors.is_empty() {
        return Ok(WRONG);
    }
    let text = if env { report.variables(all) } else { report.yaml(all) };
    streams.output.write_all(text.as_bytes())?;
    streams.output.flush()?;
    Ok(OK)
}

/// What is to be checked.
struct Checked {
    report: Report,
    /// The settings, if they are valid.
    config: Option<Config>,
}
