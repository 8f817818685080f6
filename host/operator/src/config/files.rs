//! The files and directories that settings name, and the address.

use super::check::Finding;
use super::{Start, identity};
use crate::doctor::Level;
use crate::files;
use crate::pem;
use crate::permissions;
use roadstead_access::{Authority, Users};
use roadstead_config::report::{Report, Source};
use roadstead_config::{Certificate, Config, GcsKey, Service};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Largest key of a service account, in bytes, as the registry reads it.
///
/// Limit: bytes of a service account's key that is checked; test: none, it comes from the
/// operator.
const KEY_FILE_LIMIT: u64 = 64 * 1024;

/// What others than the owner and the group must not do with a secret file: read, write or
/// replace it; and the group must not write it.
const OTHERS: u32 = 0o027;

/// What is refused or warned of because of who reaches the address.
pub(super) fn listening(config: &Config) -> Vec<Finding> {
    let address = match config.address.strip_prefix("localhost:") {
        Some(port) => {
            port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        }
        None => config.address.parse().ok(),
    };
    // A name would have to be asked of the network.
    let Some(address) = address else { return Vec::new() };
    let refused = config.refuse_plain_passwords(address).err();
    let warnings = if refused.is_some() { Vec::new() } else { config.exposed(address) };
    let refused = refused.into_iter().map(|what| Finding::new(Level::Fail, None, what));
    refused.chain(warnings.into_iter().map(|what| Finding::new(Level::Warn, None, what))).collect()
}

/// All files and directories that are used.
pub(super) fn examine(config: &Config, start: &Start) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(tls) = &config.tls {
        match &tls.certificate {
            Certificate::Files { certificate, key } => {
                findings.extend(identity::examine(certificate, key));
            }
            Certificate::Acme(acme) => {
                const CACHE: &str = "REGISTRY_HTTP_TLS_LETSENCRYPT_CACHEFILE";
                let what = |path: &Path, _: &io::Error| {
                    let path = path.display();
                    format!("{CACHE}: {path} cannot be a directory for keys and certificates")
                };
                findings.push(directory(&acme.cache, true, what));
                findings.extend(others(CACHE, &acme.cache));
                let ca = "REGISTRY_HTTP_TLS_LETSENCRYPT_DIRECTORYCA";
                findings.extend(acme.directory_ca.iter().map(|file| certificates(ca, file)));
            }
        }
        let cas = tls.client_cas.iter();
        findings.extend(cas.map(|file| certificates(pem::CLIENT_CAS, file)));
    }
    findings.extend(access(config));
    for endpoint in &config.notifications.endpoints {
        let setting = format!("notifications.endpoints, {}: rootcas", endpoint.name);
        findings.extend(endpoint.root_cas.iter().map(|file| certificates(&setting, file)));
    }
    match &config.cloud {
        None => findings.push(storage(config, start)),
        Some(cloud) => {
            let roots = cloud.root_certificates.iter();
            let setting = cloud.root_certificates_setting();
            findings.extend(roots.map(|file| certificates(&setting, file)));
            if let Service::Gcs(gcs) = &cloud.service
                && let Some(GcsKey::File(file)) = &gcs.key
            {
                findings.extend(key_file(file));
            }
        }
    }
    findings
}

/// Certificates of CAs.
fn certificates(setting: &str, file: &Path) -> Finding {
    let (level, what) = match pem::read_roots(setting, file) {
        Ok(roots) => {
            let what = format!("{setting}: {}: {} to trust", file.display(), roots.len());
            (Level::Ok, what)
        }
        Err(error) => (Level::Fail, format!("{error:#}")),
    };
    Finding::new(level, Some(file.to_owned()), what)
}

/// Users, and the keys that sign tokens.
fn access(config: &Config) -> Vec<Finding> {
    let auth = &config.auth;
    if !auth.enabled() {
        return Vec::new();
    }
    let file = auth.files().into_iter().next();
    let authority = match Authority::open(auth.clone(), true) {
        Ok(authority) => authority,
        // Of an error in text that is a setting itself, there is no file.
        Err(error) => return vec![Finding::new(Level::Fail, file, error)],
    };
    let mut findings = Vec::new();
    let warnings = authority.warnings();
    if warnings.is_empty() && auth.users.is_some() {
        let users = authority.users();
        let s = if users == 1 { " can" } else { "s can" };
        let what = format!("{users} user{s} log in");
        findings.push(Finding::new(Level::Ok, file.clone(), what));
    } else if file.is_some() && warnings.is_empty() {
        findings.push(Finding::new(
            Level::Ok,
            file.clone(),
            "the keys that sign tokens can be read",
        ));
    }
    let path = file.or(Some(PathBuf::new()));
    findings.extend(warnings.into_iter().map(|what| Finding::new(Level::Warn, path.clone(), what)));
    if let Some(Users::File(path)) = &auth.users {
        findings.extend(writable("REGISTRY_AUTH_HTPASSWD_PATH", path));
    }
    findings
}

/// The storage directory, which a start makes if it is missing.
fn storage(config: &Config, start: &Start) -> Finding {
    let root = config.root.as_ref().unwrap_or(&start.default_root);
    directory(root, !config.read_only, |root, error| {
        permissions::cannot_open(root, config.read_only, error.kind())
    })
}

/// A directory that is made if it is missing, and `write` is set.
fn directory(path: &Path, write: bool, what: impl Fn(&Path, &io::Error) -> String) -> Finding {
    let found = |level, what: String| Finding::new(level, Some(path.to_owned()), what);
    let missing = |error: &io::Error| write && error.kind() == ErrorKind::NotFound;
    match permissions::directory(path, write) {
        Ok(()) => {
            let can = if write { "can be written to" } else { "can be read" };
            found(Level::Ok, format!("the directory {} {can}", path.display()))
        }
        Err(error) if missing(&error) => {
            let there =
                path.ancestors().skip(1).find(|path| path.as_os_str().is_empty() || path.exists());
            let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match permissions::directory(there, true) {
                Ok(()) => {
                    let path = path.display();
                    found(Level::Ok, format!("the directory {path} is created by the first start"))
                }
                Err(error) => found(Level::Fail, format!("{}: {error}", what(path, &error))),
            }
        }
        Err(error) => found(Level::Fail, format!("{}: {error}", what(path, &error))),
    }
}

/// A service account's key.
fn key_file(path: &Path) -> Vec<Finding> {
    const SETTING: &str = "REGISTRY_STORAGE_GCS_KEYFILE";
    let shown = path.display();
    let (level, what) = match files::read(path, KEY_FILE_LIMIT) {
        Err(error) => (Level::Fail, format!("{SETTING}: {shown}: {error}")),
        Ok(bytes) => match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(key) if key.get("private_key").is_some_and(serde_json::Value::is_string) => {
                (Level::Ok, format!("{SETTING}: {shown} is a service account's key"))
            }
            _ => (Level::Fail, format!("{SETTING}: {shown} is no service account's key in JSON")),
        },
    };
    let mut findings = vec![Finding::new(level, Some(path.to_owned()), what)];
    findings.extend(others(SETTING, path));
    findings
}

/// A warning if others than its owner and its group may use a secret file.
pub(super) fn others(setting: &str, path: &Path) -> Option<Finding> {
    // What cannot be read is said elsewhere.
    let mode = files::mode(path).ok().filter(|mode| mode & OTHERS != 0)?;
    let shown = path.display();
    let what = format!(
        "{setting}: {shown} has mode {:04o}: other users of this machine may read or replace it; \
         chmod go-w,o-rwx {shown}",
        mode & 0o7777
    );
    Some(Finding::new(Level::Warn, Some(path.to_owned()), what))
}

/// A warning if others than its owner may write a file.
fn writable(setting: &str, path: &Path) -> Option<Finding> {
    let mode = files::mode(path).ok().filter(|mode| mode & 0o022 != 0)?;
    let shown = path.display();
    let what = format!(
        "{setting}: {shown} has mode {mode:04o}: others than its owner may add users; chmod go-w \
         {shown}"
    );
    Some(Finding::new(Level::Warn, Some(path.to_owned()), what))
}

/// A warning for each configuration file that holds secrets and that others may read.
pub(super) fn secrets(report: &Report) -> Vec<Finding> {
    let mut holding: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for setting in report.settings.iter().filter(|setting| setting.row.is_secret()) {
        if let Source::File { file, .. } = &setting.source {
            holding.entry(file).or_default().push(setting.key());
        }
    }
    let files = holding.into_iter();
    files.filter_map(|(file, keys)| others(&keys.join(", "), Path::new(file))).collect()
}
