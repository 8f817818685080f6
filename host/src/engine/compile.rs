//! Compiled code: the built-in component's, which the build made, and that of another
//! component, which is cached in a directory.

use super::configuration;
use anyhow::Context as _;
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::ptr::NonNull;
#[cfg(unix)]
use std::sync::Arc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;
use wasmtime::component::Component;
use wasmtime::{Engine, InstanceAllocationStrategy, OptLevel};

/// What the build compiled.
static COMPILED: OnceLock<&[u8]> = OnceLock::new();

/// The built-in component and its engine, once they are loaded. Code that is executed
/// where it lies can be registered once in a process.
static BUILT_IN: Mutex<Option<(Engine, Component)>> = Mutex::new(None);

/// Compiles a component for a target. [`crate::cli::main`] takes the result.
///
/// # Errors
/// When the bytes are no component, or wasmtime does not know the target.
pub fn precompile(component: &[u8], target: &str) -> anyhow::Result<Vec<u8>> {
    let mut configuration = configuration();
    // With the features that every processor of the target has, and not those of
    // the machine that builds.
    configuration.target(target)?;
    // As fast, and a tenth smaller; here it does not matter how long it takes.
    configuration.cranelift_opt_level(OptLevel::Speed);
    // Nothing runs here, so no memory is reserved for instances.
    configuration.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Ok(Engine::new(&configuration)?.precompile_component(component)?)
}

/// Says what [`precompile`] made of [`crate::COMPONENT`] for this target, at the
/// beginning of a page.
pub(crate) fn built_in(compiled: &'static [u8]) {
    // The first one counts; there is one in a process.
    let _ = COMPILED.set(compiled);
}

/// The built-in component, and its engine.
pub(super) fn load_built_in() -> anyhow::Result<(Engine, Component)> {
    let mut loaded = BUILT_IN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*loaded {
        return Ok(loaded.clone());
    }
    let compiled = COMPILED.get().context("this program has no compiled component")?;
    let mut configuration = configuration();
    #[cfg(unix)]
    configuration.with_custom_code_memory(Some(Arc::new(super::in_place::InPlace)));
    let engine = Engine::new(&configuration)?;
    // SAFETY: the bytes must be what this version of wasmtime wrote, and stay as they
    // are. They are what the build of this program wrote into it, with the crate that
    // loads it, and are read-only. They are loaded once.
    #[expect(unsafe_code, reason = "there is no safe way to load compiled code")]
    #[cfg(unix)]
    let component = unsafe { Component::deserialize_raw(&engine, NonNull::from_ref(*compiled)) };
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "there is no safe way to load compiled code")]
    #[cfg(not(unix))]
    let component = unsafe { Component::deserialize(&engine, compiled) };
    let component = component.map_err(anyhow::Error::from).context("its compiled code")?;
    Ok(loaded.insert((engine, component)).clone())
}

/// Loads a component's code from the cache, or compiles it and caches the code. A
/// failure of the cache costs time and nothing else.
pub(super) fn load(file: &Path, cache: Option<&Path>) -> anyhow::Result<(Engine, Component)> {
    let engine = &Engine::new(&configuration())?;
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let file = cache.and_then(|cache| match cache_file(engine, &bytes, cache) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!("compiled code is not cached in {}: {error:#}", cache.display());
            None
        }
    });
    if let Some(file) = file.as_deref().filter(|file| file.exists()) {
        // SAFETY: the file must be what this version of wasmtime wrote. It is in
        // a directory that only this user can write, under a name made of the
        // component's digest and the engine's version and settings, and it was
        // renamed into place when complete. wasmtime checks its own version and
        // settings again.
        #[expect(unsafe_code, reason = "there is no safe way to load compiled code")]
        let component = unsafe { Component::deserialize_file(engine, file) };
        match component {
            Ok(component) => return Ok((engine.clone(), component)),
            Err(error) => tracing::warn!("cached code is not used: {error:#}"),
        }
    }
    let started = Instant::now();
    let component = Component::from_binary(engine, &bytes)?;
    tracing::debug!("compiled the component in {:?}", started.elapsed());
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
    Ok((engine.clone(), component))
}

fn cache_file(engine: &Engine, bytes: &[u8], cache: &Path) -> anyhow::Result<PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(cache)
            .context("cannot be created")?;
        let metadata = fs::metadata(cache)?;
        anyhow::ensure!(
            metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0,
            "other users can write there; remove it, or chmod go-w it"
        );
    }
    #[cfg(not(unix))]
    fs::create_dir_all(cache).context("cannot be created")?;
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest = Digest::from_bytes(Algorithm::Sha256, &Sha256::digest(bytes));
    let digest = digest.context("a digest of the wrong length")?;
    Ok(cache.join(format!("{}-{:016x}.cwasm", digest.encoded(), hasher.finish())))
}
