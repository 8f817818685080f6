//! The registries whose certificates Docker on this machine does not verify, and with which it
//! speaks plain HTTP: `insecure-registries` of its file, and what the running engine says.

use super::report::Report;
use super::target::Target;
use crate::files;
use ipnet::IpNet;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// The engine's configuration.
pub(super) const FILE: &str = "/etc/docker/daemon.json";

/// Where the engine answers.
pub(super) const SOCKET: &str = "/var/run/docker.sock";

/// The largest file that is read.
///
/// Limit: bytes of Docker's `daemon.json`; test: none, it comes from the operator.
const MAX_FILE: u64 = 1024 * 1024;

/// What Docker on this machine is told of a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Insecure {
    /// It is listed: by this entry, in this place.
    Listed { entry: String, place: String },
    /// It is not.
    No,
}

/// Finds out what Docker on this machine is told of a registry, and reports entries that are
/// not in force or miss it.
pub(super) async fn insecure(
    target: &Target,
    addresses: &[IpAddr],
    (file, socket): (&Path, &Path),
    limit: Duration,
    report: &mut Report<'_>,
) -> Insecure {
    let shown = file.display();
    let in_file = match of_file(file) {
        Ok(entries) => entries,
        Err(problem) => {
            report.warn(
                format!("{shown} {problem}"),
                format!("correct {shown}; docker info shows what is in force"),
            );
            Vec::new()
        }
    };
    let in_force = of_engine(socket, limit).await;
    let find = |entries: &[String]| entries.iter().find(|e| covers(e, target, addresses)).cloned();
    let listed = find(&in_file);
    if let Some(entry) = &listed
        && let Some(in_force) = &in_force
        && find(in_force).is_none()
    {
        report.warn(
            format!("{shown} lists {entry} under insecure-registries, but Docker has not read it"),
            "sudo systemctl restart docker",
        );
        return Insecure::No;
    }
    if let Some(entry) = listed {
        return Insecure::Listed { entry, place: format!("{shown} lists") };
    }
    if let Some(entry) = in_force.as_deref().and_then(find) {
        return Insecure::Listed { entry, place: "docker info lists".to_owned() };
    }
    if let Some(entry) = in_file.iter().find(|entry| has_host(entry, target)) {
        let authority = target.authority();
        report.warn(
            format!(
                "{shown} lists {entry} under insecure-registries, which is not {authority}: Docker \
                 compares names with their ports"
            ),
            format!("if image names begin with {authority}/, list \"{authority}\" there"),
        );
    }
    Insecure::No
}

/// The entries of the file; none if there is no file.
fn of_file(file: &Path) -> Result<Vec<String>, &'static str> {
    let text = match files::read(file, MAX_FILE) {
        Ok(text) if text.trim_ascii().is_empty() => return Ok(Vec::new()),
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err("is too large"),
        Err(_) => return Err("cannot be read, so its entries are not known"),
    };
    let not_json = "is not JSON: Docker does not start with it";
    let json: Value = serde_json::from_slice(&text).map_err(|_| not_json)?;
    match &json["insecure-registries"] {
        Value::Null => Ok(Vec::new()),
        Value::Array(entries) if entries.iter().all(Value::is_string) => {
            Ok(entries.iter().filter_map(Value::as_str).map(plain).collect())
        }
        _ => Err("has an entry insecure-registries that is not a list of names: Docker does not \
                  start with it"),
    }
}

/// The entries that the running engine has, if it answers.
async fn of_engine(socket: &Path, limit: Duration) -> Option<Vec<String>> {
    let answer = ask(socket, limit).await?;
    let json: Value = serde_json::from_slice(&answer).ok()?;
    let registries = json.get("RegistryConfig")?;
    let networks = registries["InsecureRegistryCIDRs"].as_array().into_iter().flatten();
    let networks = networks.filter_map(Value::as_str).map(str::to_owned);
    let names = registries["IndexConfigs"].as_object().into_iter().flatten();
    let names = names.filter(|(_, index)| index["Secure"] == false).map(|(name, _)| name.clone());
    Some(networks.chain(names).collect())
}

#[cfg(unix)]
async fn ask(socket: &Path, limit: Duration) -> Option<Vec<u8>> {
    use tokio::net::UnixStream;
    let stream = tokio::time::timeout(limit, UnixStream::connect(socket)).await.ok()?.ok()?;
    let answer = super::http::get(Box::new(stream), "docker", "/info", None, limit).await.ok()?;
    (answer.status == http::StatusCode::OK).then_some(answer.body)
}

#[cfg(not(unix))]
async fn ask(_: &Path, _: Duration) -> Option<Vec<u8>> {
    None
}

/// An entry without a scheme, which Docker ignores.
fn plain(entry: &str) -> String {
    entry.split_once("://").map_or(entry, |(_, rest)| rest).to_ascii_lowercase()
}

/// Whether an entry is for a registry: it has its name and port, or is a network with one of its
/// addresses.
fn covers(entry: &str, target: &Target, addresses: &[IpAddr]) -> bool {
    entry == target.authority()
        || entry
            .parse::<IpNet>()
            .is_ok_and(|network| addresses.iter().any(|address| network.contains(address)))
}

/// Whether an entry is for the registry's host, on whatever port.
fn has_host(entry: &str, target: &Target) -> bool {
    entry.parse::<Target>().is_ok_and(|entry| entry.host == target.host)
}
