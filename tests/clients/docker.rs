//! Docker's engine and a registry that it considers to be on another machine:
//! certificates, passwords, and plain HTTP.

use roadstead_tests::docker_engine::Engine;
use roadstead_tests::image;
use roadstead_tests::isolated_network::{ADDRESS, IsolatedNetwork, NAME};
use roadstead_tests::program::{available, run, run_failing};
use roadstead_tests::{PASSWORD, Pair, Registry, USER, binary, entry, skip};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The registry, as users type it.
pub const REGISTRY: &str = "registry.example:5000";

/// The size of an image's layer in bytes.
const LAYER: usize = 100 << 10;

/// Starts an engine, and imports an image into it from a file in `files`;
/// returns the engine and the image's ID. Skips the test and returns `None` where
/// this is not possible: an engine that does not work here is not the registry's
/// failure.
pub async fn engine_with_image(
    test: &str,
    files: &Path,
    dockerd: Result<Command, String>,
) -> Option<(Engine, String)> {
    if !available(test, "dockerd").await || !available(test, "docker").await {
        return None;
    }
    if files.metadata().unwrap().uid() != 0 {
        skip(test, "a Docker Engine is started by root");
        return None;
    }
    let archive = files.join("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    let started = async {
        let engine = Engine::start_by(dockerd?).await?;
        let id = engine.import(&archive).await?;
        Ok::<_, String>((engine, id))
    };
    started.await.map_err(|reason| skip(test, &reason)).ok()
}

/// An engine with an image, and a directory for a registry.
struct Docker {
    engine: Engine,
    /// The name of its image.
    id: String,
    files: TempDir,
    // The last field, because it must be dropped last.
    network: IsolatedNetwork,
}

impl Docker {
    /// Starts an engine with additional arguments; `None` where this is not
    /// possible.
    async fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let network = IsolatedNetwork::new();
        let dockerd = network.as_ref().map_err(String::clone).map(|network| {
            let mut dockerd = network.command("dockerd");
            dockerd.args(arguments);
            dockerd
        });
        let (engine, id) = engine_with_image(test, files.path(), dockerd).await?;
        Some(Self { engine, id, files, network: network.ok()? })
    }

    /// Starts a registry at [`REGISTRY`], with additional settings.
    fn registry(&self, settings: &[(&str, String)]) -> Registry {
        let mut command = self.network.command(binary().unwrap());
        command
            .arg("serve")
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", self.files.path().join("registry"))
            .env("REGISTRY_HTTP_ADDR", format!("{ADDRESS}:5000"))
            .envs(settings.iter().map(|(name, value)| (name, value)));
        Registry::serve(command).unwrap()
    }

    async fn tag(&self, image: &str) {
        run(self.engine.docker().args(["tag", &self.id, image])).await;
    }

    async fn push(&self, image: &str) {
        run(self.engine.docker().args(["push", image])).await;
    }

    /// The engine removes its image and pulls it.
    async fn pull(&self, image: &str) {
        run(self.engine.docker().args(["image", "rm", image])).await;
        run(self.engine.docker().args(["pull", image])).await;
        let mut inspect = self.engine.docker();
        inspect.args(["image", "inspect", "--format={{.Id}}", image]);
        assert_eq!(roadstead_tests::program::run_text(&mut inspect).await, self.id);
    }

    async fn log_in(&self) {
        let mut login = self.engine.docker();
        login.args(["login", "--username", USER, "--password", PASSWORD, REGISTRY]);
        run(&mut login).await;
    }

    /// The output of a `docker` command that fails.
    async fn failing(&self, arguments: &[&str]) -> String {
        run_failing(self.engine.docker().args(arguments)).await
    }
}

/// The settings of a registry with TLS and a user.
fn secure(pair: &Pair) -> Vec<(&'static str, String)> {
    let users = ("REGISTRY_AUTH_HTPASSWD_ENTRIES", entry().unwrap());
    pair.settings().into_iter().chain([users]).collect()
}

/// Asserts one of these messages, which differ between versions of the engine.
fn assert_says(said: &str, any: &[&str]) {
    assert!(any.iter().any(|expected| said.contains(expected)), "none of {any:?}: {said}");
}

#[tokio::test]
async fn passwords_and_a_certificate_of_ones_own() {
    let test = "passwords_and_a_certificate_of_ones_own";
    let Some(docker) = Docker::start(test, &[]).await else { return };
    let pair = Pair::new(&[NAME]).unwrap();
    let registry = docker.registry(&secure(&pair));
    let image = format!("{REGISTRY}/team/app:1");
    docker.tag(&image).await;
    let login = ["login", "--username", USER, "--password"];

    // The steps of the documentation, each omitted once.
    let unknown = ["certificate signed by unknown authority"];
    assert_says(&docker.failing(&[&login[..], &[PASSWORD, REGISTRY]].concat()).await, &unknown);
    assert_says(&docker.failing(&["push", &image]).await, &unknown);
    assert_says(&docker.failing(&["pull", &image]).await, &unknown);

    // No restart is needed.
    docker.network.trust(REGISTRY, &pair);
    assert_says(&docker.failing(&["push", &image]).await, &["no basic auth credentials"]);
    assert_says(&docker.failing(&["pull", &image]).await, &["no basic auth credentials"]);
    let wrong = docker.failing(&[&login[..], &["pass", REGISTRY]].concat()).await;
    assert_says(&wrong, &["401 Unauthorized", "unauthorized"]);
    assert_says(&docker.failing(&["push", &image]).await, &["no basic auth credentials"]);

    docker.log_in().await;
    docker.push(&image).await;
    docker.pull(&image).await;

    // Another client's image can be pulled after a login only.
    run(docker.engine.docker().args(["logout", REGISTRY])).await;
    run(docker.engine.docker().args(["image", "rm", &image])).await;
    assert_says(&docker.failing(&["pull", &image]).await, &["no basic auth credentials"]);
    let log = registry.log();
    assert!(!log.contains(PASSWORD) && !log.contains("$2y$"), "{log}");
}

#[tokio::test]
async fn a_certificate_with_a_common_name_only() {
    let test = "a_certificate_with_a_common_name_only";
    let Some(docker) = Docker::start(test, &[]).await else { return };
    let pair = Pair::with_common_name_only(NAME).unwrap();
    let _registry = docker.registry(&secure(&pair));
    docker.network.trust(REGISTRY, &pair);
    let login = ["login", "--username", USER, "--password", PASSWORD, REGISTRY];
    let said = docker.failing(&login).await;
    assert_says(&said, &["relies on legacy Common Name"]);
}

#[tokio::test]
async fn plain_http_from_elsewhere() {
    let test = "plain_http_from_elsewhere";
    let Some(docker) = Docker::start(test, &[]).await else { return };
    let registry = docker.registry(&[]);
    let image = format!("{REGISTRY}/k8s.nginx");
    docker.tag(&image).await;
    let expected = ["server gave HTTP response to HTTPS client"];
    assert_says(&docker.failing(&["push", &image]).await, &expected);
    assert_says(&docker.failing(&["pull", &image]).await, &expected);
    drop((registry, docker));

    // As documented: a settings file, and a restart of the engine.
    let files = tempfile::tempdir().unwrap();
    let settings = files.path().join("daemon.json");
    let insecure = serde_json::json!({ "insecure-registries": [REGISTRY] });
    std::fs::write(&settings, insecure.to_string()).unwrap();
    let arguments = ["--config-file", path(&settings)];
    let Some(docker) = Docker::start(test, &arguments).await else { return };
    let _registry = docker.registry(&[]);
    docker.tag(&image).await;
    docker.push(&image).await;
    docker.pull(&image).await;
}

/// Anonymous pull and authenticated push, in each configuration.
#[tokio::test]
async fn pulls_by_everyone_and_pushes_by_some() {
    let test = "pulls_by_everyone_and_pushes_by_some";
    let Some(docker) = Docker::start(test, &[]).await else { return };
    let pair = Pair::new(&[NAME]).unwrap();
    docker.network.trust(REGISTRY, &pair);
    let rules = format!("anonymous pull public/**; {USER} pull,push public/**,team/**");
    for scheme in ["htpasswd", "token"] {
        let mut settings = secure(&pair);
        settings.push(("REGISTRY_AUTH", scheme.to_owned()));
        settings.push(("REGISTRY_AUTH_RULES", rules.clone()));
        let _registry = docker.registry(&settings);
        let [public, team, other] =
            ["public/app", "team/app", "other/app"].map(|name| format!("{REGISTRY}/{name}:1"));
        for image in [&public, &team, &other] {
            docker.tag(image).await;
        }
        let denied = ["denied", "unauthorized", "authentication required"];
        assert_says(&docker.failing(&["push", &public]).await, &denied);
        assert_says(&docker.failing(&["push", &team]).await, &denied);
        docker.log_in().await;
        docker.push(&public).await;
        docker.push(&team).await;
        assert_says(&docker.failing(&["push", &other]).await, &denied);
        docker.pull(&team).await;

        run(docker.engine.docker().args(["logout", REGISTRY])).await;
        docker.pull(&public).await;
        assert_says(&docker.failing(&["push", &public]).await, &denied);
        assert_says(&docker.failing(&["pull", &team]).await, &denied);
        assert_says(&docker.failing(&["pull", &other]).await, &denied);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
