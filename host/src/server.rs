//! A host from start to shutdown.

use crate::behind::auth::HostAuth;
use crate::behind::hooks::{Hooks, Storage};
use crate::behind::outbound::{self, Outbound};
use crate::behind::store::HostStore;
use crate::engine::{Engine, Precompiled};
use crate::front::cache::Cache;
use crate::front::service::Service;
use crate::net::connection;
use crate::reload::{Hangup, Watch};
use crate::tls::Tls;
use crate::{COMPONENT, Options};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use roadstead_access::Authority;
use roadstead_config::Config;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at a time. More wait to be accepted.
const MAX_CONNECTIONS: usize = roadstead_config::MAX_MAX_REQUESTS;

/// How long uploads that are cut off at the end may take to put away what came.
const PUT_AWAY_TIME: Duration = Duration::from_secs(5);

/// How long to wait after a connection could not be accepted, as for want of
/// file descriptors, which others will give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A host that is ready to accept.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    engine: Engine,
    storage: Storage,
    tls: Option<Tls>,
    cache: Cache,
    options: Options,
}

impl Server {
    /// Opens storage, loads the component, has it answer a request of the
    /// host's own, and binds the address: what is wrong with any of them is
    /// said now, and not to the first client.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let started = Instant::now();
        let hangup = Hangup::new();
        let tls = options.config.tls.as_ref();
        let tls = tls.map(|settings| Tls::new(settings, &hangup)).transpose()?;
        let storage = storage(&options).await?;
        let bytes = match &options.component {
            Some(file) => Cow::Owned(
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
            ),
            None => Cow::Borrowed(COMPONENT),
        };
        let cache = options.cache.clone();
        let variables =
            outbound::variables(options.config.cloud.as_ref(), options.variables.clone())?;
        let auth = authority(&options)?;
        let hooks = Hooks { storage: storage.clone(), auth: auth.clone() };
        let (engine, how) = Engine::new(&bytes, cache.as_deref(), variables, hooks)
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
        let cache = Cache::new(generation)?;
        if let Some(auth) = auth {
            let watch = Watch::new(auth.files(), &hangup);
            tracing::info!("{} users may log in", auth.users());
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

    /// Where it listens, the port included that the system chose for port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, and then until the requests in flight
    /// have ended, or the drain timeout has.
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
                    // Those that ended, so that they do not add up.
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
        tracing::info!("shutting down; {} connections finish their requests", tasks.len());
        let ended = async { while tasks.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(self.options.config.drain_timeout, ended).await;
        if drained.is_err() {
            tracing::warn!("requests are cut off after REGISTRY_HTTP_DRAINTIMEOUT");
            // To the store, that is a client that goes away: what came counts.
            tasks.abort_all();
            if tokio::time::timeout(PUT_AWAY_TIME, self.storage.idle()).await.is_err() {
                tracing::warn!("uploads were lost that a client could have gone on with");
            }
        }
        self.engine.stop();
    }
}

/// Serves with `options` until SIGTERM or SIGINT; a second one ends at once.
pub async fn serve(options: Options) -> anyhow::Result<()> {
    let server = Server::start(options).await?;
    let mut signals = Signals::new()?;
    server
        .run(async move {
            signals.next().await;
            tokio::spawn(async move {
                signals.next().await;
                std::process::exit(130);
            });
        })
        .await;
    Ok(())
}

/// Opens the directory, or finds out whether the object store answers.
async fn storage(options: &Options) -> anyhow::Result<Storage> {
    if let Some(cloud) = &options.config.cloud {
        let outbound = Outbound::new(cloud)?;
        outbound.check().await?;
        return Ok(Storage::Cloud(Arc::new(outbound)));
    }
    let store = HostStore::open(options.root.clone()).with_context(|| {
        format!(
            "cannot write to the storage directory {}; name another with \
             REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY",
            options.root.display()
        )
    })?;
    Ok(Storage::Directory(Arc::new(store)))
}

/// Who knows who is who, where that matters.
fn authority(options: &Options) -> anyhow::Result<Option<Arc<HostAuth>>> {
    let settings = &options.config.auth;
    if !settings.enabled() {
        return Ok(None);
    }
    let authority = Authority::open(settings.clone(), true).map_err(anyhow::Error::msg)?;
    Ok(Some(Arc::new(HostAuth::new(authority))))
}

/// Passwords do not cross a network in the clear unless someone says so.
fn refuse_plain_passwords(config: &Config, address: SocketAddr) -> anyhow::Result<()> {
    if config.auth.takes_passwords()
        && config.tls.is_none()
        && !config.auth.plain_http
        && !address.ip().to_canonical().is_loopback()
    {
        bail!(
            "users would send their passwords to {address} without encryption; set one of:\n\
             REGISTRY_HTTP_TLS_CERTIFICATE and REGISTRY_HTTP_TLS_KEY, for TLS; roadstead cert makes \
             a certificate\n\
             REGISTRY_HTTP_ADDR=127.0.0.1:{}, to be reached from this machine only\n\
             REGISTRY_AUTH_PLAINHTTP=true, behind a proxy that speaks TLS",
            address.port()
        );
    }
    Ok(())
}

/// Has the component answer whether it is a registry.
async fn probe(engine: &Engine) -> anyhow::Result<()> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get("/v2/").body(body)?;
    let response = engine.handle(request).await.map_err(anyhow::Error::from)?;
    if !matches!(
        response.status(),
        StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        bail!("it answers GET /v2/ with {}", response.status());
    }
    Ok(())
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a way to hear of it there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
