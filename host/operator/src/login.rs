//! `roadstead login` and `roadstead logout`: passwords where Docker keeps them, so that all clients
//! on this machine have the same.

mod store;

use crate::client::{Client, Connection};
use crate::credentials::{self, Credentials};
use crate::password;
use crate::problem::Problem;
use crate::runtime;
use crate::streams::Streams;
use std::io::{BufRead as _, IsTerminal as _, stdin};
use std::path::PathBuf;
use std::time::Duration;
use store::Kept;
use tokio::runtime::Builder;

/// How long a request may take.
///
/// Limit: time of a request of `login`; test: none, it would take as long.
const LIMIT: Duration = Duration::from_mins(1);

const LOGIN_HELP: &str = "\
Examples:
  roadstead login registry.example:5000 -u alice
  roadstead login registry.example:5000 -u ci --password-stdin < /run/secrets/registry
  roadstead login http://registry.lan:5000 -u alice          plain HTTP
  roadstead login docker.io -u alice

The password is prompted for without echo, or read from standard input. It is kept only if the
registry takes it: where docker login keeps it, in config.json of $DOCKER_CONFIG or ~/.docker, or with
the credential helper that credsStore or credHelpers there name. The file is for its owner alone
(mode 600); in it, a password is encoded and not encrypted.

Exit status: 0 kept, 1 the registry refuses it or it could not be kept, 2 usage.";

const LOGOUT_HELP: &str = "\
Examples:
  roadstead logout registry.example:5000

Removes the password from config.json of $DOCKER_CONFIG or ~/.docker, and has the credential helper
forget it. The registry is not asked.

Exit status: 0 removed, 1 it could not be, 2 usage, 3 there was no login.";

/// Log in to a registry, and keep the password where docker login does
#[derive(clap::Args, Debug)]
#[command(after_help = LOGIN_HELP)]
pub struct Args {
    /// For example registry.example:5000
    #[arg(value_name = "REGISTRY")]
    registry: String,
    /// The user's name; prompted for if it is not given
    #[arg(long, short = 'u', value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Trust the CAs in this file too
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Where Docker on this machine looks for CA certificates
    #[arg(long, value_name = "DIRECTORY", default_value = crate::cert::DOCKER_DIRECTORY)]
    docker_directory: PathBuf,
    /// Where config.json is [default: `$DOCKER_CONFIG`, or `~/.docker`]
    #[arg(long, value_name = "DIRECTORY")]
    docker_config: Option<PathBuf>,
}

/// Forget the password of a registry
#[derive(clap::Args, Debug)]
#[command(after_help = LOGOUT_HELP)]
pub struct LogoutArgs {
    /// For example registry.example:5000
    #[arg(value_name = "REGISTRY")]
    registry: String,
    /// Where config.json is [default: `$DOCKER_CONFIG`, or `~/.docker`]
    #[arg(long, value_name = "DIRECTORY")]
    docker_config: Option<PathBuf>,
}

/// Logs in, and returns the exit status.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> u8 {
    let result = log_in(args, streams);
    streams.end("login", result)
}

/// Logs out, and returns the exit status.
pub fn run_logout(args: &LogoutArgs, streams: &mut Streams<'_>) -> u8 {
    let result = log_out(args, streams);
    streams.end("logout", result)
}

/// Where Docker's configuration is.
fn directory(given: Option<&PathBuf>) -> Result<PathBuf, Problem> {
    let directory = given.cloned().or_else(credentials::directory);
    let unknown = || "there is neither $DOCKER_CONFIG nor $HOME: use --docker-config DIRECTORY";
    directory.ok_or_else(|| Problem::Usage(unknown().to_owned()))
}

fn log_in(args: &Args, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let directory = directory(args.docker_config.as_ref())?;
    let authority = credentials::authority(&args.registry).map_err(Problem::Usage)?;
    let user = user(args, streams)?;
    let connection = Connection::new(args.ca.clone(), args.docker_directory.clone());
    let client = Client::new(&args.registry, &connection, Some(user.clone()), LIMIT);
    let client = client.map_err(Problem::Usage)?;
    runtime::block_on(Builder::new_current_thread(), client.try_login())??;
    let kept = store::keep(&directory, &authority, &user)?;
    let Credentials { user, .. } = user;
    let place = match kept {
        Kept::Helper(program) => format!("by {program}"),
        Kept::File(file) => {
            streams.say(
                "login",
                &format!(
                    "the password is in {}, readable by its owner and not encrypted; credsStore \
                     there can name a credential helper instead",
                    file.display()
                ),
            );
            format!("in {}", file.display())
        }
    };
    streams.print([format!("{authority} takes the password of {user}; it is kept {place}")])?;
    Ok(0)
}

/// Who logs in. All is asked on the terminal that is not given.
fn user(args: &Args, streams: &mut Streams<'_>) -> Result<Credentials, Problem> {
    let name = match &args.username {
        Some(name) => name.clone(),
        None if stdin().is_terminal() => {
            write!(streams.errors, "User: ")?;
            streams.errors.flush()?;
            let mut name = String::new();
            stdin().lock().read_line(&mut name)?;
            name.trim().to_owned()
        }
        None => {
            let problem = "without a terminal, give --username NAME and --password-stdin";
            return Err(Problem::Usage(problem.to_owned()));
        }
    };
    if name.is_empty() || name.contains(':') {
        let problem = "a user's name has at least a character, and no colon";
        return Err(Problem::Usage(problem.to_owned()));
    }
    let password = if args.password_stdin {
        password::from_input(streams.input).map_err(Problem::Usage)?
    } else {
        password::ask(&format!("Password of {name}: "))
            .map_err(|problem| Problem::Usage(format!("{problem}: use --password-stdin")))?
    };
    Ok(Credentials::new(name, password))
}

fn log_out(args: &LogoutArgs, streams: &mut Streams<'_>) -> Result<u8, Problem> {
    let directory = directory(args.docker_config.as_ref())?;
    let authority = credentials::authority(&args.registry).map_err(Problem::Usage)?;
    if !store::forget(&directory, &authority)? {
        return Err(Problem::Missing(format!("{authority}: there was no login")));
    }
    streams.print([format!("the login to {authority} is removed")])?;
    Ok(0)
}
