//! ctr, with its own containerd.

use crate::fixture::{Fixture, is_root};
use crate::report::Verdict;
use roadstead_tests::image::TAG;
use roadstead_tests::program::{output, run, run_text, try_run};
use roadstead_tests::{PASSWORD, USER};
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// How long containerd may take to answer.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How many times a push is tried for which containerd fails.
const PUSH_TRIES: usize = 3;

/// How ctr fails where its gRPC client resets a stream from its containerd: the
/// client counts a new stream against the window from before it announced a
/// larger one (grpc-go 5494; Debian 12 has a containerd from before). The
/// registry sees no more of it than uploads that end early.
const CONTAINERD_FAILED: &str = "rpc error: code = Internal desc = unexpected EOF";

/// How often to check whether it runs.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub async fn check(fixture: &Fixture) -> Verdict {
    if !is_root() {
        return Err("containerd is started by root".to_owned());
    }
    let _containerd = Containerd::start(fixture).await?;
    let layout = fixture.layout().await;
    let archive = fixture.path("layout.tar");
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(fixture.path("layout"));
    run(tar.arg(".")).await;

    // The tag is in the archive, the rest of the name is the base name.
    let one = fixture.remote(&format!("ctr/one:{TAG}"));
    let two = fixture.remote(&format!("ctr/two:{TAG}"));
    let base = fixture.remote("ctr/one");
    let mut import = ctr(fixture, &["images", "import", "--no-unpack", "--all-platforms"]);
    run(import.args(["--base-name", &base]).arg(&archive)).await;
    assert_eq!(digest(fixture, &one).await, layout.digest);
    push(fixture, &one).await;
    assert_eq!(fixture.digest("ctr/one", TAG).await, layout.digest);

    clear(fixture, &one).await;
    let pull = ["images", "pull", "--all-platforms", "--snapshotter=native"];
    run(to_registry(fixture, &mut ctr(fixture, &pull)).arg(&one)).await;
    assert_eq!(digest(fixture, &one).await, layout.digest);
    let content = run_text(&mut ctr(fixture, &["content", "ls", "--quiet"])).await;
    assert_eq!(
        content.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>(),
        layout.digests()
    );

    // containerd remembers where the content came from, and requests a mount.
    run(ctr(fixture, &["images", "tag"]).args([&one, &two])).await;
    push(fixture, &two).await;
    assert_eq!(fixture.digest("ctr/two", TAG).await, layout.digest);
    assert_eq!(fixture.tags("ctr/two").await, [TAG]);
    clear(fixture, &one).await;
    clear(fixture, &two).await;
    run(to_registry(fixture, &mut ctr(fixture, &pull)).arg(&two)).await;
    assert_eq!(digest(fixture, &two).await, layout.digest);
    Ok(())
}

/// Pushes an image; again if its containerd, not the registry, was why it failed.
async fn push(fixture: &Fixture, image: &str) {
    for tries in 1.. {
        let mut push = ctr(fixture, &["images", "push"]);
        match try_run(to_registry(fixture, &mut push).arg(image)).await {
            Ok(_) => return,
            Err(failure) if failure.contains(CONTAINERD_FAILED) && tries < PUSH_TRIES => {}
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// The digest of an image in containerd.
async fn digest(fixture: &Fixture, image: &str) -> String {
    let filter = format!("name=={image}");
    let list = run_text(ctr(fixture, &["images", "ls"]).arg(filter)).await;
    let line = list.lines().nth(1).unwrap_or_else(|| panic!("no {image} in {list}"));
    line.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap().to_owned()
}

/// Removes an image and content that only it references.
async fn clear(fixture: &Fixture, image: &str) {
    run(ctr(fixture, &["images", "rm", "--sync"]).arg(image)).await;
    let images = run_text(&mut ctr(fixture, &["images", "ls", "--quiet"])).await;
    assert!(!images.lines().any(|line| line == image), "{images}");
}

fn ctr(fixture: &Fixture, arguments: &[&str]) -> Command {
    let mut ctr = fixture.command("ctr");
    ctr.arg("--address")
        .arg(fixture.path("socket"))
        .args(["--namespace", "matrix"])
        .args(arguments);
    ctr
}

/// Adds the options to reach the registry.
fn to_registry<'a>(fixture: &Fixture, command: &'a mut Command) -> &'a mut Command {
    command.args(fixture.plain("--plain-http"));
    if let Some(file) = fixture.authority() {
        // With hosts.toml, as on the nodes of a cluster: with options alone,
        // containerd uses plain HTTP for an address of this machine.
        let directory = fixture.path("hosts").join(fixture.address());
        let server = format!("https://{}", fixture.address());
        fs::create_dir_all(&directory).unwrap();
        let hosts = format!(
            "server = {server:?}\n[host.{server:?}]\nca = {:?}\n",
            file.display().to_string()
        );
        fs::write(directory.join("hosts.toml"), hosts).unwrap();
        command.arg("--hosts-dir").arg(fixture.path("hosts"));
        command.arg(format!("--user={USER}:{PASSWORD}"));
    }
    command
}

/// A running containerd, stopped when dropped.
#[derive(Debug)]
struct Containerd(Child);

impl Containerd {
    /// Starts one; the error is why it is not possible here.
    async fn start(fixture: &Fixture) -> Result<Self, String> {
        let directory = fixture.path("containerd");
        fs::create_dir(&directory).unwrap();
        let at = |name: &str| directory.join(name).display().to_string();
        let socket = fixture.path("socket").display().to_string();
        let settings = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            socket,
            at("ttrpc")
        );
        fs::write(at("config.toml"), settings).unwrap();
        let log = File::create(at("log")).unwrap();
        let mut command = fixture.command("containerd").into_std();
        command.arg("--config").arg(at("config.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().map_err(|error| format!("containerd: {error}"))?;
        let mut containerd = Self(process);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let answer = output(&mut ctr(fixture, &["version"])).await;
            if answer.is_ok_and(|answer| answer.status.success()) {
                return Ok(containerd);
            }
            let ended = containerd.ended();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(at("log")).unwrap_or_default();
                return Err(format!("containerd does not start (ended: {ended})\n{log}"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if !self.ended() {
            let pid = self.0.id().to_string();
            let _ = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while !self.ended() && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
        }
        if !self.ended() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
