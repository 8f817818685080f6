//! `roadstead gc` on a storage that this process opens itself: the component runs
//! without sockets, and does slices for nobody else.

use super::{get, slice};
use crate::behind::hooks::{Hooks, Storage};
use crate::behind::outbound;
use crate::blocking;
use crate::component::COMPONENT;
use crate::engine::Engine;
use crate::options::Options;
use crate::server;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use roadstead_bridge::collect::{Overrides, Progress, SliceRequest};
use roadstead_directory::PRIVATE;
use roadstead_operator::gc::{Failure, Source};
use std::path::Path;

/// What the component is told besides the settings: the operator asks for this
/// run, whatever clients may do.
const PERMITTED: [(&str, &str); 3] = [
    ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "false"),
];

/// Operations of a slice where nobody else uses the storage: progress is shown
/// after each.
///
/// Limit: operations of a slice of garbage collection in a directory that is not served; test: `space_comes_back_in_a_directory_that_is_not_served`.
const BUDGET: u32 = 2000;

/// A storage that this process has opened.
#[derive(Debug)]
pub(crate) struct Offline {
    engine: Engine,
    overrides: Overrides,
}

impl Offline {
    /// Opens the storage of the settings. With `keep`, the waits of the settings
    /// apply, as they always do in a bucket.
    ///
    /// # Errors
    /// When it cannot be opened, or another process serves the directory.
    pub(crate) async fn open(mut options: Options, keep: bool) -> anyhow::Result<Self> {
        blocking::start().context("cannot start the threads that read and write")?;
        options.config.read_only = false;
        if options.config.cloud.is_none() && !is_data_directory(&options.root) {
            bail!("{} is no data directory of a registry", options.root.display());
        }
        let storage = server::storage(&options).await?;
        let mut overrides = Overrides { interval: Some(0), ..Overrides::default() };
        if let Storage::Directory(store) = &storage {
            if !store.is_owner() {
                bail!(
                    "another process serves {}; ask that registry, by its URL: roadstead gc \
                     http://localhost:5000",
                    options.root.display()
                );
            }
            overrides.exclusive = !keep;
            overrides.budget = Some(BUDGET);
        }
        let variables = outbound::variables(options.config.cloud.as_ref(), variables(&options))?;
        let hooks = Hooks { storage, auth: None };
        let cache = options.code_cache.as_deref();
        let (engine, _) =
            Engine::new(COMPONENT, cache, variables, hooks).context("cannot load the component")?;
        Ok(Self { engine, overrides })
    }

    /// Ends the component.
    pub(crate) fn close(self) {
        self.engine.stop();
    }
}

/// Whether a registry has used a directory: any other is left as it is.
fn is_data_directory(root: &Path) -> bool {
    root.join("docker/registry/v2").is_dir() || root.join(PRIVATE).is_dir()
}

/// The component's environment: nobody has to log in.
fn variables(options: &Options) -> Vec<(String, String)> {
    let kept = options.variables.iter().filter(|(name, _)| {
        name != "REGISTRY_AUTH"
            && !name.starts_with("REGISTRY_AUTH_")
            && PERMITTED.iter().all(|(permitted, _)| name != permitted)
    });
    let permitted = PERMITTED.map(|(name, value)| (name.to_owned(), value.to_owned()));
    kept.cloned().chain(permitted).collect()
}

impl Source for Offline {
    async fn slice(&mut self, ask: &SliceRequest) -> Result<Progress, Failure> {
        let result = slice(&self.engine, &self.overrides, ask).await;
        result.map_err(|failure| Failure { passes: !failure.refused, cause: failure.into() })
    }

    async fn get(&mut self, path: &str) -> Result<Bytes, Failure> {
        let result = get(&self.engine, path).await;
        result.map_err(|failure| Failure { passes: false, cause: failure.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::{PERMITTED, variables};
    use crate::options::Options;
    use roadstead_config::{Config, Given, Settings};

    /// With whatever settings serve the storage, the component collects and asks for
    /// no login.
    #[test]
    fn the_operator_needs_no_permission() {
        let given = [
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/users"),
            ("REGISTRY_AUTH_RULES", "alice pull a"),
            ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"),
            ("REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED", "false"),
            ("REGISTRY_STORAGE_MAINTENANCE_GC_KEEP", "72h"),
        ];
        let given = given.map(|(name, value)| Given::variable(name, value));
        let options = Options::new(&Settings::gather(given)).unwrap();
        let told = variables(&options);
        let config = Config::from_variables(told.clone()).unwrap();
        assert!(!config.auth.enabled() && !config.read_only, "{told:?}");
        assert_eq!(config.collection.unwrap().keep.as_secs(), 72 * 3600);
        assert_eq!(told.len(), PERMITTED.len() + 1);
    }
}
