//! Faulty servers on loopback.

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// The name in most certificates of these tests.
pub(crate) const NAME: &str = "registry.example";

/// A registry's answer to `GET /v2/`.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
                      Content-Length: 2\r\n\r\n{}";

/// A server, and the heads of the requests that it received.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

/// A server's response to the head of a request.
pub(crate) type Answers = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Always the same answer.
pub(crate) fn always(answer: impl Into<String>) -> Answers {
    let answer = answer.into();
    Arc::new(move |_| answer.clone())
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Sends these bytes once a client has sent something.
pub(crate) fn raw(bytes: &'static [u8]) -> Server {
    let port = listen(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(bytes);
    });
    Server { port, seen: Arc::default() }
}

/// Accepts connections and sends nothing.
pub(crate) fn silent() -> Server {
    let port = listen(|mut stream| while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {});
    Server { port, seen: Arc::default() }
}

/// Plain HTTP.
pub(crate) fn plain(answers: Answers) -> Server {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let notes = seen.clone();
    let port = listen(move |stream| serve(stream, &answers, &notes));
    Server { port, seen }
}

/// HTTPS.
pub(crate) fn tls(config: ServerConfig, answers: Answers) -> Server {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let (notes, config) = (seen.clone(), Arc::new(config));
    let port = listen(move |stream| {
        let connection = rustls::ServerConnection::new(config.clone()).unwrap();
        serve(rustls::StreamOwned::new(connection, stream), &answers, &notes);
    });
    Server { port, seen }
}

fn serve(mut stream: impl Read + Write, answers: &Answers, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) if head.len() < 10_000 => head.push(byte[0]),
            _ => return,
        }
        // As HTTP servers answer to a TLS client hello.
        if head.len() == 1 && !byte[0].is_ascii_uppercase() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let answer = answers(&head);
    seen.lock().unwrap().push(head);
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.flush();
}

/// A CA for tests.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) certificate: Certificate,
}

impl Authority {
    /// A self-signed one.
    pub(crate) fn root(name: &str) -> Self {
        let (params, key) = Self::start(name);
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }

    /// An intermediate CA, signed by this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let (params, key) = Self::start(name);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self { params, key, certificate }
    }

    fn start(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    /// Signs a server certificate.
    pub(crate) fn sign(&self, params: &CertificateParams) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        (params.signed_by(&key, &issuer).unwrap().der().clone(), key)
    }

    /// A server with a certificate of these parameters and nothing else in its
    /// chain.
    pub(crate) fn serve(&self, params: &CertificateParams, answers: Answers) -> Server {
        let (certificate, key) = self.sign(params);
        tls(config(vec![certificate], &key), answers)
    }
}

/// Parameters of a certificate with this Common Name and these names.
pub(crate) fn named(common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

/// The same, valid between these days from now.
pub(crate) fn between(mut params: CertificateParams, from: i64, to: i64) -> CertificateParams {
    let day = |days: i64| {
        let distance = Duration::from_secs(days.unsigned_abs() * 24 * 60 * 60);
        // Whole days, and an hour of margin.
        let now = SystemTime::now() + Duration::from_hours(1);
        if days < 0 { now - distance } else { now + distance }
    };
    params.not_before = day(from).into();
    params.not_after = day(to).into();
    params
}

/// A server that sends this chain, whether or not the key matches.
pub(crate) fn config(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> ServerConfig {
    builder().with_no_client_auth().with_cert_resolver(Arc::new(resolver(chain, key)))
}

/// A server that serves only clients with a certificate of this CA.
pub(crate) fn mutual(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    clients: &Authority,
) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(clients.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
    builder()
        .with_client_cert_verifier(verifier.unwrap())
        .with_cert_resolver(Arc::new(resolver(chain, key)))
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn resolver(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Fixed {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
    Fixed(Arc::new(CertifiedKey::new(chain, key)))
}
