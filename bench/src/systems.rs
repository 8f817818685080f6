//! The measured systems: Roadstead and its peers, and how each is started.

use crate::process::{Server, free_port};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemKind {
    /// This project's.
    Roadstead,
    /// distribution 2.8, as Debian packages it.
    DockerRegistry,
    /// distribution 3.
    Registry,
    /// zot.
    Zot,
    /// angos.
    Angos,
    /// A file server: the limit, not a peer.
    Nginx,
}

/// An installed server.
#[derive(Clone, Debug)]
pub(crate) struct System {
    /// What it is.
    pub(crate) kind: SystemKind,
    /// Its version, as it prints it.
    pub(crate) version: String,
    binary: PathBuf,
}

/// Where a system runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// For its data, configuration and log.
    pub(crate) directory: PathBuf,
}

/// A certificate and its key, as files, and what trusts it.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    client: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes a self-signed one in a directory; `wrk` does not verify it.
    pub(crate) fn make(directory: &Path) -> anyhow::Result<Self> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let (chain, key) = (directory.join("server.crt"), directory.join("server.key"));
        std::fs::write(&chain, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { chain, key, client: Arc::new(client) })
    }
}

impl Place {
    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }
}

impl SystemKind {
    /// Every kind, in the order of tables.
    pub(crate) const ALL: [Self; 6] = [
        Self::Roadstead,
        Self::DockerRegistry,
        Self::Registry,
        Self::Zot,
        Self::Angos,
        Self::Nginx,
    ];

    /// The name of its program, also in flags.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Roadstead => "roadstead",
            Self::DockerRegistry => "docker-registry",
            Self::Registry => "registry",
            Self::Zot => "zot",
            Self::Angos => "angos",
            Self::Nginx => "nginx",
        }
    }

    /// Whether it is another registry that is configured to be durable.
    pub(crate) fn durable_peer(self) -> bool {
        !matches!(self, Self::Roadstead | Self::Nginx)
    }

    /// Whether its data has distribution's layout.
    pub(crate) fn has_distributions_layout(self) -> bool {
        matches!(self, Self::Roadstead | Self::DockerRegistry | Self::Registry)
    }

    fn version_arguments(self) -> &'static [&'static str] {
        if self == Self::Nginx { &["-v"] } else { &["--version"] }
    }
}

impl System {
    /// Finds a system: at `binary`, in one of `directories`, or on the path.
    pub(crate) fn find(
        kind: SystemKind,
        binary: Option<&Path>,
        directories: &[PathBuf],
    ) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path: Vec<_> = std::env::split_paths(&path).collect();
        let mut places = directories.iter().chain(&path).map(|place| place.join(kind.name()));
        let binary = match binary {
            Some(binary) => binary.to_owned(),
            None => places.find(|file| file.is_file())?,
        };
        let version = version(&binary, kind.version_arguments());
        Some(Self { kind, version, binary })
    }

    /// Starts it with the data that the place has.
    pub(crate) fn start(
        &self,
        place: &Place,
        certificate: Option<&Certificate>,
    ) -> anyhow::Result<Server> {
        let root = place.data();
        std::fs::create_dir_all(&root)?;
        let port = free_port()?;
        let command = self.command(place, &root, port, certificate)?;
        let log = place.directory.join("log");
        let tls = certificate.map(|certificate| Arc::clone(&certificate.client));
        Server::start(command, port, &root, &log, tls).with_context(|| self.kind.name())
    }

    fn command(
        &self,
        place: &Place,
        root: &Path,
        port: u16,
        tls: Option<&Certificate>,
    ) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.binary);
        let (file, text) = match self.kind {
            SystemKind::Roadstead => {
                command.args(["serve", "config.yml"]);
                // Otherwise it collects garbage after some minutes, while others are measured.
                command.env("ROADSTEAD_TEST_GC", r#"{"first":86400000,"overrides":{}}"#);
                ("config.yml", distribution(root, port, tls, "  delete: {enabled: true}\n"))
            }
            SystemKind::DockerRegistry | SystemKind::Registry => {
                command.args(["serve", "config.yml"]);
                // Version 3 would send traces to a collector.
                command.env("OTEL_TRACES_EXPORTER", "none");
                // As in the configuration that its image has.
                let cache = "  cache: {blobdescriptor: inmemory}\n";
                ("config.yml", distribution(root, port, tls, cache))
            }
            SystemKind::Zot => {
                command.args(["serve", "config.json"]);
                ("config.json", zot(root, port, tls))
            }
            SystemKind::Angos => {
                command.args(["-c", "config.toml", "server"]);
                ("config.toml", angos(root, port, tls))
            }
            SystemKind::Nginx => {
                std::fs::create_dir_all(root.join("v2"))?;
                std::fs::write(root.join("v2/index.html"), "{}")?;
                let file = place.directory.join("nginx.conf");
                command.arg("-p").arg(&place.directory).arg("-e").arg("stderr").arg("-c").arg(file);
                ("nginx.conf", nginx(root, port, tls))
            }
        };
        std::fs::write(place.directory.join(file), text)?;
        command.current_dir(&place.directory);
        Ok(command)
    }
}

fn version(binary: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(binary).args(arguments).output() else {
        return "unknown".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // distribution prints its own path first.
    let line = text.lines().next().unwrap_or("unknown");
    let words: Vec<_> = line.split_whitespace().filter(|word| !word.starts_with('/')).collect();
    words.join(" ")
}

fn distribution(root: &Path, port: u16, tls: Option<&Certificate>, storage: &str) -> String {
    let tls = tls.map_or_else(String::new, |Certificate { chain, key, .. }| {
        format!("  tls: {{certificate: {}, key: {}}}\n", chain.display(), key.display())
    });
    format!(
        "version: 0.1
log:
  level: error
  accesslog: {{disabled: true}}
storage:
  filesystem: {{rootdirectory: {}}}
{storage}http:
  addr: 127.0.0.1:{port}
{tls}",
        root.display()
    )
}

/// As in its documentation; `commit` makes it sync its writes.
fn zot(root: &Path, port: u16, tls: Option<&Certificate>) -> String {
    let tls = tls.map_or_else(String::new, |Certificate { chain, key, .. }| {
        format!(r#","tls":{{"cert":"{}","key":"{}"}}"#, chain.display(), key.display())
    });
    format!(
        r#"{{"distSpecVersion":"1.1.1","storage":{{"rootDirectory":"{}","commit":true}},
"http":{{"address":"127.0.0.1","port":"{port}"{tls}}},"log":{{"level":"error"}}}}"#,
        root.display()
    )
}

/// As in its documentation, with synced writes.
fn angos(root: &Path, port: u16, tls: Option<&Certificate>) -> String {
    let tls = tls.map_or_else(String::new, |Certificate { chain, key, .. }| {
        format!(
            "[server.tls]\nserver_certificate_bundle = \"{}\"\nserver_private_key = \"{}\"\n",
            chain.display(),
            key.display()
        )
    });
    format!(
        "[server]
bind_address = \"127.0.0.1\"
port = {port}
{tls}
[blob_store.fs]
root_dir = \"{root}\"
sync_to_disk = true
[metadata_store.fs]
root_dir = \"{root}\"
sync_to_disk = true
[global.access_policy]
default_allow = true
[repository.\"bench\"]
",
        root = root.display()
    )
}

/// `user` has an effect if it runs as root: its workers must read the files.
fn nginx(root: &Path, port: u16, tls: Option<&Certificate>) -> String {
    let (ssl, tls) = match tls {
        None => ("", String::new()),
        Some(Certificate { chain, key, .. }) => (
            " ssl",
            format!("ssl_certificate {}; ssl_certificate_key {};", chain.display(), key.display()),
        ),
    };
    format!(
        "daemon off;
user root;
worker_processes auto;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  client_body_temp_path body;
  proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port}{ssl};
    {tls}
    root {root};
    client_max_body_size 0;
    dav_methods PUT;
    create_full_put_path on;
  }}
}}
",
        root = root.display()
    )
}
