//! notation: a signature with a generated key, found again and verified.

use crate::fixture::Fixture;
use crate::report::Verdict;
use bytes::Bytes;
use http::{Request, StatusCode};
use roadstead_tests::image::TAG;
use roadstead_tests::program::{run, run_text, try_run};
use roadstead_tests::{PASSWORD, USER};
use serde_json::json;
use std::fs;
use tokio::process::Command;

/// The name of the certificate and of its trust store.
const SIGNER: &str = "signer.example";

pub async fn check(fixture: &Fixture) -> Verdict {
    let subject = put_image(fixture).await;
    run(notation(fixture, "cert").args(["generate-test", "--default", SIGNER])).await;
    let policy = json!({ "version": "1.0", "trustPolicies": [{
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": { "level": "strict" },
        "trustStores": [format!("ca:{SIGNER}")],
        "trustedIdentities": ["*"],
    }] });
    fs::write(fixture.path("policy.json"), policy.to_string()).unwrap();
    run(notation(fixture, "policy").args(["import", "--force", "policy.json"])).await;

    let image = format!("{}@{subject}", fixture.remote("notation/one"));
    assert!(try_run(remote(fixture, "verify").arg(&image)).await.is_err(), "nothing is signed");
    run(remote(fixture, "sign").arg(&image)).await;
    let signatures = fixture.referrers("notation/one", &subject).await;
    assert_eq!(signatures.len(), 1, "{signatures:?}");
    let list = run_text(remote(fixture, "list").arg(&image)).await;
    assert!(list.contains(&signatures[0]), "{list}");
    run(remote(fixture, "verify").arg(&image)).await;
    assert_eq!(fixture.digest("notation/one", &signatures[0]).await, signatures[0]);
    Ok(())
}

/// notation signs existing images only: pushes one without layers.
async fn put_image(fixture: &Fixture) -> String {
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
        let answer = fixture.send(request).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.body());
    }
    fixture.digest("notation/one", TAG).await
}

/// A command with the options for the registry.
fn remote(fixture: &Fixture, command: &str) -> Command {
    let mut notation = notation(fixture, command);
    notation.args(fixture.plain("--insecure-registry"));
    fixture.trust_by("SSL_CERT_FILE", &mut notation);
    if fixture.authority().is_some() {
        // Its login requires a keyring, which servers do not have.
        notation.env("NOTATION_USERNAME", USER).env("NOTATION_PASSWORD", PASSWORD);
    }
    notation
}

fn notation(fixture: &Fixture, command: &str) -> Command {
    let mut notation = fixture.command("notation");
    notation.arg(command);
    notation
}
