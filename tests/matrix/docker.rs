//! Docker, with its own engine.

use crate::bench::{Bench, LAYER, is_root};
use crate::engine::Engine;
use crate::image;
use crate::program::{run, run_text};
use crate::report::Verdict;

pub async fn check(bench: &Bench) -> Verdict {
    if !is_root() {
        return Err("a Docker Engine is started by root".to_owned());
    }
    let engine = Engine::start().await?;
    let archive = bench.path("image.tar");
    image::tar(&archive, "file", LAYER, false).await;
    // For registries on its own machine, the engine uses plain HTTP and accepts
    // any certificate.
    let one = bench.remote("docker/one:1");
    let two = bench.remote("docker/two:1");
    let id = run_text(engine.docker().arg("import").arg(&archive).arg(&one)).await;
    bench.login(engine.docker().arg("login")).await;
    run(engine.docker().args(["push", &one])).await;
    let digest = bench.digest("docker/one", "1").await;

    clear(&engine, &id).await;
    run(engine.docker().args(["pull", &one])).await;
    let inspect = ["image", "inspect", "--format={{.Id}}{{range .RepoDigests}} {{.}}{{end}}"];
    let pulled = run_text(engine.docker().args(inspect).arg(&one)).await;
    assert_eq!(pulled, format!("{id} {}@{digest}", bench.remote("docker/one")));

    run(engine.docker().args(["tag", &one, &two])).await;
    let said = run_text(engine.docker().args(["push", &two])).await;
    assert!(said.contains("Mounted from docker/one"), "{said}");
    assert_eq!(bench.digest("docker/two", "1").await, digest);

    clear(&engine, &id).await;
    let by_digest = format!("{}@{digest}", bench.remote("docker/two"));
    run(engine.docker().args(["pull", &by_digest])).await;
    assert_eq!(run_text(engine.docker().args(["image", "ls", "--quiet", "--no-trunc"])).await, id);
    assert_eq!(bench.tags("docker/two").await, ["1"]);
    Ok(())
}

/// Removes the only image, with all its names.
async fn clear(engine: &Engine, id: &str) {
    run(engine.docker().args(["image", "rm", "--force", id])).await;
    assert_eq!(run_text(engine.docker().args(["image", "ls", "--quiet"])).await, "");
}
