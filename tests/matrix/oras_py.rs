//! The Python oras: a file as an artifact, in one piece and in chunks.

use crate::fixture::{Fixture, LAYER, python};
use crate::report::Verdict;
use roadstead_tests::image::{self, file_digest};
use roadstead_tests::program::{run, try_run};
use roadstead_tests::{PASSWORD, USER};
use serde_json::{Value, json};
use std::fs;
use tokio::process::Command;

/// Prints the results on its last line.
const SCRIPT: &str = r#"
import json, sys
import oras.client

host, repository, file, out, *credentials = sys.argv[1:]
# Its other way asks for one token, and keeps it for what that does not allow.
client = oras.client.OrasClient(
    hostname=host, insecure=not credentials, auth_backend="basic" if credentials else "token"
)
if credentials:
    user, password = credentials
    client.login(hostname=host, username=user, password=password)
target = f"{host}/{repository}:whole"
push = {"files": [file], "disable_path_validation": True}
digest = client.push(target=target, **push).headers["Docker-Content-Digest"]
# Another manifest, as this client deletes a tag by the digest that it has.
push["manifest_annotations"] = {"pushed": "in chunks"}
client.push(target=f"{host}/{repository}:chunks", do_chunked=True, chunk_size=40000, **push)
tags = client.get_tags(f"{host}/{repository}")
pulled = client.pull(target=target, outdir=out)
layers = [
    client.get_manifest(f"{host}/{repository}:{tag}")["layers"][0]["digest"]
    for tag in ("whole", "chunks")
]
deleted = client.delete_tags(f"{host}/{repository}", ["chunks"])
seen = {"digest": digest, "tags": tags, "pulled": pulled, "layers": layers, "deleted": deleted}
print()
print(json.dumps(seen))
"#;

pub async fn check(fixture: &Fixture) -> Verdict {
    let python = python().ok_or("no target/tools/venv: see .ci/install-clients")?;
    let python = || fixture.isolate(Command::new(&python));
    try_run(python().args(["-c", "import oras.client"])).await.map_err(|_| "no oras in Python")?;
    let archive = fixture.path("file.tar");
    image::tar(&archive, "file", LAYER, false).await;
    fs::write(fixture.path("script.py"), SCRIPT).unwrap();
    let mut script = python();
    script.args(["script.py", fixture.address(), "oras/py", "file.tar", "out"]);
    if fixture.authority().is_some() {
        script.args([USER, PASSWORD]);
    }
    fixture.trust_by("REQUESTS_CA_BUNDLE", &mut script);
    let said = run(&mut script).await;
    let line = said.trim_ascii_end().rsplit(|&byte| byte == b'\n').next().unwrap();
    let seen: Value = serde_json::from_slice(line).unwrap();

    let blob = file_digest(&archive);
    assert_eq!(seen["digest"], fixture.digest("oras/py", "whole").await);
    assert_eq!(seen["tags"], json!(["chunks", "whole"]));
    assert_eq!(seen["layers"], json!([blob, blob]));
    assert_eq!(file_digest(&fixture.path("out/file.tar")), blob);
    assert_eq!(seen["deleted"], json!(["chunks"]));
    fixture.check_gone("oras/py", "chunks").await;
    assert_eq!(fixture.tags("oras/py").await, ["whole"]);
    Ok(())
}
