//! A store over TLS, with the certificate of a private CA.

use crate::registry::{MANIFEST, manifest};
use http::{Request, StatusCode};
use roadstead_tests::{
    Azurite, Pair, Registry, Target, binary, digest, get, post, put, run, send, skip,
};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const SETTING: &str = "REGISTRY_STORAGE_AZURE_ROOTCERTBUNDLE";

/// The prefix of the registry's blobs in the store's lists.
const STORED: &str = "<Name>docker/registry/v2/";

/// The error of a host that does not start.
fn refusal(settings: &[(String, String)], authority: Option<&Path>) -> String {
    let mut command = Command::new(binary().unwrap());
    command
        .arg("serve")
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .envs(authority.map(|file| (SETTING, file)));
    Registry::serve(command).unwrap_err().to_string()
}

#[tokio::test]
async fn private_authority() {
    let pair = Arc::new(Pair::new(&["127.0.0.1"]).unwrap());
    let stranger = Pair::new(&["127.0.0.1"]).unwrap();
    let authority = pair.authority();
    let Some(azurite) = Azurite::start_secure(&pair).unwrap() else {
        skip("tls::private_authority", "Azurite is not installed; run .ci/install-azurite");
        return;
    };
    azurite.container("images").await.unwrap();
    let settings = azurite.settings("images");
    for authority in [None, Some(stranger.authority())] {
        let said = refusal(&settings, authority.as_deref());
        for expected in ["cannot reach the object store at https://127.0.0.1:", SETTING] {
            assert!(said.contains(expected), "{said}");
        }
    }
    let listed = azurite.list("images").await.unwrap();
    assert!(!listed.contains("<Name>"), "{listed}");

    let mut trusting = settings;
    trusting.push((SETTING.to_owned(), authority.display().to_string()));
    let registry = Registry::start_over(&trusting, &[]).unwrap();
    // One is stored by a single request, the other one in blocks.
    let small = b"a config".to_vec();
    let large: Vec<u8> = (0..=250).cycle().take(12 << 20).collect();
    let manifest = manifest(&large, &small);
    let mut steps = Vec::new();
    for blob in [&small, &large] {
        steps.push(post("/v2/a/b/blobs/uploads/").status(202));
        steps.push(
            put(format!("{{location}}{{&}}digest={}", digest(blob)))
                .header("content-type", "application/octet-stream")
                .body(blob.clone())
                .status(201),
        );
    }
    let path = "/v2/a/b/manifests/v1";
    steps.push(put(path).header("content-type", MANIFEST).body(manifest.clone()).status(201));
    steps.push(get(path).expect("content-type", MANIFEST).content(manifest));
    run(&Target::Server(registry.address.clone()), &steps).await;
    let listed = azurite.list("images").await.unwrap();
    assert!(listed.contains(STORED), "{listed}");

    // Through the registry.
    let through = [("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")];
    let through = Registry::start_over(&trusting, &through).unwrap();
    let pulls = [&small, &large]
        .map(|blob| get(format!("/v2/a/b/blobs/{}", digest(blob))).content(blob.clone()));
    run(&Target::Server(through.address.clone()), &pulls).await;

    // And by redirect to the store, which clients reach over TLS as well.
    let path = format!("/v2/a/b/blobs/{}", digest(&large));
    let answer = send(&registry.address, Request::get(path).body(Vec::new().into()).unwrap());
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let location: http::Uri = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    assert_eq!(location.scheme_str(), Some("https"));
    let request = Request::get(location.path_and_query().unwrap().as_str());
    let request = request.body(Vec::new().into()).unwrap();
    let answer = pair.send(location.authority().unwrap().as_str(), request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.body() == &large, "other content");
}
