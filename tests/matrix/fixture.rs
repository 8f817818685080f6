//! The environment of each client: a registry, a directory, and a home in it.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use roadstead_tests::image::{Layout, Platform};
use roadstead_tests::program;
use roadstead_tests::{
    Answer, PASSWORD, Pair, Registry, USER, basic, digest, entry, send, target_directory,
};
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// The size of each layer in bytes: enough to be streamed in several pieces.
pub const LAYER: usize = 100 << 10;

/// How long the registry may take for one request.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How a registry is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Over plain HTTP, without a login.
    Plain,
    /// Over TLS, with a password for each request.
    Password,
    /// Over TLS, with tokens, which are issued for a password.
    Token,
    /// Over plain HTTP, without a login, with its data in an S3 object store.
    Bucket,
    /// The same in Azure Blob Storage.
    Azure,
    /// The same in Google Cloud Storage.
    Gcs,
}

impl Mode {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Password => "TLS, password",
            Self::Token => "TLS, token",
            Self::Bucket => "bucket",
            Self::Azure => "Azure",
            Self::Gcs => "GCS",
        }
    }

    /// Whether its data is in an object store.
    pub fn is_bucket(self) -> bool {
        matches!(self, Self::Bucket | Self::Azure | Self::Gcs)
    }
}

/// A registry and a directory for one client.
#[derive(Debug)]
pub struct Fixture {
    pub mode: Mode,
    registry: Registry,
    directory: TempDir,
    /// Its certificate and user, if it uses TLS and requires a password.
    secure: Option<Pair>,
}

impl Fixture {
    /// Starts a registry that allows deletes.
    pub fn start(mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("registry");
        let mut settings = vec![("REGISTRY_STORAGE_DELETE_ENABLED", "true".to_owned())];
        let secure = (mode == Mode::Password || mode == Mode::Token)
            .then(|| Pair::new(&["127.0.0.1"]).unwrap());
        if let Some(pair) = &secure {
            let scheme = if mode == Mode::Token { "token" } else { "htpasswd" };
            settings.push(("REGISTRY_AUTH", scheme.to_owned()));
            settings.push(("REGISTRY_AUTH_HTPASSWD_ENTRIES", entry().unwrap()));
            settings.extend(pair.settings());
        }
        let settings: Vec<_> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let registry = Registry::start(&data, &settings, &[]).unwrap();
        Self::with(mode, registry, directory, secure)
    }

    /// The same with its data in a bucket.
    pub fn start_over(mode: Mode, store: &[(String, String)]) -> Self {
        let settings = [("REGISTRY_STORAGE_DELETE_ENABLED", "true")];
        let registry = Registry::start_over(store, &settings).unwrap();
        Self::with(mode, registry, tempfile::tempdir().unwrap(), None)
    }

    fn with(mode: Mode, registry: Registry, directory: TempDir, secure: Option<Pair>) -> Self {
        if let Some(pair) = &secure {
            // Where podman and similar clients look for a registry's CA.
            let trusted = directory.path().join("home/.config/containers/certs.d");
            let trusted = trusted.join(&registry.address);
            fs::create_dir_all(&trusted).unwrap();
            fs::copy(pair.authority(), trusted.join("ca.crt")).unwrap();
        }
        // The user's policy, for programs that read one before the machine's,
        // which may not exist. None of these images is signed.
        let policy = directory.path().join("home/.config/containers/policy.json");
        fs::create_dir_all(policy.parent().unwrap()).unwrap();
        let anything = json!({ "default": [{ "type": "insecureAcceptAnything" }] });
        fs::write(policy, anything.to_string()).unwrap();
        fs::create_dir(directory.path().join("runtime")).unwrap();
        Self { mode, registry, directory, secure }
    }

    /// The registry's `host:port`.
    pub fn address(&self) -> &str {
        &self.registry.address
    }

    /// Whether the registry redirected a client to the object store for a blob,
    /// according to its log.
    pub fn sent_away(&self) -> bool {
        let sent = |line: &str| line.contains("method=GET") && line.contains("status=307");
        self.registry.log().lines().any(sent)
    }

    /// The name of a repository, or of a tag in one, in most clients.
    pub fn remote(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// An option that a client needs for plain HTTP only.
    pub fn plain(&self, option: &'static str) -> Option<&'static str> {
        self.secure.is_none().then_some(option)
    }

    /// The file of the registry's CA, if it uses TLS.
    pub fn authority(&self) -> Option<PathBuf> {
        self.secure.as_ref().map(Pair::authority)
    }

    /// An option with this file.
    pub fn trust(&self, option: &str) -> Option<String> {
        self.authority().map(|file| format!("{option}={}", file.display()))
    }

    /// Makes a client without such an option trust the registry, by a variable
    /// that its language's TLS library reads.
    pub fn trust_by(&self, variable: &str, client: &mut Command) {
        if let Some(file) = self.authority() {
            client.env(variable, file);
        }
    }

    /// Logs a client in with its command for it, where a login is required.
    pub async fn login(&self, login: &mut Command) {
        if self.secure.is_some() {
            login.args(["--username", USER, "--password", PASSWORD, self.address()]);
            program::run(login).await;
        }
    }

    /// A new path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command that does not see the user's files and settings.
    pub fn command(&self, program: &str) -> Command {
        self.isolate(Command::new(find(program).unwrap()))
    }

    /// Isolates a command from the user's files and settings.
    pub fn isolate(&self, mut command: Command) -> Command {
        for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "REGCTL_CONFIG", "CONTAINERS_CONF"] {
            command.env_remove(name);
        }
        command
            .current_dir(self.directory.path())
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("home/.config"))
            .env("XDG_CACHE_HOME", self.path("home/.cache"))
            .env("XDG_DATA_HOME", self.path("home/.local/share"))
            .env("XDG_RUNTIME_DIR", self.path("runtime"))
            // Some clients would use a proxy for a loopback address.
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        command
    }

    /// A layout with an index of two platforms.
    pub async fn layout(&self) -> Layout {
        let platforms = ["amd64", "arm64"].map(|architecture| Platform {
            architecture,
            layer: LAYER,
            gzip: true,
        });
        Layout::create(&self.path("layout"), &platforms).await
    }

    /// The registry's response to a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Bytes::new()).unwrap()).await
    }

    /// The registry's response to a request with the password, which is accepted
    /// with tokens as well.
    pub async fn send(&self, mut request: Request<Bytes>) -> Answer {
        let answer = async {
            let Some(pair) = &self.secure else { return send(self.address(), request).await };
            request.headers_mut().insert(AUTHORIZATION, basic(USER, PASSWORD).parse()?);
            pair.send(self.address(), request).await
        };
        timeout(ANSWER_LIMIT, answer).await.unwrap().unwrap()
    }

    /// The digest of a manifest that must exist, computed from its bytes.
    pub async fn digest(&self, name: &str, reference: &str) -> String {
        let answer = self.get(&format!("/v2/{name}/manifests/{reference}")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name} {reference}: {:?}", answer.body());
        let found = digest(answer.body());
        assert_eq!(answer.headers()["docker-content-digest"], found);
        found
    }

    /// Asserts that a manifest does not exist.
    pub async fn check_gone(&self, name: &str, reference: &str) {
        let answer = self.get(&format!("/v2/{name}/manifests/{reference}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name} {reference} is still there");
    }

    /// A repository's tags.
    pub async fn tags(&self, name: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/{name}/tags/list")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}: {:?}", answer.body());
        let list: Value = serde_json::from_slice(answer.body()).unwrap();
        let tags = list["tags"].as_array().unwrap();
        tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }

    /// The digests of a manifest's referrers.
    pub async fn referrers(&self, name: &str, subject: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/{name}/referrers/{subject}")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}: {:?}", answer.body());
        let index: Value = serde_json::from_slice(answer.body()).unwrap();
        digests(&index["manifests"])
    }
}

/// The `digest` of each element.
pub fn digests(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

/// A program of `.ci/install-clients`, or one on the `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let tools = target_directory().unwrap().join("tools");
    let mut directories = vec![tools.join("bin"), tools.join("venv/bin")];
    directories.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    directories.iter().map(|directory| directory.join(program)).find(|path| is_program(path))
}

/// The Python with the packages of `.ci/install-clients`.
pub fn python() -> Option<PathBuf> {
    let python = target_directory().unwrap().join("tools/venv/bin/python");
    is_program(&python).then_some(python)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether programs run as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    tempfile::tempdir().unwrap().path().metadata().unwrap().uid() == 0
}
