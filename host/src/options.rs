//! The options of a host.

use roadstead_config::{Config, ConfigError};
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
    /// The directory for compiled code; without it, the component is compiled at
    /// every start.
    pub code_cache: Option<PathBuf>,
    /// The component's environment.
    pub variables: Vec<(String, String)>,
}

impl Options {
    /// Options from settings as variables; see [`Config::from_variables`].
    pub fn from_variables(variables: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let config = Config::from_variables(variables.clone())?;
        let root = config.root.clone().unwrap_or_else(default_root);
        let variables = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(roadstead_config::PREFIX))
            .filter_map(for_component)
            .collect();
        Ok(Self { config, root, component: None, code_cache: default_code_cache(), variables })
    }

    /// Where the data is, for the log.
    pub(crate) fn location(&self) -> String {
        match &self.config.cloud {
            Some(cloud) => cloud.location(),
            None => self.root.display().to_string(),
        }
    }
}

/// What the component gets of a setting: no secrets, and nothing that only the
/// host sets.
fn for_component((name, value): (String, String)) -> Option<(String, String)> {
    match name.as_str() {
        "REGISTRY_HTTP_SECRET"
        | "REGISTRY_AUTH_HOST_AUTHORITY"
        | "REGISTRY_STORAGE_HOST_AUTHORITY"
        | "REGISTRY_STORAGE_HOST_HASHING" => None,
        // The component must know that there are users, and no more.
        "REGISTRY_AUTH_HTPASSWD_PATH" | "REGISTRY_AUTH_HTPASSWD_ENTRIES" => {
            Some(("REGISTRY_AUTH_HTPASSWD_PATH".to_owned(), "the host has it".to_owned()))
        }
        _ => Some((name, value)),
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

    #[test]
    fn the_component_gets_no_secrets() {
        for users in ["REGISTRY_AUTH_HTPASSWD_PATH", "REGISTRY_AUTH_HTPASSWD_ENTRIES"] {
            let variables = [
                ("REGISTRY_AUTH", "token"),
                (users, "alice:$2y$04$hash"),
                ("REGISTRY_HTTP_SECRET", "hidden"),
                ("REGISTRY_AUTH_HOST_AUTHORITY", "elsewhere"),
                ("REGISTRY_STORAGE_HOST_AUTHORITY", "elsewhere"),
                ("REGISTRY_STORAGE_HOST_HASHING", "elsewhere"),
                ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let options = Options::from_variables(variables.into()).unwrap();
            let expected =
                [("REGISTRY_AUTH", "token"), ("REGISTRY_AUTH_HTPASSWD_PATH", "the host has it")];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(options.variables, expected, "{users}");
        }
    }
}
