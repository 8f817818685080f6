//! TLS handshakes with a verifier that records what it sees and accepts all.

use super::http::Stream;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What was learned in a handshake.
pub(crate) struct Session {
    /// The server's certificates, its own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Whether the server proved that it has the key of its certificate.
    pub(crate) proof: Proof,
    /// Whether it asks for a client certificate.
    pub(crate) asks_for_certificate: bool,
    /// For example `TLSv1_3 TLS13_AES_256_GCM_SHA384`.
    pub(crate) protocol: String,
}

/// Whether the server proved that it has the key of its certificate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Proof {
    /// The server has the key of its certificate.
    Good,
    /// It has another key.
    Bad,
    /// Unknown: the certificate cannot be used to check it.
    #[default]
    None,
}

/// A client certificate and its key.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Why there is no session.
pub(crate) enum Failure {
    /// The answer is not TLS, or there was none.
    NotTls(String),
    /// The server refused with a TLS alert.
    Refused(AlertDescription),
    /// Another error in the handshake.
    Other(String),
}

/// A handshake that accepts any certificate.
pub(crate) async fn handshake(
    stream: TcpStream,
    host: &str,
    identity: Option<&Identity>,
    limit: Duration,
) -> Result<(Session, Box<dyn Stream>), Failure> {
    let recorder = Arc::new(Recorder::new());
    let other = |error: Error| Failure::Other(error.to_string());
    let config = ClientConfig::builder_with_provider(recorder.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone());
    let config = match identity {
        Some((chain, key)) => {
            config.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(other)?
        }
        None => config.with_client_cert_resolver(recorder.clone()),
    };
    let stream = connect(config, stream, host, limit).await?;
    let (_, connection) = stream.get_ref();
    let version = connection.protocol_version().map(|version| format!("{version:?}"));
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let protocol = [version, suite].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let seen = recorder.take();
    let session = Session {
        chain: seen.chain,
        proof: seen.proof,
        asks_for_certificate: seen.asks_for_certificate,
        protocol,
    };
    Ok((session, Box::new(stream)))
}

/// A handshake that fails if the certificate is not trusted, as any client's.
pub(crate) async fn verified_handshake(
    stream: TcpStream,
    host: &str,
    roots: RootCertStore,
    limit: Duration,
) -> Result<Box<dyn Stream>, String> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    match connect(config, stream, host, limit).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(Failure::NotTls(error) | Failure::Other(error)) => Err(error),
        Err(Failure::Refused(alert)) => Err(format!("the server refused TLS: {alert:?}")),
    }
}

async fn connect(
    config: ClientConfig,
    stream: TcpStream,
    host: &str,
    limit: Duration,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Failure::Other(format!("{host}: {error}")))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(classify(&error)),
        Err(_) => Err(Failure::NotTls(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn classify(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(_)) | None => Failure::NotTls(error.to_string()),
        Some(Error::AlertReceived(alert)) => Failure::Refused(*alert),
        Some(other) => Failure::Other(other.to_string()),
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[derive(Default, Debug)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    proof: Proof,
    asks_for_certificate: bool,
}

#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

impl Recorder {
    fn new() -> Self {
        Self { provider: provider(), seen: Mutex::default() }
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records whether the signature is valid, and goes on in any case.
    fn signature(
        &self,
        verdict: &Result<HandshakeSignatureValid, Error>,
    ) -> HandshakeSignatureValid {
        let proof = match verdict {
            Ok(_) => Proof::Good,
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => Proof::Bad,
            Err(_) => Proof::None,
        };
        self.note(|seen| seen.proof = proof);
        HandshakeSignatureValid::assertion()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = [end_entity].into_iter().chain(intermediates);
        let chain: Vec<_> = chain.map(|link| link.clone().into_owned()).collect();
        self.note(|seen| seen.chain = chain);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        Ok(self.signature(&verify_tls12_signature(message, certificate, signed, algorithms)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        Ok(self.signature(&verify_tls13_signature(message, certificate, signed, algorithms)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.note(|seen| seen.asks_for_certificate = true);
        None
    }

    fn has_certs(&self) -> bool {
        // Otherwise `resolve` would not be called.
        true
    }
}
