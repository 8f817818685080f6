//! Many tags, repositories and blobs, for rows that list them or are measured beside them.

use crate::client::{Client, PushStyle};
use crate::content::{REPOSITORY, digest};
use crate::image::Image;
use std::path::Path;

/// The digest that tags point to; it is never requested.
const LINK: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Writes tags, repositories and empty blobs in distribution's layout.
pub(crate) fn lay_out(root: &Path, tags: usize, others: usize, blobs: usize) -> anyhow::Result<()> {
    for number in 0..blobs {
        let digest = digest(&number.to_le_bytes());
        let hex = digest.trim_start_matches("sha256:");
        let blob = root.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}", &hex[..2]));
        std::fs::create_dir_all(&blob)?;
        std::fs::write(blob.join("data"), "")?;
    }
    let repositories = root.join("docker/registry/v2/repositories");
    for number in 0..tags {
        let tag = format!("{REPOSITORY}/_manifests/tags/{}/current", tag(number));
        let tag = repositories.join(tag);
        std::fs::create_dir_all(&tag)?;
        std::fs::write(tag.join("link"), LINK)?;
    }
    for number in 0..others {
        let other = format!("{}/_manifests/tags", repository(number));
        std::fs::create_dir_all(repositories.join(other))?;
    }
    Ok(())
}

/// Pushes tags and repositories of an image that is in [`REPOSITORY`] already.
pub(crate) async fn push(
    image: &Image,
    client: &mut Client,
    tags: usize,
    others: usize,
) -> anyhow::Result<()> {
    for number in 0..tags {
        image.tag(client, &tag(number)).await?;
    }
    for number in 0..others {
        image.push_to(client, &repository(number), PushStyle::Put).await?;
    }
    Ok(())
}

/// The name of a listed tag.
pub(crate) fn tag(number: usize) -> String {
    format!("v{number:05}")
}

/// The name of a listed repository.
pub(crate) fn repository(number: usize) -> String {
    format!("bench/r{number:05}")
}
