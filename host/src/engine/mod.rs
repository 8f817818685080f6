//! The component in wasmtime: compiled once, instances reused.

mod guest_log;

use crate::behind::hooks::{Hooks, Storage};
use crate::engine::guest_log::GuestLog;
use anyhow::{Context as _, anyhow};
use http::{Request, Response};
use roadstead_bridge::services;
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use wasmtime::component::{Component, GuestTaskId, Linker, ResourceTable};
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

/// Requests that one instance handles at a time over a directory. A trap fails
/// all of them, and guest CPU stalls them, so the number is modest.
const REQUESTS_PER_INSTANCE: usize = 16;

/// The same over an object store, where an upload holds parts in the instance's
/// memory: two of 32 MiB each if the settings ask for the largest, and some
/// more. All of them fit into [`MAX_MEMORY`].
const UPLOADS_PER_INSTANCE: usize = 4;

/// Requests that one instance handles in its life, so that whatever it leaks
/// does not grow for ever.
const REQUESTS_IN_LIFE: usize = 100_000;

/// How long an instance without requests is kept.
const IDLE_TIME: Duration = Duration::from_mins(1);

/// Instances at a time: as many as the most requests need, of which each takes
/// [`UPLOADS_PER_INSTANCE`] at least.
const MAX_INSTANCES: u32 = 1024;

/// Memory of one instance at most, in bytes.
const MAX_MEMORY: usize = 384 * 1024 * 1024;

/// Bytes of an instance's memory that stay mapped when its place in the pool
/// is used again.
const KEEP_RESIDENT: usize = 1024 * 1024;

/// Where a component came from, and how long that took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precompiled {
    /// From the cache.
    Cached,
    /// It was compiled at this start.
    Compiled,
}

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
    /// Loads a component. Compiled code is taken from `cache` and put there.
    pub(crate) fn new(
        bytes: &[u8],
        cache: Option<&Path>,
        variables: Vec<(String, String)>,
        hooks: Hooks,
    ) -> anyhow::Result<(Self, Precompiled)> {
        let engine = wasmtime::Engine::new(&configuration())?;
        let (component, how) = load(&engine, bytes, cache)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        let instance = linker
            .instantiate_pre(&component)
            .map_err(|error| anyhow!("{error:#}; the host offers wasi:* interfaces only"))?;
        let service = ServicePre::new(instance)
            .map_err(|error| anyhow!("{error:#}; a component exports wasi:http/handler@0.3"))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let generation = hooks.auth.as_ref().map(|auth| auth.generation()).unwrap_or_default();
        let instances = Instances { engine, service, variables, hooks, stopping, generation };
        Ok((Self { handler: ProxyHandler::new(instances) }, how))
    }

    /// Says that the process ends, and instances with it: that is no failure.
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
        // The component was optimised when it was built: to do it again changes
        // no figure but that of the start, which takes a sixth longer.
        .cranelift_opt_level(OptLevel::None)
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Takes compiled code from the cache, or compiles and caches. Whatever is
/// wrong with the cache costs time and nothing else.
fn load(
    engine: &wasmtime::Engine,
    bytes: &[u8],
    cache: Option<&Path>,
) -> anyhow::Result<(Component, Precompiled)> {
    let file = cache.and_then(|cache| match cache_file(engine, bytes, cache) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!("compiled code is not cached in {}: {error:#}", cache.display());
            None
        }
    });
    if let Some(file) = file.as_deref().filter(|file| file.exists()) {
        // SAFETY: the file must be what this version of wasmtime wrote. It
        // lies in a directory that only this user can write, under a name
        // made of the component's digest and the engine's version and
        // settings, and was put there whole by rename. wasmtime checks its
        // own version and settings again.
        #[expect(unsafe_code, reason = "there is no safe way to load compiled code")]
        let component = unsafe { Component::deserialize_file(engine, file) };
        match component {
            Ok(component) => return Ok((component, Precompiled::Cached)),
            Err(error) => tracing::warn!("cached code is not used: {error:#}"),
        }
    }
    let component = Component::from_binary(engine, bytes)?;
    if let Some(file) = file {
        let written = component.serialize().map_err(Into::into).and_then(|code| {
            let temporary = file.with_extension(format!("{}.part", std::process::id()));
            fs::write(&temporary, code)?;
            Ok::<_, anyhow::Error>(fs::rename(temporary, &file)?)
        });
        if let Err(error) = written {
            tracing::warn!("compiled code is not cached: {error:#}");
        }
    }
    Ok((component, Precompiled::Compiled))
}

fn cache_file(engine: &wasmtime::Engine, bytes: &[u8], cache: &Path) -> anyhow::Result<PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(cache)
            .context("cannot be made")?;
        let metadata = fs::metadata(cache)?;
        anyhow::ensure!(
            metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0,
            "others may write there; remove it, or chmod go-w it"
        );
    }
    #[cfg(not(unix))]
    fs::create_dir_all(cache).context("cannot be made")?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes));
    let digest = digest.context("a digest of a wrong length")?;
    Ok(cache.join(format!("{}-{:016x}.cwasm", digest.encoded(), hasher.finish())))
}

/// What an instance's store holds.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
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

/// Makes instances.
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
        let state = State {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: self.hooks.clone(),
        };
        let mut store = Store::new(&self.engine, state);
        let proxy = ProxyPre::P3(self.service.clone()).instantiate_async(&mut store).await?;
        let sleep = tokio::time::sleep(IDLE_TIME);
        let expiration = Idle(Box::pin(sleep));
        let state = Reused {
            stopping: Arc::clone(&self.stopping),
            generation: Arc::clone(&self.generation),
            born: self.generation.load(Ordering::Acquire),
            limit: match self.hooks.storage {
                Storage::Directory(_) => REQUESTS_PER_INSTANCE,
                Storage::Cloud(_) => UPLOADS_PER_INSTANCE,
            },
        };
        Ok(Instance { store, proxy, view: WasiHttpView::http, expiration, state })
    }
}

/// Ends an instance that had no request for [`IDLE_TIME`]. One that is at work
/// is never ended: a push may take hours.
pub(crate) struct Idle(Pin<Box<tokio::time::Sleep>>);

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
        let deadline = tokio::time::Instant::from(since + IDLE_TIME);
        if deadline != self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        self.0.as_mut().poll(context)
    }
}

/// Gives an instance many requests, some at a time.
pub(crate) struct Reused {
    stopping: Arc<AtomicBool>,
    generation: Arc<AtomicU64>,
    /// The generation that it was made in: it may remember who was who then.
    born: u64,
    /// How many at a time.
    limit: usize,
}

impl WorkerState for Reused {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        let outdated = self.generation.load(Ordering::Acquire) != self.born;
        if outdated || total >= REQUESTS_IN_LIFE {
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
        // Requests end by progress timeouts of their bodies, not by a total.
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<State>, result: wasmtime::Result<()>) {
        if let Err(error) = result
            && !self.stopping.load(Ordering::Relaxed)
        {
            tracing::error!("the component failed: {error:?}");
        }
        drop(store);
    }
}
