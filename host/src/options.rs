//! The options of a host.

use crate::collect::schedule::Hurry;
use roadstead_config::{Config, ConfigError, Settings};
use std::env;
use std::path::PathBuf;

/// The options of a host: its settings, and what the command line adds.
#[derive(Clone, Debug)]
pub struct Options {
    /// The settings.
    pub config: Config,
    /// The storage directory; not used if the settings name an object store.
    pub root: PathBuf,
    /// A component to run instead of [`crate::COMPONENT`].
    pub component: Option<PathBuf>,
    /// The directory for its compiled code; without it, it is compiled at every
    /// start.
    pub code_cache: Option<PathBuf>,
    /// Shorter waits of garbage collection, for tests.
    pub hurry: Option<Hurry>,
    /// The component's environment.
    pub variables: Vec<(String, String)>,
}

impl Options {
    /// Options from the settings of a file and of the environment.
    ///
    /// # Errors
    /// All that is wrong with the settings, at once.
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let config = settings.config()?;
        let root = config.root.clone().unwrap_or_else(default_root);
        let variables = settings.for_component();
        let code_cache = default_code_cache();
        Ok(Self { config, root, component: None, code_cache, hurry: None, variables })
    }

    /// Where the data is, for the log.
    pub(crate) fn location(&self) -> String {
        match &self.config.cloud {
            Some(cloud) => cloud.location(),
            None => self.root.display().to_string(),
        }
    }
}

/// The storage directory where the settings name none:
/// `$XDG_DATA_HOME/roadstead`, and without a home, distribution's.
pub fn default_root() -> PathBuf {
    home("XDG_DATA_HOME", ".local/share")
        .map_or_else(|| roadstead_config::DEFAULT_ROOT.into(), |home| home.join("roadstead"))
}

/// `$XDG_CACHE_HOME/roadstead`, if there is a home.
pub fn default_code_cache() -> Option<PathBuf> {
    home("XDG_CACHE_HOME", ".cache").map(|home| home.join("roadstead"))
}

fn home(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))
}

#[cfg(test)]
mod tests {
    use super::Options;
    use roadstead_config::{Given, Scope, Settings, rows};

    fn options(variables: &[(&str, &str)]) -> Options {
        let given = variables.iter().map(|(name, value)| Given::variable(*name, *value));
        Options::new(&Settings::gather(given)).unwrap()
    }

    #[test]
    fn the_component_gets_no_secrets() {
        for users in ["REGISTRY_AUTH_HTPASSWD_PATH", "REGISTRY_AUTH_HTPASSWD_ENTRIES"] {
            let options = options(&[
                ("REGISTRY_AUTH", "token"),
                (users, "alice:$2y$04$hash"),
                ("REGISTRY_HTTP_SECRET", "hidden"),
                ("ROADSTEAD_HOST_SERVICES", "storage"),
                ("AWS_SECRET_ACCESS_KEY", "hidden"),
                // A name that is not in the table of settings.
                ("REGISTRY_PASSWORD", "hidden"),
            ]);
            let expected = [("REGISTRY_AUTH", "token"), (users, "the host has it")];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(options.variables, expected, "{users}");
            assert_eq!(options.config.warnings.len(), 1, "{:?}", options.config.warnings);
        }
    }

    /// Whatever the table says is the host's.
    #[test]
    fn the_component_is_not_told_what_is_the_hosts() {
        let given = rows().map(|row| Given::variable(row.variable(), "hidden"));
        let told = Settings::gather(given).for_component();
        assert!(!told.is_empty());
        for row in rows() {
            let value = told.iter().find(|(name, _)| *name == row.variable());
            let value = value.map(|(_, value)| value.as_str());
            match row.scope() {
                // Some names of distribution's stand for those below a setting.
                Scope::Host if row.is_used() => assert_eq!(value, None, "{}", row.key()),
                Scope::Host => {}
                Scope::HostAndPresence => assert_ne!(value, Some("hidden"), "{}", row.key()),
                Scope::Component | Scope::Both => {
                    assert_eq!(value, Some("hidden"), "{}", row.key());
                }
            }
        }
    }
}
