//! Compiles a component, and caches the compiled code in a directory.

use anyhow::Context as _;
use roadstead_oci::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use wasmtime::component::Component;

/// Where a component's compiled code came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precompiled {
    /// From the cache.
    Cached,
    /// It was compiled at this start.
    Compiled,
}

/// Loads compiled code from the cache, or compiles the component and caches the
/// code. A failure of the cache costs time and nothing else.
pub(super) fn load(
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
        // SAFETY: the file must be what this version of wasmtime wrote. It is in
        // a directory that only this user can write, under a name made of the
        // component's digest and the engine's version and settings, and it was
        // renamed into place when complete. wasmtime checks its own version and
        // settings again.
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
