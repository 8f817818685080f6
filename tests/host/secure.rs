//! Certificates, and clients that speak TLS.

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SerialNumber,
};
use roadstead_tests::Registry;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name of servers in these tests.
pub const NAME: &str = "registry.test";

/// A connection over TLS; boxed, because its state is large.
pub type Stream = Box<TlsStream<TcpStream>>;

/// A CA.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = called(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate with this serial number.
    pub fn server(&self, serial: u64) -> Pair {
        let mut parameters = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.distinguished_name = called(NAME);
        self.sign(&parameters)
    }

    /// A client's certificate, with a Common Name and other names.
    pub fn client(&self, common: Option<&str>, others: &[&str]) -> Pair {
        let others: Vec<String> = others.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(others).unwrap();
        parameters.distinguished_name = common.map(called).unwrap_or_default();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&parameters)
    }

    pub fn sign(&self, parameters: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

pub fn called(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A registry with TLS, with its own directory.
pub struct Secure {
    pub directory: tempfile::TempDir,
    pub authority: Authority,
    pub host: Registry,
}

impl Secure {
    /// Starts one, with additional variables and arguments; its certificate has
    /// the serial number 1.
    pub fn start(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority");
        authority.server(1).write(directory.path());
        let [certificate, key] = Pair::files(directory.path());
        let own = [
            ("REGISTRY_HTTP_TLS_CERTIFICATE", certificate.to_str().unwrap()),
            ("REGISTRY_HTTP_TLS_KEY", key.to_str().unwrap()),
        ];
        let root = directory.path().join("root");
        let host = Registry::start(&root, &[&own, variables].concat(), arguments).unwrap();
        Self { directory, authority, host }
    }

    /// A client that trusts the CA.
    pub fn client(&self) -> Client {
        Client::new(&self.authority.pem())
    }
}

impl Pair {
    /// The paths of its files in a directory.
    pub fn files(directory: &Path) -> [PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|name| directory.join(name))
    }

    pub fn write(&self, directory: &Path) {
        let [certificate, key] = Self::files(directory);
        fs::write(certificate, &self.certificate).unwrap();
        fs::write(key, &self.key).unwrap();
    }
}

/// The client side of TLS.
#[derive(Clone)]
pub struct Client {
    roots: Arc<RootCertStore>,
    pair: Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>,
    protocols: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Client {
    /// A client that trusts this CA, with HTTP/1.1 and any version of TLS.
    pub fn new(authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        Self {
            roots: Arc::new(roots),
            pair: None,
            protocols: vec![b"http/1.1".to_vec()],
            versions: rustls::ALL_VERSIONS.to_vec(),
        }
    }

    pub fn with(mut self, pair: &Pair) -> Self {
        let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        self.pair = Some((chain.map(Result::unwrap).collect(), Arc::new(key)));
        self
    }

    pub fn speaking(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub fn of_version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub async fn connect(&self, address: &str) -> io::Result<Stream> {
        connect(address, self.config()).await
    }

    /// For connections that share a session cache.
    pub fn config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.pair {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.protocols);
        Arc::new(config)
    }

    /// One request on a new connection.
    pub async fn get(&self, address: &str, path: &str) -> anyhow::Result<Response<Bytes>> {
        get(self.connect(address).await?, path, &[]).await
    }

    /// The serial number of the certificate on a new connection.
    pub async fn serial(&self, address: &str) -> io::Result<u64> {
        Ok(serial(&self.connect(address).await?))
    }
}

/// Connects, with a TLS handshake.
pub async fn connect(address: &str, config: Arc<ClientConfig>) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).unwrap();
    Box::pin(TlsConnector::from(config).connect(name, stream)).await.map(Box::new)
}

/// The serial number of the server's certificate.
pub fn serial(stream: &Stream) -> u64 {
    let (_, session) = stream.get_ref();
    let leaf = &session.peer_certificates().unwrap()[0];
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).unwrap();
    certificate.tbs_certificate.serial.to_u64_digits()[0]
}

/// A request with the negotiated version of HTTP.
pub async fn get(
    stream: Stream,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response<Bytes>> {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default())?;
    let response: Response<Incoming> = if http2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        let mut request = request;
        *request.uri_mut() = format!("https://{NAME}{path}").parse()?;
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        let mut request = request;
        request.headers_mut().insert(http::header::HOST, NAME.parse()?);
        sender.send_request(request).await?
    };
    assert_eq!(response.version(), if http2 { Version::HTTP_2 } else { Version::HTTP_11 });
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}

/// Skips a test because a program is missing; fails where programs are required.
pub fn skip_without(program: &str, test: &str) {
    let required = std::env::var("ROADSTEAD_REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
    assert!(!required, "{program} is required; .ci/run installs it");
    roadstead_tests::skip(test, &format!("{program} is not installed"));
}
