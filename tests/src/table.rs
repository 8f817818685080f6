//! Request tables against every form of the registry.

use crate::client::{Answer, send};
use crate::process::{self, Wasmtime, skip};
use bytes::Bytes;
use http::Request;
use roadstead_cloud::{CloudStorage, Options};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::bucket::MemoryBucket;
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_kit::requests::{self, Step};
use std::path::Path;

/// What a table runs against.
#[derive(Debug)]
pub enum Target {
    /// The protocol in this process, without WASI, over a directory or a bucket in memory.
    Native(NativeRegistry),
    /// A server at `host:port`.
    Server(String),
    /// A server that lives as long as this.
    Process(process::Registry),
}

impl Target {
    /// The protocol over a directory, with settings.
    pub fn native(root: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let storage = DirectoryStorage(NativeDirectory::new(Directory::open(root)?));
        let registry = NativeRegistry::new(storage, settings).map_err(anyhow::Error::msg)?;
        Ok(Self::Native(registry))
    }

    /// The protocol over a bucket that is empty, with settings.
    pub fn bucket(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let options = Options { secret: Some(b"secret".to_vec()), ..Options::default() };
        let storage = CloudStorage::new(MemoryBucket::default().backend("root"), options);
        let registry = NativeRegistry::new(storage, settings).map_err(anyhow::Error::msg)?;
        Ok(Self::Native(registry))
    }

    /// One request and its response.
    pub async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Answer> {
        match self {
            Self::Server(address) => send(address, request).await,
            Self::Process(process) => send(&process.address, request).await,
            Self::Native(registry) => Ok(registry.send(request).await),
        }
    }
}

/// Runs a table against a fresh registry of each form, with settings: natively,
/// over a bucket in memory and over a directory, as the component in the host,
/// and as the same bytes under `wasmtime serve`.
pub async fn everywhere(test: &str, settings: &[(&str, &str)], steps: impl Fn() -> Vec<Step>) {
    run(&Target::bucket(settings).unwrap(), &steps()).await;
    let root = tempfile::tempdir().unwrap();
    run(&Target::native(&root.path().join("native"), settings).unwrap(), &steps()).await;
    // A read-only registry makes no directory.
    let directory = root.path().join("host");
    std::fs::create_dir(&directory).unwrap();
    let host = process::Registry::start(&directory, settings, &[]).unwrap();
    run(&Target::Server(host.address.clone()), &steps()).await;
    let mounted = root.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    match Wasmtime::start_with(&mounted, settings).unwrap() {
        Some(wasmtime) => run(&Target::Server(wasmtime.address.clone()), &steps()).await,
        None => drop(skip(test, "wasmtime is neither $WASMTIME nor on the path")),
    }
}

/// Runs steps one after the other; each must get the response that it names.
pub async fn run(target: &Target, steps: &[Step]) {
    let send = async |request| target.send(request).await;
    if let Err(error) = requests::run(steps, send).await {
        panic!("{error}");
    }
}
