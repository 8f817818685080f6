//! `roadstead cert`: a private certificate authority (CA), and certificates
//! for the registry and its clients.

mod authority;
mod install;
mod name;
mod steps;

use anyhow::Context as _;
use authority::Authority;
pub use name::{ClientName, Name};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use steps::Steps;

/// How many days a certificate is valid, without `--days`: browsers reject
/// certificates of public CAs that are valid for more than 398.
///
/// Limit: days for which a certificate is valid, by default; test:
/// `openssl_accepts_what_is_made`.
const DEFAULT_DAYS: u32 = 397;

/// The maximum of `--days`: Apple's programs reject longer ones.
///
/// Limit: days for which a certificate is valid, at most; test: none, it is compared
/// with the flag.
const MAX_DAYS: i64 = 825;

/// How many days a CA is valid, without `--ca-days`: a new one has to be
/// distributed to all clients.
///
/// Limit: days for which a CA is valid, by default; test:
/// `openssl_accepts_what_is_made`.
const DEFAULT_AUTHORITY_DAYS: u32 = 3650;

/// The maximum of `--ca-days`: a hundred years.
///
/// Limit: days for which a CA is valid, at most; test: none, it is compared with the
/// flag.
const MAX_AUTHORITY_DAYS: i64 = 36_500;

/// How many names a certificate can have.
///
/// Limit: names of a certificate; test: none, they come from the operator.
const MAX_NAMES: usize = 100;

/// Where Docker looks for CA certificates.
pub(crate) const DOCKER_DIRECTORY: &str = "/etc/docker/certs.d";

const HELP: &str = "\
Examples:
  roadstead cert registry.example 10.0.0.5
  roadstead cert registry.example --install-docker
  roadstead cert --client alice

localhost, 127.0.0.1 and ::1 are added to each server certificate.

Files in --output: ca.crt (for clients), ca-key.pem (keep it secret), server.crt and
server-key.pem (for the registry), client-NAME.cert and .key. A second run keeps the
existing CA and keys, and renews the certificate; delete server-key.pem first to get
a new key too. The steps to use the files are printed. On this machine, the directory
is also a --cert-dir of skopeo, podman and buildah.";

/// Create a certificate authority (CA) and certificates for TLS
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// Names and addresses that clients use for the registry; those of the
    /// machine itself are added
    #[arg(value_name = "NAME", required_unless_present = "client")]
    names: Vec<Name>,
    /// Directory of the files
    #[arg(long, short, value_name = "DIRECTORY", default_value = "certs")]
    output: PathBuf,
    /// The registry's port, for the printed steps
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How many days the certificate is valid
    #[arg(long, default_value_t = DEFAULT_DAYS,
        value_parser = clap::value_parser!(u32).range(1..=MAX_DAYS))]
    days: u32,
    /// How many days a new CA is valid
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_AUTHORITY_DAYS,
        value_parser = clap::value_parser!(u32).range(1..=MAX_AUTHORITY_DAYS))]
    ca_days: u32,
    /// Sign with this CA instead of the one in --output
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_cert: Option<PathBuf>,
    /// The key of that CA
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    ca_key: Option<PathBuf>,
    /// Create a certificate for a client with this name
    #[arg(long, value_name = "NAME")]
    client: Option<ClientName>,
    /// Make Docker on this machine trust the CA for each NAME
    #[arg(long, requires = "names")]
    install_docker: bool,
    /// Where Docker looks for CA certificates
    #[arg(long, value_name = "DIRECTORY", default_value = DOCKER_DIRECTORY)]
    docker_directory: PathBuf,
}

/// Creates the files that the flags ask for, and prints the steps to use them.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.names.len() <= MAX_NAMES,
        "a certificate has at most {MAX_NAMES} names: use a wildcard such as *.example.org"
    );
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    let authority = signer(args, out)?;
    let certificate = args.output.join("server.crt");
    let key = authority::key_file(&args.output, "server");
    let host = args.names.iter().find(|name| !name.is_wildcard()).or(args.names.first());
    // A placeholder for the host where there is only a wildcard or a client.
    let registries = host.map_or_else(
        || vec!["REGISTRY".to_owned()],
        |name| name.authorities(args.port).map(|name| name.replace('*', "NAME")).collect(),
    );
    let steps = Steps {
        authorities: &registries,
        port: args.port,
        certificate: &certificate,
        key: &key,
        ca: &authority.certificate,
    };
    if !args.names.is_empty() {
        let names = all_names(&args.names);
        let kept = key.exists();
        let until = authority.server(&names, args.days, &certificate, &key)?;
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        say(out, &format!("certificate for {}", names.join(", ")), &certificate, until)?;
        let note = if kept { "unchanged" } else { "keep it secret" };
        writeln!(out, "{}: its key; {note}\n", key.display())?;
        write!(out, "{}", steps.server())?;
    }
    if let Some(name) = &args.client {
        let base = format!("client-{}", name.as_str());
        let certificate = args.output.join(format!("{base}.cert"));
        let key = args.output.join(format!("{base}.key"));
        let until = authority.client(name, args.days, &certificate, &key)?;
        writeln!(out)?;
        say(out, &format!("certificate for the client {}", name.as_str()), &certificate, until)?;
        writeln!(out, "{}: its key; only the client needs it\n", key.display())?;
        write!(out, "{}", steps.client(&certificate, &key))?;
    }
    if args.install_docker {
        writeln!(out, "\nDocker on this machine:")?;
        let base = &args.docker_directory;
        install::install(&authority.certificate, &args.names, args.port, base, out)?;
    }
    Ok(())
}

/// The CA that signs: the one that was given, or the one in the directory.
fn signer(args: &Args, out: &mut dyn Write) -> anyhow::Result<Authority> {
    if let (Some(certificate), Some(key)) = (&args.ca_cert, &args.ca_key) {
        return Authority::open(certificate, key);
    }
    let (authority, new) = Authority::open_or_make(&args.output, args.names.first(), args.ca_days)?;
    if new {
        say(out, "CA certificate", &authority.certificate, authority.not_after)?;
        let key = authority::key_file(&args.output, "ca");
        writeln!(out, "{}: its key; keep it secret, and back it up", key.display())?;
    }
    Ok(authority)
}

/// The given names, and those of the machine itself.
fn all_names(given: &[Name]) -> Vec<Name> {
    let mut names = Vec::with_capacity(given.len() + authority::own_names().len());
    for name in given.iter().cloned().chain(authority::own_names()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn say(out: &mut dyn Write, what: &str, file: &Path, until: SystemTime) -> anyhow::Result<()> {
    // Only the day of an HTTP date: Sun, 06 Nov 1994 08:49:37 GMT.
    let date = httpdate::fmt_http_date(until);
    let day = date.get(5..16).unwrap_or(&date);
    Ok(writeln!(out, "{}: {what}, valid until {day}", file.display())?)
}
