//! Makes Docker on this machine trust the CA.

use super::name::Name;
use crate::files::{self, Existing};
use anyhow::Context as _;
use std::io::{self, Write};
use std::path::Path;

/// The largest certificate file that is copied.
///
/// Limit: bytes of a certificate that is installed; test: none, it comes from the
/// operator.
const MAX_CERTIFICATE: u64 = 256 * 1024;

/// Copies the CA's certificate to where Docker looks for it, for each name
/// except wildcards, to which no client connects.
pub(super) fn install(
    certificate: &Path,
    names: &[Name],
    port: u16,
    base: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let bytes = files::read(certificate, MAX_CERTIFICATE)
        .with_context(|| format!("cannot read {}", certificate.display()))?;
    let names = names.iter().filter(|name| !name.is_wildcard());
    for authority in names.flat_map(|name| name.authorities(port)) {
        let directory = base.join(authority);
        let target = directory.join("ca.crt");
        let old = files::read(&target, MAX_CERTIFICATE).ok();
        let done = match old {
            Some(old) if old == bytes => "is up to date",
            Some(_) => "replaced",
            None => "written",
        };
        if done != "is up to date" {
            std::fs::create_dir_all(&directory)
                .and_then(|()| files::write(&target, &bytes, files::PUBLIC, Existing::Replace))
                .map_err(|error| refuse(&error, certificate, &target))?;
        }
        writeln!(out, "{} {done}", target.display())?;
    }
    Ok(())
}

fn refuse(error: &io::Error, certificate: &Path, target: &Path) -> anyhow::Error {
    let (from, to) = (certificate.display(), target.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("only root can write {to}; run: sudo install -D -m 644 {from} {to}")
        }
        _ => anyhow::anyhow!("cannot write {to}: {error}"),
    }
}
