//! Many tags and repositories, to be listed.

use crate::client::{Client, Style};
use crate::image::Image;
use crate::measure::NAME;
use crate::rows::{repository, tag};
use std::path::Path;

/// What tags point to; nobody asks for it.
const LINK: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Writes so many tags and repositories as distribution lays them out.
pub(crate) fn lay_out(root: &Path, count: usize) -> anyhow::Result<()> {
    let repositories = root.join("docker/registry/v2/repositories");
    for number in 0..count {
        let tag = format!("{NAME}/_manifests/tags/{}/current", tag(number));
        let tag = repositories.join(tag);
        std::fs::create_dir_all(&tag)?;
        std::fs::write(tag.join("link"), LINK)?;
        let other = format!("{}/_manifests/tags", repository(number));
        std::fs::create_dir_all(repositories.join(other))?;
    }
    Ok(())
}

/// Makes so many by pushes of an image that is in [`NAME`] already.
pub(crate) async fn push(image: &Image, client: &mut Client, count: usize) -> anyhow::Result<()> {
    for number in 0..count {
        image.tag(client, &tag(number)).await?;
        image.push_to(client, &repository(number), Style::Put).await?;
    }
    Ok(())
}
