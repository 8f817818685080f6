//! CNCF distribution, as a peer and as a second registry over one directory.

use crate::{Registry, binary_named};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of the two versions: Debian's package, which is 2.8, and the one
/// that `.ci/install-distribution` builds, which is 3.
const PROGRAMS: [&str; 2] = ["docker-registry", "registry"];

/// distribution with a configuration file and variables.
#[derive(Clone, Debug)]
pub struct Distribution {
    program: PathBuf,
    config: PathBuf,
    variables: Vec<(String, String)>,
}

impl Distribution {
    /// The versions that are installed.
    pub fn programs() -> Vec<PathBuf> {
        PROGRAMS.iter().filter_map(|name| binary_named(&[name])).collect()
    }

    /// The first of them.
    pub fn program() -> Option<PathBuf> {
        Self::programs().into_iter().next()
    }

    /// Over the directory `data` below a root; writes its configuration.
    ///
    /// # Errors
    ///
    /// If that cannot be written.
    pub fn over(root: &Path, program: &Path) -> anyhow::Result<Self> {
        let config = root.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: \
             {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            root.join("data").display()
        );
        std::fs::write(&config, text)?;
        Ok(Self::with(program, &config, &[]))
    }

    /// With the caller's configuration and variables.
    pub fn with(program: &Path, config: &Path, variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            program: program.to_owned(),
            config: config.to_owned(),
            variables: variables.iter().map(owned).collect(),
        }
    }

    /// Its configuration file, which roadstead understands too.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it ends before it listens.
    pub fn serve(&self) -> anyhow::Result<Registry> {
        Registry::spawn(self.command("serve", &[]), |line| {
            // Not that of the debug server.
            let rest = line.split_once("\"listening on ")?.1;
            Some(rest.split(['"', ' ', ',']).next()?.to_owned())
        })
    }

    /// Its collector, with these flags.
    pub fn garbage_collect(&self, flags: &[&str]) -> Command {
        self.command("garbage-collect", flags)
    }

    fn command(&self, name: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).args(flags).arg(&self.config).env_clear();
        // Version 3 would look for a collector of traces.
        command.env("OTEL_TRACES_EXPORTER", "none");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}
