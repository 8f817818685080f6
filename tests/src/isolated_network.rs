//! Isolation with Linux namespaces: a network without a route to others, its own
//! host names, and another `/etc/docker`.
//!
//! Docker's engine looks for registries' certificates only in `/etc/docker`, and
//! considers addresses outside of 127.0.0.0/8 to be another machine.

use crate::Pair;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The registry's host name in the network.
pub const NAME: &str = "registry.example";

/// Its address, from a network for documentation (RFC 5737). It is local, so
/// nothing that is sent to it leaves the machine.
pub const ADDRESS: &str = "192.0.2.1";

/// A process that ends when its standard input is closed.
const HOLD: &str = r#"set -e
mkdir -p /etc/docker
mount --bind "$1/docker" /etc/docker
mount --bind "$1/hosts" /etc/hosts
ip link set lo up
ip address add "$2/32" dev lo
echo ready
read -r _ || true"#;

/// The namespaces, until this is dropped.
#[derive(Debug)]
pub struct IsolatedNetwork {
    holder: Child,
    directory: TempDir,
}

impl IsolatedNetwork {
    /// Creates one; the error is why it is not possible here.
    pub fn new() -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("docker/certs.d")).unwrap();
        let hosts = format!("127.0.0.1 localhost\n{ADDRESS} {NAME}\n");
        fs::write(at("hosts"), hosts).unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", HOLD, "sh"])
            .arg(directory.path())
            .arg(ADDRESS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let output = holder.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        if line == "ready\n" {
            return Ok(Self { holder, directory });
        }
        let output = holder.wait_with_output().unwrap();
        Err(format!("no network of its own: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// A command that runs in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().to_string());
        command.args(["--mount", "--net", "--"]).arg(program);
        command
    }

    /// What is `/etc/docker` in it.
    pub fn docker_directory(&self) -> PathBuf {
        self.directory.path().join("docker")
    }

    /// Makes engines trust a registry's CA, as documented.
    pub fn trust(&self, registry: &str, pair: &Pair) {
        let directory = self.docker_directory().join("certs.d").join(registry);
        fs::create_dir_all(&directory).unwrap();
        fs::copy(pair.authority(), directory.join("ca.crt")).unwrap();
    }
}

impl Drop for IsolatedNetwork {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
