//! Mounts of blobs from other repositories.

use super::{Table, digest, get, post, push};

pub(super) fn mounts() -> Table {
    let blob = digest(b"shared");
    Table::new(vec![
        push("a", b"shared"),
        post(format!("/v2/b/blobs/uploads/?mount={blob}&from=a"))
            .status(201)
            .expect("location", format!("/v2/b/blobs/{blob}"))
            .expect("docker-content-digest", &blob),
        get(format!("/v2/b/blobs/{blob}")).content("shared"),
        // Where nothing can be mounted, an upload session begins.
        post(format!("/v2/c/blobs/uploads/?mount={blob}&from=nowhere"))
            .status(202)
            .expect("range", "0-0"),
        get(format!("/v2/c/blobs/{blob}")).error(404, "BLOB_UNKNOWN"),
        post(format!("/v2/c/blobs/uploads/?mount={}", digest(b"nowhere"))).status(202),
    ])
}

pub(super) fn mounts_without_a_source() -> Table {
    let blob = digest(b"shared");
    Table::new(vec![
        push("a", b"shared"),
        post(format!("/v2/c/blobs/uploads/?mount={blob}"))
            .status(201)
            .expect("location", format!("/v2/c/blobs/{blob}")),
        get(format!("/v2/c/blobs/{blob}")).content("shared"),
    ])
}
