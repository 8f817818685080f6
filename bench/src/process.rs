//! Server processes: started, observed through `/proc`, and stopped.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::ClientConfig;

/// How long a server may take to respond after its start.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How often a starting server is asked.
const START_PAUSE: Duration = Duration::from_micros(500);

/// How long a server may take to exit after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How often an exiting server is checked.
const END_PAUSE: Duration = Duration::from_millis(5);

/// Ticks per second in `/proc/<pid>/stat` (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// How much of a server's log is shown when it does not start.
const SHOWN: usize = 2000;

/// How clients reach a server.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// `127.0.0.1:<port>`.
    pub(crate) address: String,
    /// The TLS client that trusts its certificate; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A server and its workers; stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// How it is reached.
    pub(crate) endpoint: Endpoint,
    /// Its data directory.
    pub(crate) root: PathBuf,
    /// The time from its start to its first response.
    pub(crate) ready: Duration,
    process: Child,
}

impl Server {
    /// Starts a server and waits for its first response: to GET `/v2/`, or with
    /// TLS, until it accepts a connection.
    pub(crate) fn start(
        mut command: Command,
        port: u16,
        root: &Path,
        log: &Path,
        tls: Option<Arc<ClientConfig>>,
    ) -> anyhow::Result<Self> {
        let output = std::fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let process = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self {
            endpoint: Endpoint { address: address.to_string(), tls },
            root: root.to_owned(),
            ready: Duration::ZERO,
            process,
        };
        while !answers(address, server.endpoint.tls.is_some()) {
            let ended = server.process.try_wait()?;
            if ended.is_some() || started.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let shown: String = log.chars().take(SHOWN).collect();
                anyhow::bail!("no response ({ended:?}): {command:?}\n{shown}");
            }
            std::thread::sleep(START_PAUSE);
        }
        server.ready = started.elapsed();
        Ok(server)
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let Endpoint { address, tls } = &self.endpoint;
        format!("http{}://{address}{path}", if tls.is_some() { "s" } else { "" })
    }

    /// Its CPU time in seconds, with its workers and exited children.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let mut ticks = 0.0;
        for pid in self.family() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // utime, stime, cutime and cstime.
            let fields = stat.rsplit_once(')').context("no stat")?.1.split_whitespace();
            for field in fields.skip(11).take(4) {
                ticks += field.parse::<f64>()?;
            }
        }
        Ok(ticks / TICKS)
    }

    /// Its peak resident memory in bytes, summed over its workers.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for pid in self.family() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
            sum += kibibytes.context("no VmHWM")?.trim().parse::<u64>()? * 1024;
        }
        Ok(sum)
    }

    /// The ids of the process and its descendants.
    fn family(&self) -> Vec<u32> {
        let mut family = vec![self.process.id()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(children(*pid));
            next += 1;
        }
        family
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let family = self.family();
        signal(self.process.id(), Signal::TERM);
        let deadline = Instant::now() + END_LIMIT;
        while Instant::now() < deadline {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(END_PAUSE),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        // They have not been reaped, so the ids are still theirs.
        for pid in family {
            signal(pid, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| {
        std::fs::read_to_string(thread.path().join("children")).ok() // One list for each thread.
    });
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether the server responds.
fn answers(address: SocketAddr, tls: bool) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    if tls {
        return true;
    }
    let request = format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut status = [0; b"HTTP/1.1 200".len()];
    stream.set_read_timeout(Some(START_LIMIT)).is_ok()
        && stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut status).is_ok()
        && status.ends_with(b" 200")
}

/// A free port.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
