//! A separate Docker Engine, independent of one that the machine may run.

use crate::program;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::Command;

/// How long the engine may take to answer.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long the engine may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often to check whether the engine runs.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The number of lines of the engine's log in an error.
const LOG_LINES: usize = 15;

/// A running engine. Dropping it stops it and the processes that it started.
#[derive(Debug)]
pub struct Engine {
    process: Child,
    directory: TempDir,
}

impl Engine {
    /// Starts one; the error is why it is not possible here.
    pub async fn start() -> Result<Self, String> {
        Self::start_by(std::process::Command::new("dockerd")).await
    }

    /// Starts one with the caller's command. No container is run, so no network is set
    /// up.
    pub async fn start_by(mut dockerd: std::process::Command) -> Result<Self, String> {
        dockerd.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        Self::start_with_network(dockerd).await
    }

    /// Starts one with the caller's command, which runs it in a network of its own.
    pub async fn start_with_network(mut dockerd: std::process::Command) -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let log = File::create(at("log")).unwrap();
        let process = dockerd
            .arg("--data-root")
            .arg(at("root"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("socket").display()))
            // The simplest storage driver works everywhere.
            .arg("--storage-driver=vfs")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("dockerd: {error}"))?;
        let mut engine = Self { process, directory };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let answer = program::output(engine.docker().arg("version")).await;
            if answer.is_ok_and(|answer| answer.status.success()) {
                return Ok(engine);
            }
            if engine.ended() {
                return Err(format!("dockerd ended\n{}", engine.log()));
            }
            if Instant::now() > deadline {
                return Err(format!("dockerd: no answer in {START_LIMIT:?}\n{}", engine.log()));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Imports an archive as an image; returns its ID, or why this engine cannot
    /// unpack a layer, as in some sandboxes.
    pub async fn import(&self, archive: &Path) -> Result<String, String> {
        program::try_run(self.docker().arg("import").arg(archive)).await.map(program::text)
    }

    /// The client for this engine, without the user's settings.
    pub fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_CONFIG", self.path("client")).env("DOCKER_HOST", self.host());
        for name in ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            docker.env_remove(name);
        }
        docker
    }

    /// The value of `DOCKER_HOST` for this engine.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    /// The socket of its containerd.
    pub fn containerd(&self) -> PathBuf {
        self.directory.path().join("exec/containerd/containerd.sock")
    }

    /// The file with its process ID.
    pub fn pid_file(&self) -> PathBuf {
        self.path("pid")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The end of its log.
    fn log(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.ended() {
            signal("TERM", self.process.id());
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.ended() && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
        }
        if !self.ended() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        // A killed engine leaves its containerd running, and its data directory
        // bind-mounted on itself.
        end_containerd(self.directory.path());
        unmount(self.directory.path());
    }
}

/// Stops the containerd that an engine in `directory` started, if it still runs
/// and its process ID was not reused.
fn end_containerd(directory: &Path) {
    let pid = fs::read_to_string(directory.join("exec/containerd/containerd.pid"));
    let Some(pid) = pid.ok().and_then(|pid| pid.trim().parse::<u32>().ok()) else { return };
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if String::from_utf8_lossy(&arguments).contains(&*directory.to_string_lossy()) {
        signal("KILL", pid);
    }
}

/// Unmounts everything below `directory`, so that it can be removed.
fn unmount(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(directory)) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(point).status();
    }
}

fn signal(name: &str, pid: u32) {
    let _ =
        std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
}
