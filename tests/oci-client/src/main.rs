//! `oci-client-program HOST:PORT [CA USER PASSWORD]`: pushes an image to `rust/one`, in chunks and
//! whole, pulls it, lists its tags, mounts its layer into `rust/two` and lists
//! its referrers. Prints the digest of the image, and whether the layer was
//! mounted or had to be pushed again. With the file of a CA and a user, over TLS.

use anyhow::{Context as _, bail, ensure};
use oci_client::client::{
    Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer,
};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::IMAGE_LAYER_MEDIA_TYPE;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

/// More than the crate's chunk size of 4 MiB, so that there are several chunks.
const LAYER: usize = 10 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (registry, secure) = arguments.split_first().context("HOST:PORT is missing")?;
    let provider = rustls::crypto::ring::default_provider();
    ensure!(provider.install_default().is_ok(), "no TLS provider");
    let (authority, auth) = match secure {
        [] => (None, RegistryAuth::Anonymous),
        [file, user, password] => {
            (Some(std::fs::read(file)?), RegistryAuth::Basic(user.clone(), password.clone()))
        }
        _ => bail!("CA, USER and PASSWORD are given together"),
    };
    let layer: Vec<u8> = (0..LAYER).map(|place| (place % 251) as u8).collect();
    let mut digests = Vec::new();
    for (tag, whole) in [("chunks", false), ("whole", true)] {
        let client = client(whole, authority.clone());
        let image: Reference = format!("{registry}/rust/one:{tag}").parse()?;
        let layers = [ImageLayer::oci_v1(layer.clone(), None)];
        let config = Config::oci_v1(b"{}".to_vec(), None);
        client.push(&image, &layers, config, &auth, None).await?;
        let pulled = client.pull(&image, &auth, vec![IMAGE_LAYER_MEDIA_TYPE]).await?;
        ensure!(pulled.layers.len() == 1 && pulled.layers[0].data == layer, "another layer");
        digests.push(pulled.digest.context("no digest")?);
    }
    ensure!(digests[0] == digests[1], "{digests:?}");

    let client = client(false, authority);
    let one: Reference = format!("{registry}/rust/one:chunks").parse()?;
    let two: Reference = format!("{registry}/rust/two:mounted").parse()?;
    let tags = client.list_tags(&one, &auth, None, None).await?.tags;
    ensure!(tags == ["chunks", "whole"], "{tags:?}");
    let blob = ImageLayer::oci_v1(layer.clone(), None).sha256_digest();
    // A token for one repository does not allow a mount from another, and this
    // client requests only one, whatever the challenge says.
    let mounted = match client.mount_blob(&two, &one, &blob).await {
        Ok(()) => true,
        Err(OciDistributionError::ServerError { code: 401, .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if !mounted {
        client.push_blob(&two, layer, &blob).await?;
    }
    ensure!(client.blob_exists(&two, &blob).await?, "not mounted");
    let by_digest: Reference = format!("{registry}/rust/one@{}", digests[0]).parse()?;
    let referrers = client.pull_referrers(&by_digest, None).await?;
    ensure!(referrers.manifests.is_empty(), "{referrers:?}");
    println!("{} {}", digests[0], if mounted { "mounted" } else { "pushed" });
    Ok(())
}

/// A client that trusts a CA in addition to the system's, or uses plain HTTP.
fn client(use_monolithic_push: bool, authority: Option<Vec<u8>>) -> Client {
    let protocol = if authority.is_some() { ClientProtocol::Https } else { ClientProtocol::Http };
    let encoding = CertificateEncoding::Pem;
    let extra_root_certificates = authority
        .into_iter()
        .map(|data| Certificate { encoding: encoding.clone(), data })
        .collect();
    Client::new(ClientConfig {
        protocol,
        use_monolithic_push,
        extra_root_certificates,
        ..ClientConfig::default()
    })
}
