//! The project's own `spin.toml` under `spin up`.

use crate::process::{Registry, binary_named};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// The path of the component in the manifest.
const COMPONENT: &str = "target/wasm32-wasip2/component/roadstead_component.wasm";

/// A directory with the files of the project that Spin uses.
#[derive(Debug)]
pub struct Spin {
    program: PathBuf,
    directory: TempDir,
}

impl Spin {
    /// The project's `spin.toml`.
    pub const MANIFEST: &str = include_str!("../../spin.toml");

    /// The directory that the manifest mounts.
    pub const DATA: &str = "data";

    /// The flags that make Spin mount the directory itself, writable.
    pub const FLAGS: [&str; 2] = ["--direct-mounts", "--allow-transient-write"];

    /// Creates the directory; `None` if Spin is not on the `PATH`. No package
    /// registry has it.
    pub fn project() -> anyhow::Result<Option<Self>> {
        let Some(program) = binary_named(&["spin"]) else { return Ok(None) };
        let project = Self { program, directory: tempfile::tempdir()? };
        let component = project.component();
        component.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(component, roadstead_embedded::COMPONENT)?;
        fs::create_dir(project.path(Self::DATA))?;
        fs::create_dir(project.path("home"))?;
        fs::write(project.path("spin.toml"), Self::MANIFEST)?;
        Ok(Some(project))
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The component that Spin runs.
    pub fn component(&self) -> PathBuf {
        self.path(COMPONENT)
    }

    /// A command of Spin in the directory. Its messages are on standard error.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$@\" >&2", "sh"])
            .arg(&self.program)
            .args(arguments)
            .current_dir(self.directory.path())
            // For caches of compiled code, and of apps from registries.
            .env("HOME", self.path("home"))
            .env_remove("XDG_CACHE_HOME");
        command
    }

    /// Runs `spin up` on a port chosen by the system.
    pub fn up(&self, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<SpinUp> {
        let mut command = self.command(&["up", "--listen", "127.0.0.1:0"]);
        command
            .args(arguments)
            .args(variables.iter().flat_map(|(n, v)| ["-e".to_owned(), format!("{n}={v}")]));
        let address = |line: &str| Some(line.split_once("Serving http://")?.1.trim().to_owned());
        Ok(SpinUp(Registry::spawn(command, address)?))
    }
}

/// Spin, which has two processes: the first ends both only on a signal.
#[derive(Debug)]
pub struct SpinUp(Registry);

impl std::ops::Deref for SpinUp {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0
    }
}

impl Drop for SpinUp {
    fn drop(&mut self) {
        let ended = self.0.signal("TERM").and_then(|()| self.0.wait());
        if let Err(error) = ended
            && !std::thread::panicking()
        {
            panic!("spin does not end: {error}");
        }
    }
}
