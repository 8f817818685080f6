//! CNCF distribution, as a peer and as a second registry over one directory.

use crate::{Registry, binary_named};
use std::path::{Path, PathBuf};
use std::process::Command;

/// distribution over the directory `data` below a root.
#[derive(Clone, Debug)]
pub struct Distribution {
    program: PathBuf,
    config: PathBuf,
}

impl Distribution {
    /// The installed program; Debian's package names it `docker-registry`.
    pub fn program() -> Option<PathBuf> {
        binary_named(&["docker-registry", "registry"])
    }

    /// Writes its configuration.
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
        Ok(Self { program: program.to_owned(), config })
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
        let mut command = self.command("serve", &[]);
        // Version 3 would look for a collector of traces.
        command.env("OTEL_TRACES_EXPORTER", "none");
        Registry::spawn(command, |line| {
            let rest = line.split_once("listening on ")?.1;
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
        command
    }
}
