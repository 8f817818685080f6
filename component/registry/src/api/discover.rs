//! Which extensions there are: `GET /v2/_oci/ext/discover`, and the same below a repository
//! (distribution-spec, `extensions/_oci.md`).

use super::{Registry, json};
use crate::Body;
use http::Response;
use roadstead_oci::RepositoryName;
use roadstead_storage::Storage;
use serde_json::{Value, json};

/// Where the extension of the specification is described.
const OCI: &str =
    "https://github.com/opencontainers/distribution-spec/blob/main/extensions/_oci.md";

/// Where Docker's catalog is described.
const CATALOG: &str = "https://distribution.github.io/distribution/spec/api/#listing-repositories";

/// What describes Roadstead's own endpoints: a path in its source, where it comes from.
const ROADSTEAD: &str = "docs/operations.md";

impl<S: Storage> Registry<S> {
    /// The extensions of the registry, or those of a repository, which need not exist.
    pub(super) fn discover(&self, name: Option<&RepositoryName>) -> Response<Body<S::Download>> {
        let place = name.map_or_else(|| "<name>".to_owned(), ToString::to_string);
        let discover = name.map_or_else(
            || "/v2/_oci/ext/discover".to_owned(),
            |name| format!("/v2/{name}/_oci/ext/discover"),
        );
        let mut extensions = vec![extension(
            "_oci",
            "Discovery of extensions, and what a tag has pointed to. Experimental: tag-history is \
             a draft, distribution-spec pull request 606 as of 2026-07-23",
            OCI,
            &[discover, format!("/v2/{place}/_oci/tag-history/<tag>")],
        )];
        if name.is_none() {
            let endpoints = ["/v2/_catalog".to_owned()];
            let what = "Docker's list of repositories";
            extensions.push(extension("_catalog", what, CATALOG, &endpoints));
        }
        let mut own = vec![
            format!("/v2/{place}/_roadstead/retention/<tag>"),
            format!("/v2/{place}/_roadstead/tags"),
            format!("/v2/{place}/_roadstead/image/<reference>"),
            format!("/v2/{place}/_roadstead/deletion"),
        ];
        if self.deletes() {
            own.push(format!("/v2/{place}/_roadstead/repository"));
        }
        if name.is_none() {
            if self.switches.collection.is_some() {
                own.push("/v2/_roadstead/collect".to_owned());
                own.push("/v2/_roadstead/collect/trash".to_owned());
            }
            own.push("/v2/_roadstead/repositories".to_owned());
            own.push("/v2/_roadstead/ui/registry".to_owned());
            own.push("/v2/_roadstead/uploads".to_owned());
            own.push("/v2/_roadstead/retention".to_owned());
            own.push("/v2/_roadstead/scrub".to_owned());
        }
        let what =
            "Deletion of repositories, retention of tags, maintenance, and what the page reads";
        extensions.push(extension("_roadstead", what, ROADSTEAD, &own));
        json(json!({ "extensions": extensions }).to_string().into_bytes())
    }
}

fn extension(name: &str, description: &str, url: &str, endpoints: &[String]) -> Value {
    json!({ "name": name, "description": description, "url": url, "endpoints": endpoints })
}
