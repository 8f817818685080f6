//! Docker, with its own engine.

use crate::fixture::{Fixture, LAYER, is_root};
use crate::report::Verdict;
use roadstead_tests::docker_engine::Engine;
use roadstead_tests::image;
use roadstead_tests::program::{run, run_text};

pub async fn check(fixture: &Fixture) -> Verdict {
    if !is_root() {
        return Err("a Docker Engine is started by root".to_owned());
    }
    let engine = Engine::start().await?;
    let archive = fixture.path("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    // For registries on its own machine, the engine uses plain HTTP and accepts
    // any certificate.
    let one = fixture.remote("docker/one:1");
    let two = fixture.remote("docker/two:1");
    let id = run_text(engine.docker().arg("import").arg(&archive).arg(&one)).await;
    fixture.login(engine.docker().arg("login")).await;
    run(engine.docker().args(["push", &one])).await;
    let digest = fixture.digest("docker/one", "1").await;

    clear(&engine, &id).await;
    run(engine.docker().args(["pull", &one])).await;
    let inspect = ["image", "inspect", "--format={{.Id}}{{range .RepoDigests}} {{.}}{{end}}"];
    let pulled = run_text(engine.docker().args(inspect).arg(&one)).await;
    assert_eq!(pulled, format!("{id} {}@{digest}", fixture.remote("docker/one")));

    run(engine.docker().args(["tag", &one, &two])).await;
    let said = run_text(engine.docker().args(["push", &two])).await;
    assert!(said.contains("Mounted from docker/one"), "{said}");
    assert_eq!(fixture.digest("docker/two", "1").await, digest);

    clear(&engine, &id).await;
    let by_digest = format!("{}@{digest}", fixture.remote("docker/two"));
    run(engine.docker().args(["pull", &by_digest])).await;
    assert_eq!(run_text(engine.docker().args(["image", "ls", "--quiet", "--no-trunc"])).await, id);
    assert_eq!(fixture.tags("docker/two").await, ["1"]);
    Ok(())
}

/// Removes the only image, with all its names.
async fn clear(engine: &Engine, id: &str) {
    run(engine.docker().args(["image", "rm", "--force", id])).await;
    assert_eq!(run_text(engine.docker().args(["image", "ls", "--quiet"])).await, "");
}
