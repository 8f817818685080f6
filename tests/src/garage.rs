//! Garage, a distributed object store with the S3 protocol: a real cluster of
//! three nodes on this machine, with three copies of everything.

use crate::process::binary_named;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The number of nodes, and of copies.
const NODES: u8 = 3;

/// How long the cluster may take to become ready.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How often to check whether it is.
const START_PAUSE: Duration = Duration::from_millis(100);

/// The access key of the tests. It is public, as only this machine can reach the
/// cluster.
const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";

/// The nodes' shared secret.
const RPC_SECRET: &str = "1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec";

/// A cluster, killed when dropped.
#[derive(Debug)]
pub struct Garage {
    program: PathBuf,
    nodes: Vec<Node>,
    _directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Node {
    process: Child,
    configuration: PathBuf,
    /// The address of its S3 API.
    s3: SocketAddr,
}

impl Garage {
    /// Starts a cluster; `None` if there is no `garage`, which
    /// `.ci/install-garage` builds.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(program) = binary_named(&["garage"]) else { return Ok(None) };
        let directory = tempfile::tempdir()?;
        let nodes: anyhow::Result<_> =
            (1..=NODES).map(|number| Node::start(&program, directory.path(), number)).collect();
        let cluster = Self { program, nodes: nodes?, _directory: directory };
        cluster.join()?;
        cluster.run(&["key", "import", "--yes", "-n", "test", ACCESS_KEY, SECRET_KEY])?;
        Ok(Some(cluster))
    }

    /// Creates a bucket.
    pub fn bucket(&self, name: &str) -> anyhow::Result<()> {
        self.run(&["bucket", "create", name])?;
        self.run(&["bucket", "allow", "--read", "--write", "--owner", name, "--key", "test"])?;
        Ok(())
    }

    /// The settings of a registry with its data in a bucket, through one of the
    /// nodes, numbered from 0.
    pub fn settings(&self, bucket: &str, node: usize) -> Vec<(String, String)> {
        let setting =
            |name: &str, value: &str| (format!("REGISTRY_STORAGE_S3_{name}"), value.to_owned());
        vec![
            setting("BUCKET", bucket),
            setting("REGION", "garage"),
            setting("REGIONENDPOINT", &format!("http://{}", self.nodes[node].s3)),
            setting("ACCESSKEY", ACCESS_KEY),
            setting("SECRETKEY", SECRET_KEY),
        ]
    }

    /// Kills one of the nodes, like `kill -9`; the others continue.
    pub fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].process.kill()?;
        self.nodes[node].process.wait()?;
        Ok(())
    }

    /// Starts the killed nodes again, with their data and addresses.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if node.process.try_wait()?.is_some() {
                node.process = Node::run(&self.program, &node.configuration)?;
            }
        }
        // The nodes also reconnect by themselves, but later.
        self.connect()?;
        self.wait_healthy()
    }

    /// Connects the nodes, each in its own zone.
    fn join(&self) -> anyhow::Result<()> {
        let ids = self.connect()?;
        for (zone, id) in ids.iter().enumerate() {
            let id = id.split('@').next().unwrap_or_default();
            let zone = format!("zone{zone}");
            self.until(|| self.run(&["layout", "assign", "-z", &zone, "-c", "1G", id]))?;
        }
        self.run(&["layout", "apply", "--version", "1"])?;
        self.wait_healthy()
    }

    /// Connects the first node with the others; returns the nodes' IDs.
    fn connect(&self) -> anyhow::Result<Vec<String>> {
        let ids: anyhow::Result<Vec<_>> = (0..self.nodes.len()).map(|at| self.id(at)).collect();
        let ids = ids?;
        for id in &ids[1..] {
            self.until(|| self.run(&["node", "connect", id]))?;
        }
        Ok(ids)
    }

    /// Waits until each node sees all others.
    fn wait_healthy(&self) -> anyhow::Result<()> {
        for at in 0..self.nodes.len() {
            self.until(|| {
                let health = self.run_at(at, &["json-api", "GetClusterHealth"])?;
                anyhow::ensure!(health.contains("\"healthy\""), "{health}");
                Ok(health)
            })?;
        }
        Ok(())
    }

    fn id(&self, node: usize) -> anyhow::Result<String> {
        Ok(self.until(|| self.run_at(node, &["node", "id", "-q"]))?.trim().to_owned())
    }

    /// Retries until it succeeds.
    fn until(&self, mut attempt: impl FnMut() -> anyhow::Result<String>) -> anyhow::Result<String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match attempt() {
                Ok(output) => return Ok(output),
                Err(error) if Instant::now() > deadline => {
                    let log = self.nodes[0].configuration.with_extension("log");
                    let log = fs::read_to_string(log).unwrap_or_default();
                    return Err(error.context(format!("not within {START_LIMIT:?}\n{log}")));
                }
                Err(_) => std::thread::sleep(START_PAUSE),
            }
        }
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_at(0, arguments)
    }

    /// Runs a command of Garage on one of the nodes.
    fn run_at(&self, node: usize, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.nodes[node].configuration).args(arguments);
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Node {
    fn start(program: &Path, directory: &Path, number: u8) -> anyhow::Result<Self> {
        // Each node has its own address.
        let address = IpAddr::from([127, 0, 0, number]);
        let (rpc, s3, admin) = (free(address)?, free(address)?, free(address)?);
        let root = directory.join(number.to_string());
        fs::create_dir(&root)?;
        let configuration = root.join("garage.toml");
        fs::write(
            &configuration,
            format!(
                "metadata_dir = \"{meta}\"\n\
                 data_dir = \"{data}\"\n\
                 db_engine = \"lmdb\"\n\
                 replication_factor = {NODES}\n\
                 rpc_bind_addr = \"{rpc}\"\n\
                 rpc_public_addr = \"{rpc}\"\n\
                 rpc_secret = \"{RPC_SECRET}\"\n\
                 [s3_api]\n\
                 s3_region = \"garage\"\n\
                 api_bind_addr = \"{s3}\"\n\
                 [admin]\n\
                 api_bind_addr = \"{admin}\"\n",
                meta = root.join("meta").display(),
                data = root.join("data").display(),
            ),
        )?;
        Ok(Self { process: Self::run(program, &configuration)?, configuration, s3 })
    }

    fn run(program: &Path, configuration: &Path) -> anyhow::Result<Child> {
        let log = configuration.with_extension("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        // See .ci/garage-nodelay.c.
        let library = program.with_file_name("garage-nodelay.so");
        if library.is_file() {
            command.env("LD_PRELOAD", library);
        }
        let process = command
            .arg("-c")
            .arg(configuration)
            .arg("server")
            .env("RUST_LOG", "garage=warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(process)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A free address: nothing was listening on it a moment ago.
pub(crate) fn free(address: IpAddr) -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?)
}
