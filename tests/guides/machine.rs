//! A machine for a reader of guides: a Docker Engine in a network of its own, and a
//! mirror of Docker Hub that has this project's image by the names that guides use.

use roadstead_tests::docker_engine::Engine;
use roadstead_tests::isolated_network::IsolatedNetwork;
use roadstead_tests::program::{self, available};
use roadstead_tests::{Registry, binary, image, skip, target_directory};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::Command;

/// Where the mirror listens, in the machine's network.
const MIRROR: &str = "127.0.0.1:5555";

/// The names of distribution's image that guides and charts use.
const IMAGES: [&str; 3] = ["registry:2", "registry:2.7.0", "registry:3"];

/// The size of the layer of the image that readers push, in bytes.
const LAYER: usize = 300 << 10;

/// How long a container that a command has started may take to answer requests, and how
/// often it is asked.
const START_LIMIT: Duration = Duration::from_mins(1);
const START_CHECK: Duration = Duration::from_millis(100);

/// Has commands print what does not depend on the machine, and not in colours.
const VARIABLES: [(&str, &str); 3] = [("LC_ALL", "C.UTF-8"), ("TERM", "dumb"), ("NO_COLOR", "1")];

/// Where clients are installed that Debian lacks.
pub fn tools() -> PathBuf {
    target_directory().unwrap().join("tools/bin")
}

/// The output of a command, both streams as they came, and whether it succeeded.
pub struct Printed {
    pub text: String,
    pub succeeded: bool,
}

/// The machine. Dropping it ends all that runs on it.
pub struct Machine {
    engine: Engine,
    _mirror: Registry,
    files: TempDir,
    // The last field, because it must be dropped last.
    network: IsolatedNetwork,
}

impl Machine {
    /// Whether the programs are there, and the user is root.
    pub async fn is_possible(test: &str) -> bool {
        for program in ["dockerd", "docker", "curl", "openssl"] {
            if !available(test, program).await {
                return false;
            }
        }
        let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if !root {
            skip(test, "a Docker Engine is started by root");
        }
        root
    }

    /// Starts one whose Docker Hub has this image; `None` where this is not possible.
    pub async fn start(test: &str, archive: &Path) -> Option<Self> {
        Self::boot(archive).await.map_err(|reason| skip(test, &reason)).ok()
    }

    async fn boot(archive: &Path) -> Result<Self, String> {
        let network = IsolatedNetwork::new()?;
        let files = tempfile::tempdir().unwrap();
        let settings = json!({ "registry-mirrors": [format!("http://{MIRROR}")] });
        fs::write(network.docker_directory().join("daemon.json"), settings.to_string()).unwrap();
        let programs = files.path().join("bin");
        fs::create_dir_all(files.path().join("home")).unwrap();
        fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink(binary().unwrap(), programs.join("roadstead")).unwrap();
        let mut mirror = network.command(binary().unwrap());
        mirror
            .arg("serve")
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", files.path().join("mirror"))
            .env("REGISTRY_HTTP_ADDR", MIRROR);
        let mirror = Registry::serve(mirror).unwrap();
        let engine = Engine::start_with_network(network.command("dockerd")).await?;
        let machine = Self { engine, _mirror: mirror, files, network };
        machine.fill_mirror(archive).await?;
        Ok(machine)
    }

    /// Pushes this project's image and another one to the mirror, and removes them
    /// from the engine.
    async fn fill_mirror(&self, archive: &Path) -> Result<(), String> {
        let nginx = self.files.path().join("nginx.tar");
        image::tar(&nginx, "nginx", LAYER, false).await;
        let id = self.engine.import(&nginx).await?;
        self.mirror(&id, "nginx:latest").await;
        let mut load = self.engine.docker();
        load.arg("load").arg("--quiet").arg("--input").arg(archive);
        let loaded = program::run_text(&mut load).await;
        let name = loaded.strip_prefix("Loaded image: ").unwrap();
        for image in IMAGES {
            self.mirror(name, image).await;
        }
        let mut remove = self.engine.docker();
        program::run(remove.args(["image", "rm", "--force", &id, name])).await;
        Ok(())
    }

    async fn mirror(&self, image: &str, name: &str) {
        let mirrored = format!("{MIRROR}/library/{name}");
        for arguments in [
            &["tag", image, &mirrored][..],
            &["push", "--quiet", &mirrored],
            &["image", "rm", &mirrored],
        ] {
            program::run(self.engine.docker().args(arguments)).await;
        }
    }

    /// Types a command into a shell of this machine, and waits until the registries that it
    /// has started answer, or have had their time: the next command is not typed at once.
    pub async fn shell(&self, typed: &str) -> Printed {
        let home = self.files.path().join("home");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell: Command = self.network.command("bash").into();
        shell
            // One stream, so that lines are in the order in which a reader sees them. A
            // process begins at the root of a mount namespace that it enters.
            .args(["-c", &format!("exec 2>&1; cd || exit\n{typed}")])
            .env("HOME", &home)
            .env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_PID", self.engine.pid_file())
            .env("CONTAINERD_ADDRESS", self.engine.containerd())
            .env("PATH", format!("{}:{}:{path}", self.bin().display(), tools().display()))
            .envs(VARIABLES)
            .stderr(Stdio::null());
        let output = program::output(&mut shell).await.unwrap();
        let begun = Instant::now();
        while !self.answers().await && begun.elapsed() < START_LIMIT {
            tokio::time::sleep(START_CHECK).await;
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Printed { text, succeeded: output.status.success() }
    }

    /// Where this project's program is.
    fn bin(&self) -> PathBuf {
        self.files.path().join("bin")
    }

    /// Whether each container answers whose health the engine does not know yet, by the
    /// health check of the image. One that starts again and again is no longer waited for.
    async fn answers(&self) -> bool {
        let mut starting = self.engine.docker();
        starting.args(["ps", "--quiet", "--filter=status=running", "--filter=health=starting"]);
        for container in program::run_text(&mut starting).await.lines() {
            let mut health = self.engine.docker();
            health.args(["exec", container, "/bin/registry", "health"]);
            if program::try_run(&mut health).await.is_err() {
                return false;
            }
        }
        true
    }
}
