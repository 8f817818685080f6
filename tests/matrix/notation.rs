//! notation: a signature with a generated key, found again and verified.

use crate::bench::Bench;
use crate::image::TAG;
use crate::program::{run, run_text, try_run};
use crate::report::Verdict;
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::{PASSWORD, USER};
use serde_json::json;
use std::fs;
use tokio::process::Command;

/// The name of the certificate and of its trust store.
const SIGNER: &str = "signer.example";

pub async fn check(bench: &Bench) -> Verdict {
    let subject = put_image(bench).await;
    run(notation(bench, "cert").args(["generate-test", "--default", SIGNER])).await;
    let policy = json!({ "version": "1.0", "trustPolicies": [{
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": { "level": "strict" },
        "trustStores": [format!("ca:{SIGNER}")],
        "trustedIdentities": ["*"],
    }] });
    fs::write(bench.path("policy.json"), policy.to_string()).unwrap();
    run(notation(bench, "policy").args(["import", "--force", "policy.json"])).await;

    let image = format!("{}@{subject}", bench.remote("notation/one"));
    assert!(try_run(remote(bench, "verify").arg(&image)).await.is_err(), "nothing is signed");
    run(remote(bench, "sign").arg(&image)).await;
    let signatures = bench.referrers("notation/one", &subject).await;
    assert_eq!(signatures.len(), 1, "{signatures:?}");
    let list = run_text(remote(bench, "list").arg(&image)).await;
    assert!(list.contains(&signatures[0]), "{list}");
    run(remote(bench, "verify").arg(&image)).await;
    assert_eq!(bench.digest("notation/one", &signatures[0]).await, signatures[0]);
    Ok(())
}

/// notation signs existing images only: pushes one without layers.
async fn put_image(bench: &Bench) -> String {
    let config = "{}";
    let digest = roadstead_tests::digest(config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": config.len(),
        },
        "layers": [],
    });
    let upload = format!("/v2/notation/one/blobs/uploads/?digest={digest}");
    let requests = [
        Request::post(upload).body(Bytes::from(config)).unwrap(),
        Request::put(format!("/v2/notation/one/manifests/{TAG}"))
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(Bytes::from(manifest.to_string()))
            .unwrap(),
    ];
    for request in requests {
        let answer = bench.send(request).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.body());
    }
    bench.digest("notation/one", TAG).await
}

/// A command with the options for the registry.
fn remote(bench: &Bench, command: &str) -> Command {
    let mut notation = notation(bench, command);
    notation.args(bench.plain("--insecure-registry"));
    bench.trust_by("SSL_CERT_FILE", &mut notation);
    if bench.authority().is_some() {
        // Its login requires a keyring, which servers do not have.
        notation.env("NOTATION_USERNAME", USER).env("NOTATION_PASSWORD", PASSWORD);
    }
    notation
}

fn notation(bench: &Bench, command: &str) -> Command {
    let mut notation = bench.command("notation");
    notation.arg(command);
    notation
}
