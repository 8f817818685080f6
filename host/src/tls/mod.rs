//! TLS: the server's certificate and the verification of clients', both reloaded
//! while the host runs.

mod acme;
pub(crate) mod certificate;
pub(crate) mod roots;

use crate::blocking;
use crate::reload::{Hangup, Watch};
use crate::tls::acme::Challenges;
use crate::tls::certificate::CertificateSummary;
use anyhow::Context as _;
use futures::future::BoxFuture;
use roadstead_config::{self as config, Certificate, TlsVersion};
use roadstead_operator::pem;
use rustls::AlertDescription;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{Acceptor, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// The ALPN protocol names, HTTP/2 preferred.
pub(crate) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Accepts TLS connections, with the configuration as it is now.
#[derive(Clone)]
pub(crate) struct TlsAcceptor {
    current: watch::Receiver<Arc<ServerConfig>>,
    challenges: Option<Challenges>,
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

/// Reloads and renews certificates for as long as the host runs.
pub(crate) type Renewal = BoxFuture<'static, ()>;

impl TlsAcceptor {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be used; the error names the setting.
    pub(crate) fn new(settings: &config::Tls, hangup: &Hangup) -> anyhow::Result<(Self, Renewal)> {
        let (source, challenges, orders) = match &settings.certificate {
            Certificate::Files { .. } => (Source::Files, None, None),
            Certificate::Acme(acme) => {
                let (challenges, orders) = acme::order(acme)?;
                (Source::Acme(challenges.certificates()), Some(challenges), Some(orders))
            }
        };
        let reader = Arc::new(Reader { settings: settings.clone(), source });
        let mut watch = Watch::new(reader.files(), hangup);
        let (first, summary) = reader.read()?;
        if let Some(summary) = summary {
            log(&summary);
        }
        let (sender, current) = watch::channel(Arc::new(first));
        let renewal = async move {
            let reload = reload(&reader, &mut watch, &sender);
            match orders {
                Some(orders) => {
                    futures::future::join(orders, reload).await;
                }
                None => reload.await,
            }
        };
        Ok((Self { current, challenges }, Box::pin(renewal)))
    }

    /// Completes a handshake. Returns `None` for an ACME challenge, after which
    /// there is no request.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if let Some(challenges) = &self.challenges
            && Challenges::is_challenge(&hello.client_hello())
        {
            let mut stream = hello.into_stream(challenges.config()).await?;
            tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
            return Ok(None);
        }
        let config = Arc::clone(&self.current.borrow());
        hello.into_stream(config).await.map(Some)
    }
}

/// Where the certificate comes from.
enum Source {
    Files,
    Acme(Arc<dyn ResolvesServerCert>),
}

/// Reads the files that the settings name.
struct Reader {
    settings: config::Tls,
    source: Source,
}

impl Reader {
    fn files(&self) -> Vec<PathBuf> {
        let mut files = self.settings.client_cas.clone();
        if let Certificate::Files { certificate, key } = &self.settings.certificate {
            files.extend([certificate.clone(), key.clone()]);
        }
        files
    }

    /// Reads all files. The summary is of a certificate that comes from a file.
    fn read(&self) -> anyhow::Result<(ServerConfig, Option<CertificateSummary>)> {
        let provider = Arc::new(ring::default_provider());
        let (resolver, summary) = match (&self.source, &self.settings.certificate) {
            (Source::Files, Certificate::Files { certificate, key }) => {
                let pair = pem::read_pair(certificate, key, &provider)?;
                let summary = summarise(pair.end_entity_cert()?)?;
                let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(pair));
                (resolver, Some(summary))
            }
            (Source::Acme(resolver), _) => (Arc::clone(resolver), None),
            (Source::Files, Certificate::Acme(_)) => anyhow::bail!("no certificate"),
        };
        Ok((self.configure(provider, resolver)?, summary))
    }

    fn configure(
        &self,
        provider: Arc<CryptoProvider>,
        resolver: Arc<dyn ResolvesServerCert>,
    ) -> anyhow::Result<ServerConfig> {
        let versions = match self.settings.minimum {
            TlsVersion::V12 => &[&TLS12, &TLS13][..],
            TlsVersion::V13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?;
        let builder = if self.settings.client_cas.is_empty() {
            builder.with_no_client_auth()
        } else {
            let roots = pem::read_client_roots(&self.settings.client_cas)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if self.settings.client_certificate_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            builder.with_client_cert_verifier(verifier.build()?)
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(config)
    }
}

/// Reloads the files whenever they change. While they cannot be used, the last
/// configuration that could stays in use.
async fn reload(
    reader: &Arc<Reader>,
    watch: &mut Watch,
    sender: &watch::Sender<Arc<ServerConfig>>,
) {
    let mut last_error = String::new();
    loop {
        watch.changed().await;
        let reader = Arc::clone(reader);
        let read = blocking::other().run(move || reader.read()).await;
        match read.map_err(anyhow::Error::from).flatten() {
            Ok((config, summary)) => {
                tracing::info!("TLS: reloaded the files; they apply to new connections");
                if let Some(summary) = summary {
                    log(&summary);
                }
                last_error.clear();
                sender.send_replace(Arc::new(config));
            }
            Err(error) => {
                let text = format!("{error:#}");
                if text != last_error {
                    tracing::error!(
                        "TLS: the changed files cannot be used; the previous ones stay in use: {text}"
                    );
                    last_error = text;
                }
                watch.again();
            }
        }
    }
}

/// Explains why a handshake failed, if the operator or the client can do
/// something about it. The subject of the text is the client.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::NoCertificatesPresented => {
            Some("sent no certificate, which REGISTRY_HTTP_TLS_CLIENTCAS requires".to_owned())
        }
        rustls::Error::InvalidCertificate(problem) => {
            Some(format!("sent a certificate that is not accepted: {problem}"))
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired),
        ) => Some(format!(
            "does not trust the certificate ({alert:?}); it has to trust the certificate's CA, and \
             to use a name that is in the certificate"
        )),
        rustls::Error::PeerIncompatible(problem) => {
            Some(format!("has no TLS version or cipher suite in common with the host: {problem:?}"))
        }
        _ => None,
    }
}

fn summarise(certificate: &CertificateDer<'_>) -> anyhow::Result<CertificateSummary> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    CertificateSummary::new(certificate, now.try_into().unwrap_or(i64::MAX))
        .context("REGISTRY_HTTP_TLS_CERTIFICATE")
}

fn log(summary: &CertificateSummary) {
    let names =
        if summary.names.is_empty() { "no name".to_owned() } else { summary.names.join(", ") };
    tracing::info!("TLS: certificate of {names}, valid until {}", summary.until);
    for problem in &summary.problems {
        tracing::warn!("TLS: the certificate: {problem}");
    }
}
