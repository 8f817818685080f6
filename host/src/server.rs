//! The host from start to shutdown.

use crate::behind::archives;
use crate::behind::auth::HostAuth;
use crate::behind::credentials::HostCredentials;
use crate::behind::hooks::{Hooks, Storage};
use crate::behind::outbound::{self, Outbound};
use crate::behind::store::HostStore;
use crate::blocking;
use crate::body::empty;
use crate::collect::schedule;
use crate::debug::{DebugListener, Pages};
use crate::engine::Engine;
use crate::front::cache::ResponseCache;
use crate::front::clients::Clients;
use crate::front::service::Service;
use crate::health::Health;
use crate::listen;
use crate::log;
use crate::log_throttle::LogThrottle;
use crate::meter::Meter;
use crate::net::connection;
use crate::net::connections::Connections;
use crate::net::descriptors;
use crate::notifications::{self, LAST_EVENTS, taken};
use crate::options::Options;
use crate::reload::{Hangup, Watch};
use crate::signals::{self, Signals};
use crate::tls::{TlsAcceptor, roots};
use anyhow::{Context as _, bail};
use http::{Request, StatusCode};
use roadstead_access::Authority;
use roadstead_config::{Config, StoredEvents};
use roadstead_embedded::COMPONENT;
use roadstead_events::Notifications;
use roadstead_oci::{Algorithm, Digest};
use roadstead_operator::permissions;
use roadstead_traces::Traces;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Requests over HTTP/2 that are answered at a time, until their clients have taken
/// the responses.
///
/// Limit: HTTP/2 streams of all clients; test: `stream_floods_leave_turns_for_others`.
const MAX_STREAMS: usize = 4096;

/// How long interrupted uploads may take at shutdown to write what they have
/// received.
///
/// Limit: time for interrupted uploads to be written at shutdown; test: none, it
/// would take as long.
const FLUSH_TIME: Duration = Duration::from_secs(5);

/// How long the last spans may take to be sent at shutdown.
///
/// Limit: time for the last spans to be sent at shutdown; test: none, it would take as long.
const LAST_SPANS: Duration = Duration::from_secs(5);

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
    health: Arc<Health>,
    meter: Meter,
    traces: Option<Traces>,
    notifications: Option<Arc<Notifications>>,
    debug: Option<DebugListener>,
    options: Options,
}

impl Server {
    /// Opens storage, loads the component, has it answer a request, and binds the
    /// address, so that what is wrong with any of them is reported now, and not
    /// to the first client.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let started = Instant::now();
        blocking::start().context("cannot start the threads that read and write")?;
        let hangup = Hangup::new();
        let tls = options.config.tls.as_ref();
        let tls = tls.map(|settings| TlsAcceptor::new(settings, &hangup)).transpose()?;
        let storage = storage(&options).await?;
        let component = component_digest(&options);
        let meter = Meter::new(&options.config, options.commit, &component)?;
        let traces = traces(&component)?;
        purge_uploads(&storage, &options.config, &meter);
        let mut variables =
            outbound::variables(options.config.cloud.as_ref(), options.variables.clone())?;
        variables.extend(options.config.page_variable());
        let (auth, watch) = authority(&options, &hangup, &meter)?.unzip();
        let hooks = Hooks {
            storage: storage.clone(),
            auth: auth.clone(),
            meter: meter.clone(),
            traces: traces.clone(),
            notifies: !options.config.notifications.endpoints.is_empty(),
        };
        let (file, cache) = (options.component.as_deref(), options.code_cache.as_deref());
        let engine =
            Engine::new(file, cache, variables, hooks).context("cannot load the component")?;
        probe(&engine).await.context("the component does not work")?;
        // Its instances end with the process, and did not fail.
        let listener = listen::listen(&options.config).await.inspect_err(|_| engine.stop())?;
        let address = listener.local_addr()?;
        let notifications =
            notifications::start(&options, address).inspect_err(|_| engine.stop())?;
        let health = Health::new(options.config.health);
        let debug = match &options.config.debug {
            Some(debug) => Some(DebugListener::bind(debug).await.inspect_err(|_| engine.stop())?),
            None => None,
        };
        let generation = auth.as_ref().map(|auth| auth.generation()).unwrap_or_default();
        let cache = ResponseCache::new(generation)?;
        if let (Some(auth), Some(watch)) = (auth, watch) {
            tracing::info!("{} can log in", log::count(auth.users(), "user"));
            auth.warn();
            tokio::spawn(auth.renew(watch));
        }
        hangup.listen()?;
        let tls = tls.map(|(tls, renewal)| {
            tokio::spawn(renewal);
            tls
        });
        listen::warn(&options.config, address);
        tracing::info!(
            "serving {}://{address} from {}, ready in {} ms",
            if tls.is_some() { "https" } else { "http" },
            options.location(),
            started.elapsed().as_millis()
        );
        Ok(Self {
            listener,
            engine,
            storage,
            tls,
            cache,
            health,
            meter,
            traces,
            notifications,
            debug,
            options,
        })
    }

    /// The address that it listens on, with the actual port if the settings have
    /// port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, and then until the requests in flight
    /// are done or the drain timeout has passed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut background = self.background();
        let config = &self.options.config;
        let (clients, connections) = limits(config, &self.meter);
        let (engine, health) = (self.engine.clone(), Arc::clone(&self.health));
        let watching = (self.meter.clone(), self.traces.clone());
        let notifications = self.notifications.clone();
        let service =
            Service::new(engine, self.cache, clients, health, watching, notifications, config);
        if let Some(debug) = self.debug {
            let pages = Pages {
                health: Arc::clone(&self.health),
                service: service.clone(),
                connections: Arc::clone(&connections),
                meter: self.meter.clone(),
                collects: config.collection.filter(|_| !config.read_only),
            };
            background.spawn(debug.serve(pages));
        }
        let (close, closing) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(draining(shutdown, &self.health, config.drain_delay));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    // Frees the tasks that are done.
                    while tasks.try_join_next().is_some() {}
                    let Some(open) = connections.admit(address.ip()) else { continue };
                    let (service, tls, closing) =
                        (service.clone(), self.tls.clone(), closing.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = connection::serve(service, stream, address, &open, tls, closing) => {}
                            () = open.ended() => {}
                        }
                    });
                }
                Err(error) => {
                    static WARNING: LogThrottle = LogThrottle::new();
                    if WARNING.is_due() {
                        tracing::warn!("cannot accept a connection: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        // Nothing is lost wherever a run stops.
        background.abort_all();
        close.send_replace(true);
        while tasks.try_join_next().is_some() {}
        tracing::info!("shutting down; {} to finish", log::count(tasks.len(), "open connection"));
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
        send_the_last(self.notifications.as_deref(), self.traces.as_ref()).await;
        self.engine.stop();
    }

    /// Collects garbage and checks the storage until the tasks are aborted, if the settings have it.
    fn background(&self) -> JoinSet<()> {
        let Options { config, hurry, .. } = &self.options;
        let mut tasks = JoinSet::new();
        if let Some(check) = config.health {
            tasks.spawn(Arc::clone(&self.health).check(self.engine.clone(), check.interval));
        }
        if let Some(collection) = config.collection.filter(|_| !config.read_only) {
            let (engine, meter) = (self.engine.clone(), self.meter.clone());
            tasks.spawn(schedule::run(engine, collection.interval, *hurry, meter));
        }
        let takes = config.notifications.stored != StoredEvents::Off && !config.read_only;
        if let Some(notifications) = self.notifications.as_ref().filter(|_| takes) {
            tasks.spawn(taken::run(self.engine.clone(), Arc::clone(notifications)));
        }
        tasks
    }
}

/// Has abandoned uploads removed from a directory, if the settings have it.
fn purge_uploads(storage: &Storage, config: &Config, meter: &Meter) {
    if let (Storage::Directory(store), Some(purging)) = (storage, config.upload_purging)
        && !config.read_only
    {
        tokio::spawn(Arc::clone(store).purge(purging, meter.clone()));
    }
}

/// Sends the last events and spans, as far as there is time.
async fn send_the_last(notifications: Option<&Notifications>, traces: Option<&Traces>) {
    if let Some(notifications) = notifications {
        notifications.stop(LAST_EVENTS).await;
    }
    if let Some(traces) = traces {
        traces.shut_down(LAST_SPANS).await;
    }
}

/// Waits for the shutdown, and then for as long as others may take to notice that this process is not
/// ready.
async fn draining(shutdown: impl Future<Output = ()>, health: &Health, delay: Duration) {
    shutdown.await;
    health.drain();
    if !delay.is_zero() {
        tracing::info!(
            "not ready any more; connections are refused in {} s (REGISTRY_HTTP_DRAINDELAY)",
            delay.as_secs()
        );
        tokio::time::sleep(delay).await;
    }
}

/// What clients can have, by the settings and the limit of open files.
fn limits(config: &Config, meter: &Meter) -> (Arc<Clients>, Arc<Connections>) {
    let shares = descriptors::divide();
    let turns = config.max_requests.min(shares.turns);
    let connections = config.max_connections.min(shares.connections);
    if turns < config.max_requests || connections < config.max_connections {
        tracing::warn!(
            "the limit of open files allows {} and {} in flight, fewer than the settings; raise it \
             (ulimit -n, LimitNOFILE=)",
            log::count(connections, "connection"),
            log::count(turns, "request")
        );
    }
    let streams = MAX_STREAMS.min(shares.streams);
    let clients = Clients::new(turns, config.max_requests_per_client.min(turns), streams);
    let trusted = config.trusted_proxies.clone();
    let share = config.max_connections_per_client;
    let (counted, meter) = (Arc::clone(&clients), meter.clone());
    let connections = Connections::new(connections, share, trusted, counted, meter);
    (clients, connections)
}

/// Serves with `options` until SIGTERM or SIGINT; a second signal exits at once.
pub async fn serve(options: Options) -> anyhow::Result<()> {
    let server = Server::start(options).await?;
    let mut signals = Signals::new()?;
    signals::toggle_debug_by_signal()?;
    server
        .run(async move {
            signals.next().await;
            tokio::spawn(async move {
                signals.next().await;
                log::finish();
                std::process::exit(INTERRUPTED);
            });
        })
        .await;
    Ok(())
}

/// Opens the archives or the directory, or checks that the object store answers, and that the
/// platform gives the credentials that the settings do not have.
pub(crate) async fn storage(options: &Options) -> anyhow::Result<Storage> {
    if !options.archives.is_empty() {
        let archives = options.archives.clone();
        let store = blocking::reads().run(move || archives::open(&archives)).await??;
        return Ok(Storage::Archives(Arc::new(store)));
    }
    if let Some(cloud) = &options.config.cloud {
        let outbound = Outbound::new(cloud)?;
        outbound.check().await?;
        let credentials = HostCredentials::open(cloud).await?;
        return Ok(Storage::Cloud(Arc::new(outbound), credentials.map(Arc::new)));
    }
    let read_only = options.config.read_only;
    let store = HostStore::open(options.root.clone(), read_only, options.config.journal);
    let store = store.map_err(|error| {
        let what = permissions::cannot_open(&options.root, read_only, error.kind());
        anyhow::Error::from(error).context(what)
    })?;
    Ok(Storage::Directory(Arc::new(store)))
}

/// The digest of the component, if metrics or traces may want it: it takes some milliseconds.
fn component_digest(options: &Options) -> String {
    let is_traced =
        std::env::vars_os().any(|(name, _)| name.as_encoded_bytes().starts_with(b"OTEL_"));
    if options.config.debug.is_none() && !is_traced {
        return String::new();
    }
    let hash = match &options.component {
        // What is wrong with the file is reported when it is loaded.
        Some(file) => Sha256::digest(fs::read(file).unwrap_or_default()),
        None => Sha256::digest(COMPONENT),
    };
    Digest::from_bytes(Algorithm::Sha256, &hash)
        .map(|digest| digest.to_string())
        .unwrap_or_default()
}

/// Traces, if OpenTelemetry's variables want any.
fn traces(component: &str) -> anyhow::Result<Option<Traces>> {
    let (version, component) = (env!("CARGO_PKG_VERSION"), Some(component));
    let resource = roadstead_traces::Resource { version, component, roots: roots::trusted };
    let traces = Traces::from_environment(|name| std::env::var(name).ok(), resource);
    let traces = traces.map_err(anyhow::Error::msg)?;
    if let Some(traces) = &traces {
        tracing::info!("traces are sent to {traces}");
    }
    Ok(traces)
}

/// The authority for users and tokens, if authentication is configured, and the
/// watch for changes of its files.
fn authority(
    options: &Options,
    hangup: &Hangup,
    meter: &Meter,
) -> anyhow::Result<Option<(Arc<HostAuth>, Watch)>> {
    let settings = &options.config.auth;
    if !settings.enabled() {
        return Ok(None);
    }
    let watch = Watch::new(settings.files(), hangup);
    let authority = Authority::open(settings.clone(), true).map_err(anyhow::Error::msg)?;
    Ok(Some((Arc::new(HostAuth::new(authority, meter.clone())), watch)))
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
