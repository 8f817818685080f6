//! How a request's path is called in traces. Only names derive from this: what a request
//! does is for the component to say.

/// The path of the API.
const API: &str = "/v2/";

/// Digits of an upload's identifier that are shown: enough to find its other requests, and
/// too few to take part in it.
const SHOWN: usize = 8;

/// A path, as traces show it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Target<'a> {
    /// The kind of path; `None` if the API has none like it.
    pub(crate) route: Option<&'static str>,
    /// The repository that it names.
    pub(crate) repository: Option<&'a str>,
    /// A part of the path that is not to be shown.
    hidden: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        let plain = |route| Self { route, repository: None, hidden: None };
        let Some(rest) = path.strip_prefix(API) else {
            return plain(match path {
                "/" => Some("/"),
                "/v2" => Some("/v2/"),
                _ => None,
            });
        };
        match rest {
            "" => plain(Some("/v2/")),
            "_catalog" => plain(Some("/v2/_catalog")),
            "token" => plain(Some("/v2/token")),
            _ if rest.starts_with("_roadstead/collect") => plain(Some("/v2/_roadstead/collect")),
            _ if rest.starts_with("_roadstead/scrub") => plain(Some("/v2/_roadstead/scrub")),
            _ => Self::in_repository(rest),
        }
    }

    /// A path below a repository, whose name may have the words of paths in it: the last
    /// one counts.
    fn in_repository(rest: &'a str) -> Self {
        let of = |route, repository, hidden| Self {
            route: Some(route),
            repository: Some(repository),
            hidden,
        };
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return of("/v2/{name}/tags/list", name, None);
        }
        if let Some(name) = rest.strip_suffix("/_roadstead/repository") {
            return of("/v2/{name}/_roadstead/repository", name, None);
        }
        if let Some(name) =
            rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return of("/v2/{name}/blobs/uploads/", name, None);
        }
        let Some((front, last)) = rest.rsplit_once('/') else {
            return Self { route: None, repository: None, hidden: None };
        };
        for (end, route) in [
            ("/manifests", "/v2/{name}/manifests/{reference}"),
            ("/blobs", "/v2/{name}/blobs/{digest}"),
            ("/referrers", "/v2/{name}/referrers/{digest}"),
        ] {
            if let Some(name) = front.strip_suffix(end) {
                return of(route, name, None);
            }
        }
        if let Some(name) = front.strip_suffix("/blobs/uploads") {
            let hidden = last.get(SHOWN..).filter(|rest| !rest.is_empty());
            return of("/v2/{name}/blobs/uploads/{id}", name, hidden);
        }
        Self { route: None, repository: None, hidden: None }
    }

    /// The path, without what is not to be shown.
    pub(crate) fn shown(&self, path: &str) -> String {
        let hidden = self.hidden.unwrap_or_default();
        path.strip_suffix(hidden)
            .filter(|_| !hidden.is_empty())
            .map_or_else(|| path.to_owned(), |front| format!("{front}…"))
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn paths() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let id = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
        for (path, route, repository) in [
            ("/", Some("/"), None),
            ("/v2", Some("/v2/"), None),
            ("/v2/", Some("/v2/"), None),
            ("/v2/_catalog", Some("/v2/_catalog"), None),
            ("/v2/token", Some("/v2/token"), None),
            ("/v2/_roadstead/collect/reports", Some("/v2/_roadstead/collect"), None),
            ("/v2/_roadstead/scrub", Some("/v2/_roadstead/scrub"), None),
            ("/v2/a/b/tags/list", Some("/v2/{name}/tags/list"), Some("a/b")),
            ("/v2/a/manifests/1.2", Some("/v2/{name}/manifests/{reference}"), Some("a")),
            (
                "/v2/a/manifests/b/manifests/1",
                Some("/v2/{name}/manifests/{reference}"),
                Some("a/manifests/b"),
            ),
            (&format!("/v2/a/blobs/{digest}"), Some("/v2/{name}/blobs/{digest}"), Some("a")),
            (
                &format!("/v2/a/referrers/{digest}"),
                Some("/v2/{name}/referrers/{digest}"),
                Some("a"),
            ),
            ("/v2/a/blobs/uploads/", Some("/v2/{name}/blobs/uploads/"), Some("a")),
            ("/v2/a/blobs/uploads", Some("/v2/{name}/blobs/uploads/"), Some("a")),
            (
                &format!("/v2/a/blobs/uploads/{id}"),
                Some("/v2/{name}/blobs/uploads/{id}"),
                Some("a"),
            ),
            ("/v2/a/_roadstead/repository", Some("/v2/{name}/_roadstead/repository"), Some("a")),
            ("/v2/a", None, None),
            ("/v2/a/else/x", None, None),
            ("/v1/a/tags/list", None, None),
            ("", None, None),
        ] {
            let target = Target::of(path);
            assert_eq!((target.route, target.repository), (route, repository), "{path}");
            let shown = if path.ends_with(id) {
                "/v2/a/blobs/uploads/1b9d6bcd…".to_owned()
            } else {
                path.to_owned()
            };
            assert_eq!(target.shown(path), shown);
        }
    }
}
