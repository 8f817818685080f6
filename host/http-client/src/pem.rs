//! Files of certificates and keys. Errors name the file, and the caller the setting.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest file of certificates or keys, in bytes.
///
/// Limit: bytes of a file of certificates for a collector or an endpoint of notifications; test:
/// `files_of_certificates`.
const FILE_LIMIT: u64 = 1024 * 1024;

/// The certificates in a file.
///
/// # Errors
/// When the file cannot be read, is larger than 1 MiB, or has none in PEM.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read_pem(file)?).collect();
    let found = found.map_err(|error| format!("{}: {error}", file.display()))?;
    if found.is_empty() {
        return Err(format!("{}: has no certificates in PEM", file.display()));
    }
    Ok(found)
}

/// The bytes of a file in PEM.
///
/// # Errors
/// When it cannot be read, or is larger than 1 MiB.
pub fn read_pem(file: &Path) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = Vec::new();
    // Not by its length: it may be a pipe, or grow.
    File::open(file)
        .and_then(|it| it.take(FILE_LIMIT + 1).read_to_end(&mut text))
        .map_err(wrong)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(format!("{}: is larger than {FILE_LIMIT} bytes", file.display()));
    }
    Ok(text)
}
