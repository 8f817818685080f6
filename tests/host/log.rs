//! The log's fate is not the registry's: whatever becomes of standard error,
//! requests are answered, and SIGTERM ends the process.

use crate::support::{TEST_LIMIT, ask, assert_well, eventually, request, within};
use crate::trap;
use roadstead_tests::{Registry, binary};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Requests whose lines do not fit into a pipe and the log's buffer together.
const MANY: usize = 4000;

/// The length of each of their lines, in bytes: longer queries are cut.
const LONG: usize = 1000;

/// The address that hosts listen at.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 5, 1);

/// How long a host may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How often to check whether something has happened.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// A host whose standard error is the test's, killed when dropped.
struct Host {
    process: Child,
    address: String,
}

impl Host {
    /// Starts a host on a port that was free a moment ago, which its log cannot
    /// say.
    async fn start(root: &Path, stderr: impl Into<Stdio>) -> Self {
        let mut command = command(root, &free());
        Self::await_answer(command.stderr(stderr)).await
    }

    async fn await_answer(command: &mut Command) -> Self {
        let address = command.get_envs().find(|(name, _)| *name == "REGISTRY_HTTP_ADDR");
        let address = address.unwrap().1.unwrap().to_str().unwrap().to_owned();
        let mut host = Self { process: command.spawn().unwrap(), address };
        while TcpStream::connect(&host.address).await.is_err() {
            assert!(host.process.try_wait().unwrap().is_none(), "it has ended");
            tokio::time::sleep(POLL_PAUSE).await;
        }
        host
    }

    async fn request(&self, path: &str) {
        ask(&self.address, request(&format!("GET {path}"), ""), 200).await;
    }

    /// Sends requests with long lines in the log.
    async fn many(&self) {
        for number in 0..MANY {
            self.request(&format!("/v2/?n={number}&last={}", "x".repeat(LONG))).await;
        }
    }

    fn terminate(&mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        ended(&mut self.process)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(root: &Path, address: &str) -> Command {
    let mut command = Command::new(binary().unwrap());
    command
        .arg("serve")
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root)
        .env("REGISTRY_HTTP_ADDR", address)
        .env("REGISTRY_LOG_FORMATTER", "text")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A free port of an address that no other test uses, whose connections could take
/// it meanwhile.
fn free() -> String {
    TcpListener::bind((OWN_ADDRESS, 0)).unwrap().local_addr().unwrap().to_string()
}

fn ended(process: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(POLL_PAUSE);
    }
}

#[cfg(target_os = "linux")]
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// The disk that the log is on is full, at the start already.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let mut host = Host::start(root.path(), full()).await;
        host.many().await;
        assert_eq!(host.terminate().code(), Some(0));
        // Nor does an error at the start become another one.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let mut refused = command(root.path(), &address).stderr(full()).spawn().unwrap();
        assert_eq!(ended(&mut refused).code(), Some(1));
    })
    .await;
}

/// There is no standard error.
#[cfg(unix)]
#[tokio::test]
async fn none_at_all() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let usual = command(root.path(), &free());
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" serve 2>&-"]).arg(usual.get_program());
        shell.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut host = Host::await_answer(&mut shell).await;
        host.many().await;
        assert_eq!(host.terminate().code(), Some(0));
    })
    .await;
}

/// As with `| tee` when tee is killed.
#[tokio::test]
async fn a_pipe_whose_reader_is_gone() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let mut host = Host::start(root.path(), Stdio::piped()).await;
        drop(host.process.stderr.take());
        host.many().await;
        assert_eq!(host.terminate().code(), Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_pipe_that_nobody_reads() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let mut host = Host::start(root.path(), Stdio::piped()).await;
        host.many().await;
        assert_well(&host.address).await;
        assert_eq!(host.terminate().code(), Some(0));
    })
    .await;
}

/// Once somebody reads, the log says how many lines are missing.
#[tokio::test]
async fn what_was_dropped_is_counted() {
    let root = tempfile::tempdir().unwrap();
    within(TEST_LIMIT, async {
        let mut host = Host::start(root.path(), Stdio::piped()).await;
        host.many().await;
        let mut log = BufReader::new(host.process.stderr.take().unwrap());
        let (mut kept, mut line) = (0, String::new());
        let dropped = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
            kept += usize::from(line.contains("uri=/v2/?n="));
            if let Some((said, _)) = line.split_once(" log lines were dropped") {
                break said.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap();
            }
        };
        assert!(dropped > 0 && kept > 0);
        // The process ends with its log complete.
        host.request("/v2/?last=one").await;
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).map(|_| rest)
        });
        assert_eq!(host.terminate().code(), Some(0));
        let rest = rest.join().unwrap().unwrap();
        kept += rest.matches("uri=/v2/?n=").count();
        assert_eq!(dropped + kept, MANY);
        assert!(rest.contains("uri=/v2/?last=one") && rest.contains("shutting down"), "{rest}");
    })
    .await;
}

/// A client can cause any number of failures, and no number of lines.
#[tokio::test]
async fn failures_of_one_kind_are_limited() {
    const TRAPS: usize = 60;
    const FAILED: &str = "the component did not answer";
    let root = tempfile::tempdir().unwrap();
    let component = trap::build();
    let arguments = ["--component", component.to_str().unwrap()];
    let host = Registry::start(root.path(), &[], &arguments).unwrap();
    within(TEST_LIMIT, async {
        let started = Instant::now();
        for _ in 0..TRAPS {
            ask(&host.address, request("GET /trap", ""), 500).await;
        }
        // 20 lines in 10 s, however slow this machine is.
        let windows = usize::try_from(started.elapsed().as_secs() / 10).unwrap() + 1;
        assert!(host.log().matches(FAILED).count() <= 20 * windows, "{}", host.log());
        // Later, the log says how many there were.
        let mut traps = TRAPS;
        eventually("the number of suppressed lines", async || {
            traps += 1;
            ask(&host.address, request("GET /trap", ""), 500).await;
            host.log().contains("log lines like the next one were suppressed").then_some(())
        })
        .await;
        assert!(host.log().matches(FAILED).count() < traps);
    })
    .await;
}
