//! Commands on a storage that this process opens itself, such as `roadstead gc`: the
//! component runs without sockets, and answers nobody else.

use super::{answer, slice};
use crate::behind::hooks::{Hooks, Storage};
use crate::behind::outbound;
use crate::blocking;
use crate::body::empty;
use crate::engine::Engine;
use crate::meter::Meter;
use crate::options::Options;
use crate::server;
use anyhow::{Context as _, bail};
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use roadstead_bridge::collect::{Overrides, Progress, SliceRequest};
use roadstead_bridge::{front, scrub};
use roadstead_directory::PRIVATE;
use roadstead_operator::gc::{Failure, Source, Waits};
use roadstead_operator::registry::{Content, Incoming, Registry, Unanswered};
use std::io;
use std::path::Path;
use wasmtime_wasi_http::Error;

/// What the component is told besides the settings: the operator asks for this
/// run, whatever clients may do.
const PERMITTED: [(&str, &str); 3] = [
    ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
    ("REGISTRY_STORAGE_MAINTENANCE_GC_ENABLED", "true"),
    (READ_ONLY, "false"),
];

const READ_ONLY: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";

/// Operations of a slice where nobody else uses the storage: progress is shown
/// after each.
///
/// Limit: operations of a slice of garbage collection in a directory that is not served; test: `space_comes_back_in_a_directory_that_is_not_served`.
const BUDGET: u32 = 2000;

/// What a storage is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// To collect garbage, with the waits of the settings where a run waits.
    Collect(Waits),
    /// To read all of it, whoever else uses it. Nothing is written, so that no lock is
    /// taken, and a copy that is mounted read-only will do.
    Read,
    /// To read all of it, and to move what is damaged.
    Quarantine,
    /// To delete content, or to bring some back.
    Change,
}

/// A storage that this process has opened.
#[derive(Debug)]
pub(crate) struct Offline {
    engine: Engine,
    overrides: Overrides,
}

impl Offline {
    /// Opens the storage of the settings.
    ///
    /// # Errors
    /// When it cannot be opened, or another process serves a directory that is to be
    /// changed.
    pub(crate) async fn open(mut options: Options, purpose: Purpose) -> anyhow::Result<Self> {
        blocking::start().context("cannot start the threads that read and write")?;
        options.config.read_only = purpose == Purpose::Read;
        if options.config.cloud.is_none() && !is_data_directory(&options.root) {
            bail!(
                "{} is no data directory of a registry: it has neither docker/registry/v2 nor \
                 {PRIVATE} in it",
                options.root.display()
            );
        }
        let storage = server::storage(&options).await?;
        let mut overrides = Overrides { interval: Some(0), ..Overrides::default() };
        if let Storage::Directory(store) = &storage {
            if purpose != Purpose::Read && !store.is_owner() {
                let command = match purpose {
                    Purpose::Collect(_) => "gc http://localhost:5000",
                    Purpose::Read | Purpose::Quarantine => {
                        "scrub --quarantine http://localhost:5000"
                    }
                    Purpose::Change => {
                        "rescue http://localhost:5000, or rm localhost:5000/NAME:TAG"
                    }
                };
                bail!(
                    "another process serves {}; ask that registry, by its URL: roadstead \
                     {command}",
                    options.root.display()
                );
            }
            overrides.budget = Some(BUDGET);
        }
        if let Purpose::Collect(waits) = purpose {
            overrides.exclusive = waits.exclusive(matches!(storage, Storage::Directory(_)));
        }
        let variables =
            outbound::variables(options.config.cloud.as_ref(), variables(&options, purpose))?;
        let hooks =
            Hooks { storage, auth: None, meter: Meter::default(), traces: None, notifies: false };
        let engine =
            Engine::new(None, None, variables, hooks).context("cannot load the component")?;
        Ok(Self { engine, overrides })
    }

    /// Ends the component.
    pub(crate) fn close(self) {
        drop(self);
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        self.engine.stop();
    }
}

/// Whether a registry has used a directory: any other is left as it is.
fn is_data_directory(root: &Path) -> bool {
    root.join("docker/registry/v2").is_dir() || root.join(PRIVATE).is_dir()
}

/// The component's environment: nobody has to log in.
fn variables(options: &Options, purpose: Purpose) -> Vec<(String, String)> {
    let kept = options.variables.iter().filter(|(name, _)| {
        name != "REGISTRY_AUTH"
            && !name.starts_with("REGISTRY_AUTH_")
            && PERMITTED.iter().all(|(permitted, _)| name != permitted)
    });
    let permitted = PERMITTED.map(|(name, value)| {
        let value = if name == READ_ONLY && purpose == Purpose::Read { "true" } else { value };
        (name.to_owned(), value.to_owned())
    });
    kept.cloned().chain(permitted).collect()
}

impl Source for Offline {
    async fn slice(&mut self, ask: &SliceRequest) -> Result<Progress, Failure> {
        let result = slice(&self.engine, &self.overrides, ask).await;
        result.map_err(|failure| Failure { passes: !failure.refused, cause: failure.into() })
    }
}

impl roadstead_operator::scrub::Source for Offline {
    async fn slice(&mut self, ask: &scrub::ScrubRequest) -> Result<scrub::Progress, Failure> {
        let result = answer(&self.engine, scrub::PATH, &self.overrides, ask).await;
        result.map_err(|failure| Failure { passes: !failure.refused, cause: failure.into() })
    }
}

impl Registry for Offline {
    async fn exchange(&self, request: Request<Content>) -> Result<Response<Incoming>, Unanswered> {
        let (mut parts, content) = request.into_parts();
        let body = if content.length == 0 {
            empty()
        } else {
            // As clients announce it who know it.
            parts.headers.insert(CONTENT_LENGTH, content.length.into());
            let failed = |error: io::Error| Error::InternalError(Some(error.to_string()));
            content.body().map_err(failed).boxed_unsync()
        };
        let response = self.engine.handle(Request::from_parts(parts, body)).await;
        let mut response = response.map_err(|error| format!("{error:#}"))?;
        // It is read at once anyway.
        front::take_in_memory(response.headers_mut());
        Ok(response.map(|body| body.map_err(|error| error.to_string()).boxed_unsync()))
    }
}

#[cfg(test)]
mod tests {
    use super::{PERMITTED, Purpose, variables};
    use crate::options::Options;
    use roadstead_config::{Config, Given, Settings};
    use roadstead_operator::gc::Waits;

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
        let told = variables(&options, Purpose::Read);
        assert!(Config::from_variables(told).unwrap().read_only);
        let told = variables(&options, Purpose::Collect(Waits::InBuckets));
        let config = Config::from_variables(told.clone()).unwrap();
        assert!(!config.auth.enabled() && !config.read_only, "{told:?}");
        assert_eq!(config.collection.unwrap().keep.as_secs(), 72 * 3600);
        assert_eq!(told.len(), PERMITTED.len() + 1);
    }
}
