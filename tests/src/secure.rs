//! A registry's certificate and user, and requests with both.

use crate::client::{Answer, send_on};
use bytes::Bytes;
use http::Request;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use roadstead_access::htpasswd;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A user.
pub const USER: &str = "alice";

/// The user's password, with a colon, because clients might split there.
pub const PASSWORD: &str = "pass:word-of-alice";

/// A server's certificate, its key, and the CA that signed it, in files that are
/// removed when this is dropped.
#[derive(Debug)]
pub struct Pair(TempDir);

impl Pair {
    /// A certificate for names and addresses.
    pub fn new(names: &[&str]) -> anyhow::Result<Self> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Self::sign(&CertificateParams::new(names)?)
    }

    /// A certificate with its name in the Common Name only, as was usual before
    /// 2000.
    pub fn with_common_name_only(name: &str) -> anyhow::Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = called(name);
        Self::sign(&parameters)
    }

    fn sign(parameters: &CertificateParams) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name = called("authority of tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let pair = Self(tempfile::tempdir()?);
        std::fs::write(pair.authority(), authority.pem())?;
        std::fs::write(pair.path("server.crt"), parameters.signed_by(&key, &authority)?.pem())?;
        std::fs::write(pair.path("server.key"), key.serialize_pem())?;
        Ok(pair)
    }

    /// The file of the CA's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The files of the certificate and of its key.
    pub fn files(&self) -> [PathBuf; 2] {
        ["server.crt", "server.key"].map(|name| self.path(name))
    }

    /// The settings of a registry that uses it.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let [certificate, key] = self.files().map(|file| file.display().to_string());
        [("REGISTRY_HTTP_TLS_CERTIFICATE", certificate), ("REGISTRY_HTTP_TLS_KEY", key)]
    }

    /// Sends a request to `address` (`host:port`) over TLS.
    pub async fn send(&self, address: &str, request: Request<Bytes>) -> anyhow::Result<Answer> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(host)?, stream)
            .await?;
        send_on(stream, address, request).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The entry of an htpasswd file for [`USER`] with [`PASSWORD`].
pub fn entry() -> anyhow::Result<String> {
    Ok(format!("{USER}:{}", htpasswd::hash(PASSWORD, htpasswd::MIN_COST)?))
}

fn called(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
