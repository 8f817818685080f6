//! The options of a host.

use crate::behind::archives;
use crate::collect::schedule::Hurry;
use roadstead_config::{Config, ConfigError, Given, Settings};
use std::env;
use std::path::PathBuf;

/// What the names of all settings of a storage begin with, and the one that chooses it.
const BELOW_STORAGE: &str = "REGISTRY_STORAGE_";
const STORAGE: &str = "REGISTRY_STORAGE";

/// The setting with which nothing is written.
const READ_ONLY: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";

/// The options of a host: its settings, and what the command line adds.
#[derive(Clone, Debug)]
pub struct Options {
    /// The settings.
    pub config: Config,
    /// The storage directory; not used if the settings name an object store.
    pub root: PathBuf,
    /// Archives that are served, and only read, in place of a storage.
    pub archives: Vec<PathBuf>,
    /// A component to run instead of [`crate::COMPONENT`].
    pub component: Option<PathBuf>,
    /// The directory for its compiled code; without it, it is compiled at every
    /// start.
    pub code_cache: Option<PathBuf>,
    /// The commit that the program was built from, where the build knows it.
    pub commit: Option<&'static str>,
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
        Ok(Self {
            config,
            root,
            archives: Vec::new(),
            component: None,
            code_cache,
            commit: None,
            hurry: None,
            variables,
        })
    }

    /// Options to serve archives, from the settings of the environment but for those of a
    /// storage: nothing is written, and nothing maintained.
    ///
    /// # Errors
    /// All that is wrong with the settings, at once.
    pub fn over_archives(
        archives: Vec<PathBuf>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let of_storage = |name: &str| name == STORAGE || name.starts_with(BELOW_STORAGE);
        let (mut ignored, others): (Vec<_>, Vec<_>) =
            environment.into_iter().partition(|(name, _)| of_storage(name));
        ignored.retain(|(name, _)| name != READ_ONLY);
        let others = others.into_iter().chain([(READ_ONLY.to_owned(), "true".to_owned())]);
        let given = others.map(|(name, value)| Given::variable(name, value));
        let mut options = Self::new(&Settings::gather(given))?;
        options.archives = archives;
        options.config.upload_purging = None;
        options.config.collection = None;
        if !ignored.is_empty() {
            let names: Vec<_> = ignored.into_iter().map(|(name, _)| name).collect();
            let warning = format!("archives are served; ignored are {}", names.join(", "));
            options.config.warnings.push(warning);
        }
        Ok(options)
    }

    /// Where the data is, for the log.
    pub(crate) fn location(&self) -> String {
        match &self.config.cloud {
            _ if !self.archives.is_empty() => archives::location(&self.archives),
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

    #[test]
    fn archives_are_served_with_no_settings_of_a_storage() {
        let environment = [
            ("REGISTRY_HTTP_ADDR", ":5001"),
            ("REGISTRY_STORAGE", "s3"),
            ("REGISTRY_STORAGE_S3_BUCKET", "b"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "false"),
            ("REGISTRY_AUTH", "token"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/users"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let archives = vec!["a.tar".into()];
        let options = Options::over_archives(archives.clone(), environment).unwrap();
        let config = &options.config;
        assert!(config.read_only && !config.delete_enabled && config.cloud.is_none());
        assert!(config.collection.is_none() && config.upload_purging.is_none());
        assert_eq!((config.address.as_str(), &options.archives), ("[::]:5001", &archives));
        let variables: Vec<_> = options.variables.iter().map(|(name, _)| name.as_str()).collect();
        let read_only = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";
        assert_eq!(variables, ["REGISTRY_AUTH", "REGISTRY_AUTH_HTPASSWD_PATH", read_only]);
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(warning.contains("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"), "{warning}");
        assert!(!warning.contains("READONLY"), "{warning}");
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
