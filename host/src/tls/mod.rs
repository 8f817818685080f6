//! TLS: certificates, clients' certificates, and both renewed while it runs.

pub(crate) mod acme;
pub(crate) mod certificate;

use crate::net::socket::Socket;
use crate::reload::{Hangup, Watch};
use crate::tls::acme::Challenges;
use crate::tls::certificate::Facts;
use anyhow::Context as _;
use futures::future::BoxFuture;
use roadstead_config::{self as config, Certificate, TlsVersion};
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
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// The names of what is spoken over TLS, the best first.
pub(crate) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// TLS as new connections speak it.
#[derive(Clone)]
pub(crate) struct Tls {
    current: watch::Receiver<Arc<ServerConfig>>,
    challenges: Option<Challenges>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// What keeps certificates new, for as long as the host runs.
pub(crate) type Renewal = BoxFuture<'static, ()>;

impl Tls {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// What is wrong with it, and with which setting.
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
        let (first, facts) = reader.read()?;
        if let Some(facts) = facts {
            log(&facts);
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

    /// Shakes hands with a client. Nothing comes of it if that is an authority
    /// that only wants to know who is here.
    pub(crate) async fn accept(&self, socket: Socket) -> io::Result<Option<TlsStream<Socket>>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        if let Some(challenges) = &self.challenges
            && Challenges::is_one(&hello.client_hello())
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

/// Reads files as the settings say.
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

    /// All files, and what the certificate says if it comes from one.
    fn read(&self) -> anyhow::Result<(ServerConfig, Option<Facts>)> {
        let provider = Arc::new(ring::default_provider());
        let (resolver, facts) = match (&self.source, &self.settings.certificate) {
            (Source::Files, Certificate::Files { certificate, key }) => {
                let pair = certificate::read_pair(certificate, key, &provider)?;
                let facts = pair.end_entity_cert().map(|leaf| facts(leaf))?;
                let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(pair));
                (resolver, Some(facts?))
            }
            (Source::Acme(resolver), _) => (Arc::clone(resolver), None),
            (Source::Files, Certificate::Acme(_)) => anyhow::bail!("no certificate"),
        };
        Ok((self.configure(provider, resolver)?, facts))
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
            let roots = certificate::read_client_authorities(&self.settings.client_cas)?;
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

/// Reads the files again whenever they change. What cannot be used is not: the
/// last that could be is served until the files are better.
async fn reload(
    reader: &Arc<Reader>,
    watch: &mut Watch,
    sender: &watch::Sender<Arc<ServerConfig>>,
) {
    let mut complaint = String::new();
    loop {
        watch.changed().await;
        let reader = Arc::clone(reader);
        let Ok(read) = tokio::task::spawn_blocking(move || reader.read()).await else { return };
        match read {
            Ok((config, facts)) => {
                tracing::info!(
                    "TLS: the files were read again; new connections get what they hold"
                );
                if let Some(facts) = facts {
                    log(&facts);
                }
                complaint.clear();
                sender.send_replace(Arc::new(config));
            }
            Err(error) => {
                let text = format!("{error:#}");
                if text != complaint {
                    tracing::error!(
                        "TLS: the files were read again and cannot be used; what they held before stays in use: {text}"
                    );
                    complaint = text;
                }
                watch.again();
            }
        }
    }
}

/// What went wrong in a handshake, if it is something that people can mend.
pub(crate) fn mishap(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::NoCertificatesPresented => {
            Some("shows no certificate, and REGISTRY_HTTP_TLS_CLIENTCAS asks for one".to_owned())
        }
        rustls::Error::InvalidCertificate(problem) => {
            Some(format!("shows a certificate that is not taken: {problem}"))
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired),
        ) => Some(format!(
            "does not trust the certificate ({alert:?}); it has to know its authority, and to use \
             a name that the certificate has"
        )),
        rustls::Error::PeerIncompatible(problem) => {
            Some(format!("speaks another kind of TLS: {problem:?}"))
        }
        _ => None,
    }
}

fn facts(leaf: &CertificateDer<'_>) -> anyhow::Result<Facts> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    certificate::facts(leaf, now.try_into().unwrap_or(i64::MAX))
        .context("REGISTRY_HTTP_TLS_CERTIFICATE")
}

fn log(facts: &Facts) {
    let names = if facts.names.is_empty() { "no name".to_owned() } else { facts.names.join(", ") };
    tracing::info!("TLS: certificate of {names}, valid until {}", facts.until);
    for problem in &facts.problems {
        tracing::warn!("TLS: the certificate: {problem}");
    }
}
