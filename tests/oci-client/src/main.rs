//! `oci-client-program HOST:PORT`: pushes an image to `rust/one`, in chunks and
//! whole, pulls it, lists its tags, mounts its layer into `rust/two` and lists
//! its referrers. Prints the digest of the image.

use anyhow::{Context as _, ensure};
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::IMAGE_LAYER_MEDIA_TYPE;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

/// More than the crate's chunk of 4 MiB, so that there are several.
const LAYER: usize = 10 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let registry = std::env::args().nth(1).context("HOST:PORT is missing")?;
    let provider = rustls::crypto::ring::default_provider();
    ensure!(provider.install_default().is_ok(), "no TLS provider");
    let anonymous = RegistryAuth::Anonymous;
    let layer: Vec<u8> = (0..LAYER).map(|place| (place % 251) as u8).collect();
    let mut digests = Vec::new();
    for (tag, whole) in [("chunks", false), ("whole", true)] {
        let client = client(whole);
        let image: Reference = format!("{registry}/rust/one:{tag}").parse()?;
        let layers = [ImageLayer::oci_v1(layer.clone(), None)];
        let config = Config::oci_v1(b"{}".to_vec(), None);
        client.push(&image, &layers, config, &anonymous, None).await?;
        let pulled = client.pull(&image, &anonymous, vec![IMAGE_LAYER_MEDIA_TYPE]).await?;
        ensure!(pulled.layers.len() == 1 && pulled.layers[0].data == layer, "another layer");
        digests.push(pulled.digest.context("no digest")?);
    }
    ensure!(digests[0] == digests[1], "{digests:?}");

    let client = client(false);
    let one: Reference = format!("{registry}/rust/one:chunks").parse()?;
    let two: Reference = format!("{registry}/rust/two:mounted").parse()?;
    let tags = client.list_tags(&one, &anonymous, None, None).await?.tags;
    ensure!(tags == ["chunks", "whole"], "{tags:?}");
    let blob = ImageLayer::oci_v1(layer, None).sha256_digest();
    client.mount_blob(&two, &one, &blob).await?;
    ensure!(client.blob_exists(&two, &blob).await?, "not mounted");
    let by_digest: Reference = format!("{registry}/rust/one@{}", digests[0]).parse()?;
    let referrers = client.pull_referrers(&by_digest, None).await?;
    ensure!(referrers.manifests.is_empty(), "{referrers:?}");
    println!("{}", digests[0]);
    Ok(())
}

fn client(use_monolithic_push: bool) -> Client {
    let protocol = ClientProtocol::Http;
    Client::new(ClientConfig { protocol, use_monolithic_push, ..ClientConfig::default() })
}
