//! The host from start to shutdown.

use crate::behind::auth::HostAuth;
use crate::behind::hooks::{Hooks, Storage};
use crate::behind::outbound::{self, Outbound};
use crate::behind::store::HostStore;
use crate::body::empty;
use crate::component::COMPONENT;
use crate::engine::{Engine, Precompiled};
use crate::front::cache::ResponseCache;
use crate::front::service::Service;
use crate::net::connection;
use crate::options::Options;
use crate::reload::{Hangup, Watch};
use crate::signals::Signals;
use crate::tls::TlsAcceptor;
use anyhow::{Context as _, bail};
use http::{Request, StatusCode};
use roadstead_access::Authority;
use roadstead_config::Config;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Concurrent connections. More wait to be accepted.
///
/// Limit: connections at a time; test: none, more wait to be accepted.
const MAX_CONNECTIONS: usize = roadstead_config::MAX_MAX_REQUESTS;

/// How long interrupted uploads may take at shutdown to write what they have
/// received.
///
/// Limit: time for interrupted uploads to be written at shutdown; test: none, it
/// would take as long.
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// How long to wait when a connection could not be accepted, as when the process
/// has too many open files.
///
/// Limit: pause after a connection could not be accepted; test: none, it ends by
/// itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The exit status after a second signal: as of a shell's child that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// A host that is ready to accept connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    engine: Engine,
    storage: Storage,
    tls: Option<TlsAcceptor>,
    cache: ResponseCache,
    options: Options,
}

impl Server {
    /// Opens storage, loads the component, has it answer a request, and binds the
    /// address, so that what is wrong with any of them is reported now, and not
    /// to the first client.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let started = Instant::now();
        let hangup = Hangup::new();
        let tls = options.config.tls.as_ref();
        let tls = tls.map(|settings| TlsAcceptor::new(settings, &hangup)).transpose()?;
        let storage = storage(&options).await?;
        let bytes = match &options.component {
            Some(file) => Cow::Owned(
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
            ),
            None => Cow::Borrowed(COMPONENT),
        };
        let variables =
            outbound::variables(options.config.cloud.as_ref(), options.variables.clone())?;
        let auth = authority(&options)?;
        let hooks = Hooks { storage: storage.clone(), auth: auth.clone() };
        let (engine, how) = Engine::new(&bytes, options.code_cache.as_deref(), variables, hooks)
            .context("cannot load the component")?;
        if how == Precompiled::Compiled {
            tracing::debug!("compiled the component in {:?}", started.elapsed());
        }
        probe(&engine).await.context("the component does not work")?;
        let listener = TcpListener::bind(&options.config.address).await.with_context(|| {
            format!(
                "cannot listen on {}; choose another address with REGISTRY_HTTP_ADDR",
                options.config.address
            )
        })?;
        refuse_plain_passwords(&options.config, listener.local_addr()?)?;
        let generation = auth.as_ref().map(|auth| auth.generation()).unwrap_or_default();
        let cache = ResponseCache::new(generation)?;
        if let Some(auth) = auth {
            let watch = Watch::new(auth.files(), &hangup);
            tracing::info!("{} can log in", count(auth.users(), "user"));
            tokio::spawn(auth.renew(watch));
        }
        hangup.listen()?;
        let tls = tls.map(|(tls, renewal)| {
            tokio::spawn(renewal);
            tls
        });
        tracing::info!(
            "serving {} from {}, ready in {} ms",
            listener.local_addr()?,
            options.location(),
            started.elapsed().as_millis()
        );
        Ok(Self { listener, engine, storage, tls, cache, options })
    }

    /// The address that it listens on, with the actual port if the settings have
    /// port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, and then until the requests in flight
    /// are done or the drain timeout has passed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let service = Service::new(self.engine.clone(), self.cache, &self.options.config);
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (close, closing) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accept = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (self.listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                accepted = accept => accepted,
                () = &mut shutdown => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    let (service, tls) = (service.clone(), self.tls.clone());
                    let connection =
                        connection::serve(service, stream, address, tls, closing.clone());
                    tasks.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                    // Frees the tasks that are done.
                    while tasks.try_join_next().is_some() {}
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        close.send_replace(true);
        while tasks.try_join_next().is_some() {}
        tracing::info!("shutting down; {} to finish", count(tasks.len(), "open connection"));
        let ended = async { while tasks.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(self.options.config.drain_timeout, ended).await;
        if drained.is_err() {
            tracing::warn!(
                "REGISTRY_HTTP_DRAINTIMEOUT has passed; aborting the requests in flight"
            );
            // The store treats them as clients that disconnect, and keeps the
            // bytes that it has received.
            tasks.abort_all();
            if tokio::time::timeout(FLUSH_TIME, self.storage.idle()).await.is_err() {
                tracing::warn!("the last bytes of interrupted uploads could not be written");
            }
        }
        self.engine.stop();
    }
}

/// Serves with `options` until SIGTERM or SIGINT; a second signal exits at once.
pub async fn serve(options: Options) -> anyhow::Result<()> {
    let server = Server::start(options).await?;
    let mut signals = Signals::new()?;
    server
        .run(async move {
            signals.next().await;
            tokio::spawn(async move {
                signals.next().await;
                std::process::exit(INTERRUPTED);
            });
        })
        .await;
    Ok(())
}

/// Opens the directory, or checks that the object store answers.
async fn storage(options: &Options) -> anyhow::Result<Storage> {
    if let Some(cloud) = &options.config.cloud {
        let outbound = Outbound::new(cloud)?;
        outbound.check().await?;
        return Ok(Storage::Cloud(Arc::new(outbound)));
    }
    let store = HostStore::open(options.root.clone()).with_context(|| {
        format!(
            "cannot write to the storage directory {}; choose another with \
             REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY",
            options.root.display()
        )
    })?;
    Ok(Storage::Directory(Arc::new(store)))
}

/// The authority for users and tokens, if authentication is configured.
fn authority(options: &Options) -> anyhow::Result<Option<Arc<HostAuth>>> {
    let settings = &options.config.auth;
    if !settings.enabled() {
        return Ok(None);
    }
    let authority = Authority::open(settings.clone(), true).map_err(anyhow::Error::msg)?;
    Ok(Some(Arc::new(HostAuth::new(authority))))
}

/// Refuses passwords over plain HTTP, except on loopback or when the operator
/// allows them.
fn refuse_plain_passwords(config: &Config, address: SocketAddr) -> anyhow::Result<()> {
    if config.auth.takes_passwords()
        && config.tls.is_none()
        && !config.auth.plain_http
        && !address.ip().to_canonical().is_loopback()
    {
        bail!(
            "users would send their passwords to {address} unencrypted; set one of:\n\
             REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY, for TLS; `roadstead cert` makes \
             a certificate\n\
             REGISTRY_HTTP_ADDR=127.0.0.1:{}, to listen on this machine only\n\
             REGISTRY_AUTH_PLAINHTTP=true, behind a proxy that terminates TLS",
            address.port()
        );
    }
    Ok(())
}

/// Checks that the component answers as a registry does.
async fn probe(engine: &Engine) -> anyhow::Result<()> {
    let request = Request::get("/v2/").body(empty())?;
    let response = engine.handle(request).await.map_err(anyhow::Error::from)?;
    if !matches!(
        response.status(),
        StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        bail!("it answers GET /v2/ with {}", response.status());
    }
    Ok(())
}

/// A count with its noun, as in `1 user` and `2 users`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
