//! `roadstead htpasswd`: like Apache's tool, for the one format that
//! registries read.

mod file;

use crate::files::{self, Existing};
use crate::password;
use file::Users;
use roadstead_access::htpasswd::{NAME_LIMIT, PASSWORD_LIMIT};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The cost of a password without `-C`. Apache's default of 5 is from 2012;
/// each step doubles the time of a guess, and 10 still takes a registry less
/// than a tenth of a second.
const DEFAULT_COST: u32 = 10;

const HELP: &str = "\
Examples:
  roadstead htpasswd -c htpasswd alice        prompt for alice's password, create the file
  roadstead htpasswd htpasswd bob             prompt for bob's, add or change the entry
  roadstead htpasswd -Bbn alice secret        print an entry
  echo secret | roadstead htpasswd -i htpasswd alice
  roadstead htpasswd -D htpasswd bob          delete bob
  roadstead htpasswd -v htpasswd alice        check a password; status 3 if it is wrong

A password on the command line (-b) stays in the shell's history and is visible
to `ps`; -i or the prompt is safer. A new file has mode 0600; an existing one
keeps its mode and owner. Exit status: 0 done, 1 file, 2 usage, 3 wrong password,
5 too long, 6 bad or unknown name, 7 not an htpasswd file.

To serve with it:
  REGISTRY_AUTH=htpasswd REGISTRY_AUTH_HTPASSWD_PATH=htpasswd roadstead serve";

/// Manage the file of users and passwords
#[derive(clap::Args, Debug)]
#[command(
    after_help = HELP,
    override_usage = "roadstead htpasswd [-cBiDv] [-C COST] FILE USER
       roadstead htpasswd -b[cBv] [-C COST] FILE USER PASSWORD
       roadstead htpasswd -n[Bi] [-C COST] USER
       roadstead htpasswd -nb[B] [-C COST] USER PASSWORD"
)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of Apache's tool")]
pub struct Args {
    /// Print the entry instead of changing a file
    #[arg(short = 'n', conflicts_with_all = ["create", "delete", "verify"])]
    print: bool,
    /// Take the password from the command line
    #[arg(short = 'b', conflicts_with = "input")]
    batch: bool,
    /// Take the password from standard input
    #[arg(short = 'i')]
    input: bool,
    /// Create the file; an existing one is replaced
    #[arg(short = 'c', conflicts_with_all = ["delete", "verify"])]
    create: bool,
    /// Hash with bcrypt: the default, and the only format that registries read
    #[arg(short = 'B')]
    bcrypt: bool,
    /// Cost of checking or guessing a password; each step doubles it
    #[arg(short = 'C', value_name = "COST", default_value_t = DEFAULT_COST,
        value_parser = clap::value_parser!(u32).range(4..=17))]
    cost: u32,
    /// Delete the user
    #[arg(short = 'D', conflicts_with = "verify")]
    delete: bool,
    /// Check the password
    #[arg(short = 'v')]
    verify: bool,
    /// Apache's other formats
    #[arg(short = 'm', short_aliases = ['d', 's', 'p', '2', '5'], hide = true)]
    other: bool,
    /// See the usage above
    #[arg(value_name = "FILE|USER|PASSWORD", trailing_var_arg = true)]
    operands: Vec<String>,
}

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Where `-i` reads the password.
    pub input: &'a mut dyn Read,
    /// Where `-n` prints the entry.
    pub output: &'a mut dyn Write,
    /// For messages: what was done, or why not.
    pub errors: &'a mut dyn Write,
}

/// Why nothing was done, and the exit status of Apache's tool in that case.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

/// The exit status of Apache's tool for each kind of failure.
mod status {
    pub(super) const FILE: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const MISMATCH: u8 = 3;
    pub(super) const TOO_LONG: u8 = 5;
    pub(super) const NAME: u8 = 6;
    pub(super) const INVALID: u8 = 7;
}

/// Runs the command and returns the exit status.
pub fn run(args: &Args, streams: &mut Streams<'_>) -> u8 {
    match execute(args, streams) {
        Ok(()) => 0,
        Err(failure) => {
            // If this fails too, there is nowhere else to report it.
            let _ = writeln!(streams.errors, "htpasswd: {}", failure.message);
            failure.status
        }
    }
}

fn execute(args: &Args, streams: &mut Streams<'_>) -> Result<(), Failure> {
    if args.other {
        return Err(fail(
            status::USAGE,
            "registries read bcrypt only: omit -m, -d, -s, -p, -2 and -5, or use -B",
        ));
    }
    let Operands { file, user, password } = operands(args)?;
    check_name(user)?;
    let Some(path) = file else {
        let entry = entry(user, &new_password(args, password, streams)?, args.cost)?;
        return writeln!(streams.output, "{entry}").map_err(|error| failed("print", &error));
    };
    // Checked before the prompt for a password.
    let there = path.try_exists();
    if !args.create && !there.map_err(|e| failed(&format!("read {}", path.display()), &e))? {
        let message = format!("{} does not exist; create it with -c", path.display());
        return Err(fail(status::FILE, message));
    }
    if args.verify {
        return verify(&path, user, args, password, streams);
    }
    let entry = if args.delete {
        None
    } else {
        Some(entry(user, &new_password(args, password, streams)?, args.cost)?)
    };
    let done = change(&path, user, entry.as_deref(), args.create)?;
    let _ = writeln!(streams.errors, "{done}");
    Ok(())
}

struct Operands<'a> {
    file: Option<PathBuf>,
    user: &'a str,
    password: Option<&'a str>,
}

fn operands(args: &Args) -> Result<Operands<'_>, Failure> {
    let mut rest = args.operands.iter().map(String::as_str);
    let file = if args.print { None } else { rest.next().map(PathBuf::from) };
    let user = rest.next();
    let password = if args.batch && !args.delete { rest.next() } else { None };
    let complete =
        (args.print || file.is_some()) && (!args.batch || args.delete || password.is_some());
    match (user, rest.next()) {
        (Some(user), None) if complete => Ok(Operands { file, user, password }),
        _ => {
            let file = if args.print { "" } else { "FILE " };
            let password = if args.batch && !args.delete { " PASSWORD" } else { "" };
            let hint = match args.operands.len() {
                // Probably the password.
                2.. if !args.batch && !args.delete => {
                    "; to give the password on the command line, use -b"
                }
                _ => "",
            };
            Err(fail(
                status::USAGE,
                format!("these flags require {file}USER{password}{hint}; see --help"),
            ))
        }
    }
}

fn check_name(user: &str) -> Result<(), Failure> {
    if user.len() > NAME_LIMIT {
        return Err(fail(
            status::TOO_LONG,
            format!("the name has {} bytes; the limit is {NAME_LIMIT}", user.len()),
        ));
    }
    let problem = if user.is_empty() {
        "the name is empty"
    } else if user.contains(':') {
        "the name has a colon, which separates names from hashes: choose another"
    } else if user.chars().any(char::is_control) || user.trim() != user {
        "the name has control characters, or spaces around it: choose another"
    } else if user.starts_with('#') {
        "the name starts with #, like a comment: choose another"
    } else {
        return Ok(());
    };
    Err(fail(status::NAME, problem))
}

/// The password for a new entry; on a terminal, prompts twice.
fn new_password(
    args: &Args,
    given: Option<&str>,
    streams: &mut Streams<'_>,
) -> Result<String, Failure> {
    let password = match given {
        Some(given) => given.to_owned(),
        None if args.input => input(streams)?,
        None => {
            let first = ask("New password: ")?;
            check_password(&first)?;
            if ask("Re-type new password: ")? != first {
                return Err(fail(
                    status::MISMATCH,
                    "the two passwords differ, and nothing was changed: try again",
                ));
            }
            first
        }
    };
    check_password(&password)?;
    Ok(password)
}

fn input(streams: &mut Streams<'_>) -> Result<String, Failure> {
    password::from_input(streams.input).map_err(|problem| fail(status::USAGE, problem))
}

fn ask(prompt: &str) -> Result<String, Failure> {
    password::ask(prompt).map_err(|problem| {
        fail(status::USAGE, format!("{problem}: use -i to read it from standard input"))
    })
}

fn check_password(password: &str) -> Result<(), Failure> {
    if password.len() > PASSWORD_LIMIT {
        return Err(fail(
            status::TOO_LONG,
            format!(
                "the password has {} bytes; bcrypt ignores all after the first {PASSWORD_LIMIT}: \
                 choose a shorter one",
                password.len()
            ),
        ));
    }
    if password.is_empty() || password.contains(['\0', '\n', '\r']) {
        return Err(fail(
            status::USAGE,
            "the password is empty or contains a line end or NUL: choose another",
        ));
    }
    Ok(())
}

/// A line of the file, with the hash prefix that Apache writes.
fn entry(user: &str, password: &str, cost: u32) -> Result<String, Failure> {
    let hash = roadstead_access::htpasswd::hash(password, cost)
        .map_err(|error| fail(status::USAGE, format!("cannot hash the password: {error}")))?;
    Ok(format!("{user}:{hash}"))
}

/// Changes or creates the file; without an entry, deletes the user's.
fn change(path: &Path, user: &str, entry: Option<&str>, create: bool) -> Result<String, Failure> {
    let at = |error: &std::io::Error| failed(&format!("change {}", path.display()), error);
    // Serialises concurrent changes. Where the file system has no locks, it
    // goes on without.
    let directory = std::fs::File::open(files::directory(path)).ok();
    let _lock = directory.as_ref().map(std::fs::File::lock);
    let there = path.exists();
    let mut users = if there { read(path)? } else { Users::default() };
    let mode = if there { files::mode(path).map_err(|e| at(&e))? } else { files::SECRET };
    let mut note = String::new();
    if create {
        let others = users.others(user);
        if others > 0 {
            let users = if others == 1 { "user" } else { "users" };
            note = format!("; {others} other {users} of {} removed", path.display());
        }
        users = Users::default();
    }
    let known = users.set(user, entry);
    let done = match (entry, known) {
        (None, false) => return Ok(format!("User {user} not found")),
        (None, true) => "Deleting",
        (Some(_), false) => "Adding",
        (Some(_), true) => "Updating",
    };
    files::write(path, users.text(), mode, Existing::Replace).map_err(|e| at(&e))?;
    Ok(format!("{done} password for user {user}{note}"))
}

fn verify(
    path: &Path,
    user: &str,
    args: &Args,
    given: Option<&str>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let users = read(path)?;
    let Some(hash) = users.hash(user) else {
        return Err(fail(status::NAME, format!("User {user} not found in {}", path.display())));
    };
    let password = match given {
        Some(given) => given.to_owned(),
        None if args.input => input(streams)?,
        None => ask("Enter password: ")?,
    };
    check_password(&password)?;
    let matches = bcrypt::verify(&password, hash).map_err(|_| {
        fail(
            status::INVALID,
            format!("the entry of {user} is not bcrypt, which registries need: set it again"),
        )
    })?;
    if !matches {
        return Err(fail(status::MISMATCH, "password verification failed"));
    }
    let _ = writeln!(streams.errors, "Password for user {user} correct.");
    Ok(())
}

fn read(path: &Path) -> Result<Users, Failure> {
    let text = files::read(path, file::MAX_FILE)
        .map_err(|error| failed(&format!("read {}", path.display()), &error))?;
    Users::parse(text).map_err(|problem| {
        fail(status::INVALID, format!("{} is not an htpasswd file: {problem}", path.display()))
    })
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    fail(status::FILE, format!("cannot {what}: {error}"))
}

fn fail(status: u8, message: impl Into<String>) -> Failure {
    Failure { status, message: message.into() }
}
