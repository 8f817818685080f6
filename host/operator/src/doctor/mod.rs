//! `roadstead doctor`: checks any registry from a client's point of view, and
//! says how to fix what is wrong.

mod chain;
pub(crate) mod challenge;
pub(crate) mod connect;
mod connection;
mod engine;
pub(crate) mod http;
mod login;
mod proxy;
mod registry;
mod report;
pub(crate) mod target;
pub(crate) mod tls;
pub(crate) mod trust;

use crate::cert::DOCKER_DIRECTORY;
use crate::credentials::Credentials;
use crate::runtime;
use anyhow::Context as _;
use chain::TrustStores;
use connection::{ConnectOptions, Connection};
use engine::Insecure;
use login::Login;
use report::Report;
pub use report::{Finding, Level};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use target::{Scheme, Target};
use tls::Identity;
use tokio::runtime::Builder;
use trust::{Docker, Roots};

/// How many seconds each step may take, without `--timeout`.
///
/// Limit: seconds of each step, by default; test: `nothing_is_said`.
const DEFAULT_TIMEOUT: u64 = 10;

/// The longest `--timeout`, in seconds.
///
/// Limit: seconds of each step, at most; test: none, it is compared with the flag.
const MAX_TIMEOUT: u64 = 300;

/// The port of most registries, which is not the default of any client.
const USUAL_PORT: u16 = 5000;

/// The largest file with a client's certificate or key.
///
/// Limit: bytes of a file with a client's certificate; test: none, it comes from the
/// operator.
const MAX_IDENTITY: u64 = 256 * 1024;

const HELP: &str = "\
Examples:
  roadstead doctor registry.example:5000
  roadstead doctor https://registry.example:5000 --ca certs/ca.crt
  roadstead doctor https://registry.example:5000 --user alice
  roadstead doctor docker.io

Without a scheme, TLS is tried first and then plain HTTP, as Docker does. Each
connection is ok, warn or fail, with a fix. The exit status is 1 if any connection is fail.
Nothing is changed. A password is sent only over a connection that is safe.";

/// Check a registry from a client's point of view
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The registry, for example registry.example:5000
    #[arg(value_name = "URL")]
    target: Target,
    /// Trust the CAs in this file too
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Try to log in as this user; prompts for the password
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Client certificate, for registries that require one
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Connect to this address instead of resolving the name
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// How many seconds each step may take
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT,
        value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT))]
    timeout: u64,
    /// Where Docker on this machine looks for CA certificates
    #[arg(long, value_name = "DIRECTORY", default_value = DOCKER_DIRECTORY)]
    docker_directory: PathBuf,
    /// Docker's configuration on this machine
    #[arg(long, value_name = "FILE", default_value = engine::FILE)]
    docker_config: PathBuf,
    /// Where Docker on this machine answers
    #[arg(long, value_name = "SOCKET", default_value = engine::SOCKET)]
    docker_socket: PathBuf,
}

/// Checks the registry, and prints and returns the findings.
///
/// # Errors
/// When the flags are invalid.
pub fn run(args: &Args, input: &mut dyn Read, out: &mut dyn Write) -> anyhow::Result<Vec<Finding>> {
    let credentials = Credentials::of_user(args.user.as_deref(), args.password_stdin, input);
    let credentials = credentials.map_err(anyhow::Error::msg)?;
    let identity = identity(args)?;
    let system = Roots::of_system();
    let mut all = system.clone();
    for file in &args.ca {
        all = all.with_file(file)?;
    }
    let docker = Docker::read(&args.docker_directory, &args.target.authority(), &system);
    let trust_stores = TrustStores { system, all, files: args.ca.clone(), docker };
    let mut report = Report::new(out);
    let work = examine(args, &trust_stores, credentials.as_ref(), identity, &mut report);
    runtime::block_on(Builder::new_current_thread(), work)?;
    Ok(report.findings)
}

/// Whether any finding is a failure.
pub fn failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Fail)
}

async fn examine(
    args: &Args,
    trust_stores: &TrustStores,
    credentials: Option<&Credentials>,
    identity: Option<Identity>,
    report: &mut Report<'_>,
) {
    let limit = Duration::from_secs(args.timeout);
    let target = &args.target;
    if !target.path.is_empty() {
        report.warn(
            format!("ignoring the path {}: a registry answers at /v2/ of its host", target.path),
            format!("give the registry alone: {}", target.authority()),
        );
    }
    // First, because a proxy may explain what follows.
    proxies(target, target.scheme.unwrap_or(Scheme::Https), report);
    let addresses = connect::addresses(target, args.address, limit, report).await;
    if addresses.is_empty() {
        return;
    }
    // What Docker considers its own machine; the address of --address may be
    // a tunnel's.
    let local = target.host == "localhost"
        || (args.address.is_none() && addresses.iter().all(IpAddr::is_loopback));
    let ports = match (target.port, target.scheme) {
        (Some(port), _) => vec![port],
        (None, Some(scheme)) => vec![scheme.port()],
        (None, None) => vec![Scheme::Https.port(), Scheme::Http.port()],
    };
    let mut address = None;
    for (number, port) in ports.iter().enumerate() {
        let another = number + 1 < ports.len();
        address = connect::tcp(&addresses, *port, another, limit, report).await;
        if address.is_some() {
            break;
        }
    }
    let Some(address) = address else {
        return connect::forgotten_port(target, &addresses, USUAL_PORT, limit, report).await;
    };
    let insecure = if local {
        Insecure::No
    } else {
        let places = (args.docker_config.as_path(), args.docker_socket.as_path());
        engine::insecure(target, &addresses, places, limit, report).await
    };
    let options = ConnectOptions { target, trust_stores, insecure, identity, local, limit };
    let connection = Connection::find(address, options, report).await;
    let answer = match &connection {
        Some(connection) => registry::examine(connection, report).await,
        None => None,
    };
    let (Some(connection), Some(answer)) = (connection, answer) else {
        return connect::forgotten_port(target, &addresses, USUAL_PORT, limit, report).await;
    };
    Login { connection: &connection, trust_stores, credentials, local, limit }
        .examine(&answer, report)
        .await;
}

fn proxies(target: &Target, scheme: Scheme, report: &mut Report<'_>) {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some((name, proxy)) = proxy::applies(target, scheme, variable) {
        report.warn(
            format!("{name}={proxy}: clients use that proxy; this program connects directly"),
            format!(
                "if clients should connect directly, add {} to NO_PROXY, also in Docker's own \
                 settings (\"proxies\" in /etc/docker/daemon.json, or its service)",
                target.host
            ),
        );
    }
}

fn identity(args: &Args) -> anyhow::Result<Option<Identity>> {
    let (Some(certificate), Some(key)) = (&args.client_cert, &args.client_key) else {
        return Ok(None);
    };
    let read = |path: &PathBuf| {
        crate::files::read(path, MAX_IDENTITY)
            .with_context(|| format!("cannot read {}", path.display()))
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is not PEM", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?)
        .with_context(|| format!("{} is not a private key in PEM", key.display()))?;
    Ok(Some((chain, key)))
}
