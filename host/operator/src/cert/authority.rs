//! The certificate authority (CA), and the certificates that it signs.

use super::name::{ClientName, MAX_COMMON_NAME, Name};
use crate::files::{self, Existing};
use anyhow::{Context as _, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

/// How far before now a certificate becomes valid, for clients whose clock is
/// behind.
const LEEWAY: Duration = Duration::from_hours(1);

const DAY: Duration = Duration::from_hours(24);

/// The largest file with keys or certificates that is read.
///
/// Limit: bytes of a file with a key or certificates; test: none, it comes from the
/// operator.
const MAX_PEM: u64 = 256 * 1024;

/// The length of a serial number: 127 random bits, because it must be positive.
const SERIAL_BYTES: usize = 16;

/// A CA, ready to sign.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificates that a server has to send after its own: the CA and
    /// the ones above it, without the root, which clients have.
    chain: String,
    /// The file with its certificates.
    pub(super) certificate: PathBuf,
    /// When it expires.
    pub(super) not_after: SystemTime,
}

impl Authority {
    /// Opens the CA in this directory, or creates one. An existing key is
    /// never replaced. Returns whether the CA is new.
    pub(super) fn open_or_make(
        directory: &Path,
        first: Option<&Name>,
        days: u32,
    ) -> anyhow::Result<(Self, bool)> {
        let (certificate, key) = (directory.join("ca.crt"), key_file(directory, "ca"));
        if certificate.exists() {
            ensure!(
                key.exists(),
                "{} exists without its key {}: restore the key, or choose another --output",
                certificate.display(),
                key.display(),
            );
            return Ok((Self::open(&certificate, &key)?, false));
        }
        // The key is written first: a run after an interrupted one reuses it.
        let pair = key_pair(&key)?;
        let params = authority(first, days)?;
        let text = params.self_signed(&pair)?.pem();
        write(&certificate, text.as_bytes(), files::PUBLIC, Existing::Keep)?;
        Ok((Self::open(&certificate, &key)?, true))
    }

    /// Opens an existing CA, created by this program or another.
    pub(super) fn open(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let text = read(certificate)?;
        let pair = parse_key(key)?;
        let mut pems = Vec::new();
        for pem in Pem::iter_from_buffer(text.as_bytes()) {
            let pem = pem.with_context(|| format!("{} is not PEM", certificate.display()))?;
            if pem.label == "CERTIFICATE" {
                pems.push(pem);
            }
        }
        let name = certificate.display();
        let first = pems.first().with_context(|| {
            format!("{name} has no certificate; it should start with -----BEGIN CERTIFICATE-----")
        })?;
        let parsed = first.parse_x509().with_context(|| format!("cannot read {name}"))?;
        check(&parsed, &pair, certificate, key)?;
        let mut chain = String::new();
        for pem in &pems {
            let link = pem.parse_x509().with_context(|| format!("cannot read {name}"))?;
            if link.subject() != link.issuer() {
                chain.push_str(&encode(&pem.contents));
            }
        }
        let not_after = moment(parsed.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(&first.contents.as_slice().into(), pair)
            .with_context(|| format!("cannot sign with {name}"))?;
        Ok(Self { issuer, chain, certificate: certificate.to_owned(), not_after })
    }

    /// Writes a server certificate, and its key unless that exists. Returns
    /// when the certificate expires.
    pub(super) fn server(
        &self,
        names: &[Name],
        days: u32,
        certificate: &Path,
        key: &Path,
    ) -> anyhow::Result<SystemTime> {
        let mut params = leaf(ExtendedKeyUsagePurpose::ServerAuth);
        if let Some(name) = names.iter().map(Name::to_string).find(|n| n.len() <= MAX_COMMON_NAME) {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = names
            .iter()
            .map(|name| match name {
                Name::Dns(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
                Name::Address(address) => Ok(SanType::IpAddress(*address)),
            })
            .collect::<Result<_, rcgen::Error>>()?;
        self.sign(params, days, certificate, key)
    }

    /// Writes a client certificate, and its key unless that exists. Returns
    /// when the certificate expires.
    pub(super) fn client(
        &self,
        name: &ClientName,
        days: u32,
        certificate: &Path,
        key: &Path,
    ) -> anyhow::Result<SystemTime> {
        let mut params = leaf(ExtendedKeyUsagePurpose::ClientAuth);
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        self.sign(params, days, certificate, key)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        days: u32,
        certificate: &Path,
        key: &Path,
    ) -> anyhow::Result<SystemTime> {
        let now = SystemTime::now();
        // A certificate is useless after its CA has expired.
        let not_after = (now + DAY * days).min(self.not_after);
        params.not_before = (now - LEEWAY).into();
        params.not_after = not_after.into();
        params.serial_number = Some(serial()?);
        // The key is kept, so that a running server can switch to the new
        // certificate by reading one file.
        let pair = key_pair(key)?;
        let text = params.signed_by(&pair, &self.issuer)?.pem() + &self.chain;
        write(certificate, text.as_bytes(), files::PUBLIC, Existing::Replace)?;
        Ok(not_after)
    }
}

/// The certificate of a new CA, which may not sign other CAs.
fn authority(first: Option<&Name>, days: u32) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    // Shown in lists of trusted certificates.
    let name = first.map(|name| format!("Roadstead CA of {name}"));
    let name = name.filter(|name| name.len() <= MAX_COMMON_NAME);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.unwrap_or_else(|| "Roadstead CA".to_owned()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (SystemTime::now() - LEEWAY).into();
    params.not_after = (SystemTime::now() + DAY * days).into();
    params.serial_number = Some(serial()?);
    Ok(params)
}

fn leaf(usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Checks that a CA given on the command line can sign.
fn check(
    parsed: &X509Certificate<'_>,
    pair: &KeyPair,
    certificate: &Path,
    key: &Path,
) -> anyhow::Result<()> {
    let (name, key) = (certificate.display(), key.display());
    ensure!(
        parsed.public_key().raw == pair.subject_public_key_info(),
        "{key} is not the key of {name}: give a certificate and its own key",
    );
    let signs = match parsed.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        _ => true,
    };
    ensure!(
        parsed.is_ca() && signs,
        "{name} is not a CA certificate (CA:TRUE, keyCertSign), so nothing that it signs would be \
         trusted: give one with --ca-cert, or create one in another --output",
    );
    if moment(parsed.validity().not_after.timestamp()) <= SystemTime::now() {
        bail!(
            "{name} expired on {}: create a new CA in another --output, and give its ca.crt to \
             all clients",
            parsed.validity().not_after.to_datetime().date(),
        );
    }
    Ok(())
}

/// The file of a key that no client may have. A `.key` without its `.cert` would keep clients
/// from using the directory as their `--cert-dir`; directories of older versions have one.
pub(super) fn key_file(directory: &Path, name: &str) -> PathBuf {
    let old = directory.join(format!("{name}.key"));
    if old.exists() { old } else { directory.join(format!("{name}-key.pem")) }
}

/// The key in this file; created if the file does not exist.
fn key_pair(path: &Path) -> anyhow::Result<KeyPair> {
    if path.exists() {
        return parse_key(path);
    }
    let pair = KeyPair::generate()?;
    write(path, pair.serialize_pem().as_bytes(), files::SECRET, Existing::Keep)?;
    Ok(pair)
}

fn parse_key(path: &Path) -> anyhow::Result<KeyPair> {
    let text = read(path)?;
    ensure!(
        !text.contains("ENCRYPTED"),
        "{0} is encrypted: decrypt it with openssl pkcs8 -in {0} -out FILE, and use that",
        path.display(),
    );
    KeyPair::from_pem(&text).with_context(|| {
        format!(
            "cannot read the key {0}; it must be PKCS #8: convert it with openssl pkcs8 -topk8 \
             -nocrypt -in {0} -out FILE",
            path.display()
        )
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes =
        files::read(path, MAX_PEM).with_context(|| format!("cannot read {}", path.display()))?;
    String::from_utf8(bytes).with_context(|| format!("{} is not PEM", path.display()))
}

fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> anyhow::Result<()> {
    files::write(path, bytes, mode, existing)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn encode(der: &[u8]) -> String {
    use base64::Engine as _;
    const LINE: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // Base64 is ASCII, so each byte is a character.
    for line in text.as_bytes().chunks(LINE) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn serial() -> anyhow::Result<SerialNumber> {
    let mut bytes = [0; SERIAL_BYTES];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system returned no random numbers"))?;
    // Positive, and of full length.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn moment(timestamp: i64) -> SystemTime {
    // Times before 1970 count as 1970: both are in the past.
    SystemTime::UNIX_EPOCH + Duration::from_secs(timestamp.try_into().unwrap_or(0))
}

/// The names in every server certificate: those of the machine itself.
pub(super) fn own_names() -> [Name; 3] {
    [
        Name::Dns("localhost".to_owned()),
        Name::Address(IpAddr::from([127, 0, 0, 1])),
        Name::Address(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16])),
    ]
}
