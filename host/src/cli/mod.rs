//! The command line.

pub mod config_file;

use crate::{COMPONENT, Options, default_root};
use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use roadstead_config::{Given, LogFormat, LogLevel, Settings, manual};
use roadstead_operator::{cert, doctor, htpasswd};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// A container registry.
#[derive(Parser)]
#[command(name = "roadstead", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the registry
    Serve {
        /// A configuration file with distribution's keys; environment variables override it
        #[arg(value_name = "config.yml")]
        config: Option<PathBuf>,
        /// Run this component instead of the one that is built in
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Keep compiled code here [default: `$XDG_CACHE_HOME/roadstead`]
        #[arg(long, value_name = "DIRECTORY")]
        cache: Option<PathBuf>,
    },
    /// Write the built-in component, which runs under any WASI 0.3 host
    Component {
        /// Where to [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    Cert(cert::Args),
    Doctor(doctor::Args),
    Htpasswd(htpasswd::Args),
}

/// Does what the command line says, and returns the status to end with.
pub fn main() -> anyhow::Result<ExitCode> {
    let help = help();
    let matches = Cli::command()
        .mut_subcommand("serve", |serve| serve.after_help(help.clone()))
        .after_help(help.clone())
        .get_matches();
    match Cli::from_arg_matches(&matches)?.command {
        Command::Serve { config, component, cache } => {
            let mut given = match config {
                Some(file) => config_file::read(&file)?,
                None => Vec::new(),
            };
            given.extend(std::env::vars().map(|(name, value)| Given::variable(name, value)));
            let mut options = Options::new(&Settings::gather(given))?;
            options.component = component;
            options.cache = cache.or(options.cache);
            log(&options);
            for warning in &options.config.warnings {
                tracing::warn!("{warning}");
            }
            raise_open_files();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let result = runtime.block_on(crate::serve(options));
            // Whatever still waits for a disk does so without holding up the
            // end: it was not promised to anyone.
            runtime.shutdown_background();
            result?;
        }
        Command::Component { output: Some(file) } => std::fs::write(&file, COMPONENT)
            .with_context(|| format!("cannot write {}", file.display()))?,
        Command::Component { output: None } => {
            let mut output = std::io::stdout();
            anyhow::ensure!(!output.is_terminal(), "a component is no text; use --output FILE");
            output.write_all(COMPONENT)?;
        }
        Command::Cert(args) => cert::run(&args, &mut std::io::stdout())?,
        Command::Doctor(args) => {
            let found = doctor::run(&args, &mut std::io::stdin(), &mut std::io::stdout())?;
            return Ok(ExitCode::from(u8::from(doctor::failed(&found))));
        }
        Command::Htpasswd(args) => {
            let status = htpasswd::run(
                &args,
                &mut htpasswd::Streams {
                    input: &mut std::io::stdin(),
                    output: &mut std::io::stdout(),
                    errors: &mut std::io::stderr(),
                },
            );
            return Ok(ExitCode::from(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Allows as many open files as the system lets this process have: each
/// connection is one, and so is each blob on its way.
fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current != maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        {
            tracing::warn!("the limit of open files stays at {current:?}: {error}");
        }
    }
}

fn help() -> String {
    let settings = manual::help(&default_root().display().to_string());
    format!(
        "Settings are distribution's, as variables or as keys of config.yml. The important ones;
docs/configuration.md has all of them:
{settings}
Example:
  roadstead serve
  docker tag nginx localhost:5000/nginx && docker push localhost:5000/nginx"
    )
}

/// Logs to standard error, as the settings say.
fn log(options: &Options) {
    let level = match options.config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    match options.config.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
