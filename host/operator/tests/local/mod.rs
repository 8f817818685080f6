//! Data directories that the registry serves in this process, as the host's commands open
//! them.

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use roadstead_directory::{Directory, DirectoryStorage};
use roadstead_kit::directory::NativeDirectory;
use roadstead_kit::native::NativeRegistry;
use roadstead_operator::registry::{
    Access, Content, Incoming, Opener, Registry, Storage, Unanswered,
};
use std::path::{Path, PathBuf};

/// Opens data directories.
pub(crate) struct Local;

/// A registry over one of them.
pub(crate) struct LocalRegistry(NativeRegistry);

impl LocalRegistry {
    /// Opens a directory.
    pub(crate) fn open(root: &Path) -> Self {
        Self::with(root, &[])
    }

    /// Opens a directory with these settings too.
    pub(crate) fn with(root: &Path, settings: &[(&str, &str)]) -> Self {
        let storage = DirectoryStorage(NativeDirectory::new(Directory::open(root).unwrap()));
        let deletes = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
        Self(NativeRegistry::new(storage, &[&deletes, settings].concat()).unwrap())
    }
}

impl Opener for Local {
    type Registry = LocalRegistry;

    async fn open(&self, storage: &Storage, _: Access) -> anyhow::Result<LocalRegistry> {
        match storage {
            Storage::Directory(root) => Ok(LocalRegistry::open(root)),
            Storage::Config(file) => anyhow::bail!("cannot read {}", file.display()),
        }
    }

    fn directory(&self, storage: &Storage) -> Option<PathBuf> {
        match storage {
            Storage::Directory(root) => Some(root.clone()),
            Storage::Config(_) => None,
        }
    }
}

impl Registry for LocalRegistry {
    async fn exchange(&self, request: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        let (parts, content) = request.into_parts();
        let body = content.body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let response = self.0.send(Request::from_parts(parts, body)).await;
        Ok(response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
    }
}
