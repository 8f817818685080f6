//! Directories that another registry filled, and requests that Roadstead answers
//! over them.

use super::{OCI_INDEX, OCI_MANIFEST, Step, digest, get, head};

/// A directory, and requests over it.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Paths below the directory, and what the files contain.
    pub files: Vec<(String, String)>,
    /// The requests, in order. They may be repeated.
    pub steps: Vec<Step>,
}

impl Filled {
    /// Files below distribution's root.
    fn new(files: Vec<(String, String)>, steps: Vec<Step>) -> Self {
        let below = |(path, text)| (format!("docker/registry/v2/{path}"), text);
        Self { files: files.into_iter().map(below).collect(), steps }
    }
}

/// Where distribution keeps the blob with these digits.
fn blob(hex: &str) -> String {
    format!("blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// The digits of a SHA-256 digest.
fn hex(bytes: &[u8]) -> String {
    digest(bytes)["sha256:".len()..].to_owned()
}

/// A manifest with a subject, which no list of referrers names yet.
pub fn referrers_of_another_registry() -> Filled {
    let subject = digest(b"subject");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":7}}}}"#
    );
    let hex = hex(manifest.as_bytes());
    let entry = format!(
        r#"{{"mediaType":"{OCI_INDEX}","digest":"sha256:{hex}","size":{}}}"#,
        manifest.len()
    );
    let steps = vec![get(format!("/v2/a/referrers/{subject}")).content(format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entry}]}}"#
    ))];
    let link = format!("repositories/a/_manifests/revisions/sha256/{hex}/link");
    Filled::new(vec![(blob(&hex), manifest), (link, format!("sha256:{hex}"))], steps)
}

/// What `registry:2` writes: no media types beside manifests.
pub fn distribution() -> Filled {
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#;
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    let hex = hex(manifest.as_bytes());
    let link = format!("sha256:{hex}");
    let manifests = "repositories/library/old/_manifests";
    let files = vec![
        (blob(&hex), manifest.to_owned()),
        (format!("{manifests}/revisions/sha256/{hex}/link"), link.clone()),
        (format!("{manifests}/tags/v1/current/link"), link.clone()),
        (format!("{manifests}/tags/v1/index/sha256/{hex}/link"), link.clone()),
    ];
    let steps = vec![
        get("/v2/_catalog").content(r#"{"repositories":["library/old"]}"#),
        get("/v2/library/old/tags/list").content(r#"{"name":"library/old","tags":["v1"]}"#),
        get("/v2/library/old/manifests/v1").expect("content-type", docker).content(manifest),
        head(format!("/v2/library/old/manifests/{link}")).expect("content-type", docker),
    ];
    Filled::new(files, steps)
}
