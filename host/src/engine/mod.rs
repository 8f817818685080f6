//! The component in wasmtime: compiled once, run in instances that are reused.

mod compile;
mod guest_log;
mod imports;
#[cfg(unix)]
mod in_place;
mod load;

pub(crate) use compile::built_in;
pub use compile::precompile;

use crate::behind::hooks::{Hooks, Storage};
use crate::engine::compile::{load, load_built_in};
use crate::engine::guest_log::GuestLog;
use crate::engine::load::{Load, MemoryWatch};
use crate::meter::Meter;
use anyhow::anyhow;
use http::{Request, Response};
use roadstead_bridge::services;
use roadstead_telemetry::metrics::InstanceEnd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{
    Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store, StoreContextMut,
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState,
    WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Concurrent requests of one instance over a directory. A trap fails all of
/// them, and one that computes stalls the others, so the number is modest.
///
/// Limit: requests of one instance at a time, over a directory; test:
/// `a_trap_fails_one_request`.
const REQUESTS_PER_INSTANCE: usize = 16;

/// The same over an object store, where an upload holds parts in the instance's
/// memory: two of 32 MiB each if the settings ask for the largest, and some
/// more. All of them fit into [`MAX_MEMORY`].
///
/// Limit: requests of one instance at a time, over an object store; test:
/// `many_layers_at_once`.
const UPLOADS_PER_INSTANCE: usize = 4;

/// Bytes of memory from which on an instance gets no more requests, and is
/// replaced once it has answered those that it has: memory does not shrink, and
/// an instance without any left traps.
///
/// Limit: memory from which on an instance gets no more requests; test: `unread_lists_end_no_instance`.
const LARGE: usize = 48 * 1024 * 1024;

/// The same over an object store, where parts of uploads are in memory.
///
/// Limit: memory from which on an instance over a store gets no more requests; test: `an_instance_that_has_grown_is_large`.
const LARGE_WITH_UPLOADS: usize = 160 * 1024 * 1024;

/// Requests after which an instance is replaced, so that a leak cannot grow
/// forever.
///
/// Limit: requests after which an instance is replaced; test: none, it would take as
/// long.
const REQUESTS_PER_LIFETIME: usize = 100_000;

/// How long an instance without requests is kept.
///
/// Limit: time for which an idle instance is kept; test: none, it would take as long.
const IDLE_TIME: Duration = Duration::from_mins(1);

/// Memory of an instance that is kept for later requests; an idle one with more is
/// ended at once.
///
/// Limit: memory of an idle instance, over a directory; test: `unread_lists_end_no_instance`.
const IDLE_MEMORY: usize = 16 * 1024 * 1024;

/// The same over an object store, where one upload takes more, and where the next
/// instance has to ask the store again what it can do.
///
/// Limit: memory of an idle instance, over an object store; test: `clients_come_back`.
const IDLE_MEMORY_WITH_UPLOADS: usize = 96 * 1024 * 1024;

/// Concurrent instances: enough for the most concurrent requests, at
/// [`UPLOADS_PER_INSTANCE`] each.
///
/// Limit: instances at a time; test: none, requests in flight are fewer.
const MAX_INSTANCES: u32 = 1024;

/// Largest memory of one instance, in bytes.
///
/// Limit: bytes of memory of one instance; test: none, requests are refused before
/// it.
const MAX_MEMORY: usize = 384 * 1024 * 1024;

/// Bytes of an instance's memory that stay mapped when its slot in the pool is
/// reused.
const KEEP_RESIDENT: usize = 1024 * 1024;

/// A component, ready to handle requests.
#[derive(Clone)]
pub struct Engine {
    handler: ProxyHandler<Instances>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Loads the component in a file, whose compiled code is cached in the directory
    /// `cache`, or the built-in one.
    pub(crate) fn new(
        file: Option<&Path>,
        cache: Option<&Path>,
        variables: Vec<(String, String)>,
        hooks: Hooks,
    ) -> anyhow::Result<Self> {
        let (engine, component) = match file {
            Some(file) => load(file, cache)?,
            None => load_built_in()?,
        };
        let instance = imports::linker(&engine)?.instantiate_pre(&component).map_err(|error| {
            anyhow!(
                "{error:#}; the host offers what its own component imports (wit/world.wit in the \
                 sources), and nothing else of WASI"
            )
        })?;
        let service = ServicePre::new(instance)
            .map_err(|error| anyhow!("{error:#}; a component exports wasi:http/handler@0.3"))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let generation = hooks.auth.as_ref().map(|auth| auth.generation()).unwrap_or_default();
        let instances = Instances { engine, service, variables, hooks, stopping, generation };
        Ok(Self { handler: ProxyHandler::new(instances) })
    }

    /// Notes that the process is ending, so that instances which end with it are
    /// not logged as failures.
    pub(crate) fn stop(&self) {
        self.handler.state().stopping.store(true, Ordering::Relaxed);
    }

    /// Has the component answer a request.
    ///
    /// # Errors
    /// When the component traps, or does not answer.
    pub(crate) async fn handle(
        &self,
        request: Request<WasiBody>,
    ) -> wasmtime::Result<Response<WasiBody>> {
        self.handler.handle((), request).await
    }
}

fn configuration() -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(MAX_INSTANCES)
        .total_core_instances(MAX_INSTANCES * 4)
        .total_memories(MAX_INSTANCES)
        .total_tables(MAX_INSTANCES * 2)
        .total_stacks(MAX_INSTANCES * 2)
        .max_memory_size(MAX_MEMORY)
        .linear_memory_keep_resident(KEEP_RESIDENT);
    let mut config = Config::new();
    config
        // The component was optimised when it was built. Optimising again was
        // measured to change nothing but the start, which takes a sixth longer.
        .cranelift_opt_level(OptLevel::None)
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What an instance's store holds.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    memory: MemoryWatch,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Creates instances.
struct Instances {
    engine: wasmtime::Engine,
    service: ServicePre<State>,
    variables: Vec<(String, String)>,
    hooks: Hooks,
    stopping: Arc<AtomicBool>,
    /// See [`crate::behind::auth::HostAuth::generation`].
    generation: Arc<AtomicU64>,
}

impl HandlerState for Instances {
    type StoreData = State;
    type WorkerExpiration = Idle;
    type WorkerState = Reused;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Idle, Reused>> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(GuestLog).stderr(GuestLog).envs(&self.variables);
        wasi.env(services::VARIABLE, self.hooks.services().to_string());
        if let Some(secret) = self.hooks.session_secret() {
            wasi.env(services::SESSION_SECRET, secret);
        }
        let load = Arc::new(Load::default());
        let state = State {
            memory: MemoryWatch(Arc::clone(&load)),
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: self.hooks.clone(),
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        let proxy = ProxyPre::P3(self.service.clone()).instantiate_async(&mut store).await?;
        let sleep = tokio::time::sleep(IDLE_TIME);
        let (limit, large, memory) = match self.hooks.storage {
            Storage::Directory(_) | Storage::Archives(_) => {
                (REQUESTS_PER_INSTANCE, LARGE, IDLE_MEMORY)
            }
            Storage::Cloud(..) => {
                (UPLOADS_PER_INSTANCE, LARGE_WITH_UPLOADS, IDLE_MEMORY_WITH_UPLOADS)
            }
        };
        let expiration = Idle { sleep: Box::pin(sleep), load: Arc::clone(&load), memory };
        let state = Reused {
            stopping: Arc::clone(&self.stopping),
            generation: Arc::clone(&self.generation),
            born: self.generation.load(Ordering::Acquire),
            load,
            limit,
            large,
            meter: self.hooks.meter.clone(),
            end: AtomicU8::new(InstanceEnd::Idle as u8),
        };
        self.hooks.meter.instance_started();
        Ok(Instance { store, proxy, view: WasiHttpView::http, expiration, state })
    }
}

/// Ends an instance that had no request for [`IDLE_TIME`], or has none and more
/// memory than is kept. One with a request in flight is never ended: a push may
/// take hours.
pub(crate) struct Idle {
    sleep: Pin<Box<tokio::time::Sleep>>,
    load: Arc<Load>,
    /// Bytes of memory from which on it is ended at once.
    memory: usize,
}

impl WorkerExpiration for Idle {
    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        status: WorkerStatus,
        since: Instant,
    ) -> Poll<()> {
        if status != WorkerStatus::Idle {
            return Poll::Pending;
        }
        if self.load.memory() > self.memory {
            return Poll::Ready(());
        }
        let deadline = tokio::time::Instant::from(since + IDLE_TIME);
        if deadline != self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(context)
    }
}

/// Reuses an instance for many requests, some of them concurrent.
pub(crate) struct Reused {
    stopping: Arc<AtomicBool>,
    generation: Arc<AtomicU64>,
    /// The generation of users at its creation; it may have cached who they
    /// were.
    born: u64,
    /// Its concurrent requests.
    limit: usize,
    /// The memory from which on it is replaced.
    large: usize,
    load: Arc<Load>,
    meter: Meter,
    /// Why it gets no more requests: an [`InstanceEnd`].
    end: AtomicU8,
}

impl WorkerState for Reused {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        let end = if self.generation.load(Ordering::Acquire) != self.born {
            Some(InstanceEnd::Users)
        } else if total >= REQUESTS_PER_LIFETIME {
            Some(InstanceEnd::Old)
        } else if self.load.memory() >= self.large {
            Some(InstanceEnd::Large)
        } else {
            None
        };
        if let Some(end) = end {
            self.end.store(end as u8, Ordering::Relaxed);
            ShouldAccept::Never
        } else if concurrent >= self.limit {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        // Requests end by the timeouts of their bodies; there is none for the
        // whole.
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<State>, result: wasmtime::Result<()>) {
        let stopping = self.stopping.load(Ordering::Relaxed);
        let noted = self.end.load(Ordering::Relaxed);
        let noted = InstanceEnd::ALL.iter().find(|end| **end as u8 == noted);
        self.meter.instance_ended(match (&result, noted) {
            _ if stopping => InstanceEnd::Shutdown,
            (Err(_), _) => InstanceEnd::Trap,
            (Ok(()), noted) => noted.copied().unwrap_or(InstanceEnd::Idle),
        });
        if let Err(error) = result
            && !stopping
        {
            tracing::error!("the component failed: {error:?}");
        }
        drop(store);
    }
}
