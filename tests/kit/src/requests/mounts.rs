//! Mounts of blobs from other repositories.

use super::{DELETE, Table, delete, digest, get, head, post, push};

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

/// As long as a name may be, and as a file name with a prefix may not be.
pub(super) fn repositories_with_the_longest_names() -> Table {
    let mut steps = Vec::new();
    for length in [248, 249, 250, 253, 255] {
        let name = "n".repeat(length);
        let bytes = format!("of {length}");
        let blob = digest(bytes.as_bytes());
        steps.extend([
            push(&name, bytes.as_bytes()),
            get(format!("/v2/{name}/blobs/{blob}")).content(bytes),
            post(format!("/v2/short/blobs/uploads/?mount={blob}")).status(201),
            delete(format!("/v2/{name}/blobs/{blob}")).status(202),
            get(format!("/v2/{name}/blobs/{blob}")).error(404, "BLOB_UNKNOWN"),
            post(format!("/v2/{name}/blobs/uploads/?mount={blob}&from=short")).status(201),
            head(format!("/v2/{name}/blobs/{blob}")),
        ]);
    }
    Table::with(&[DELETE], steps)
}
