//! What kind of request a route is: the one classification that permissions,
//! switches, caching, metrics and events derive from.

use super::{BlobAction, ManifestAction, Route, StartUpload, UploadAction, View};
use roadstead_access::Action;
use roadstead_oci::{Digest, Reference, RepositoryName};
use std::time::Duration;

/// The TTL of a response by a tag in the host's cache. Writes through the same
/// host invalidate it at once; this limits how long a write by another process
/// on the same storage goes unnoticed.
///
/// Limit: time for which a response by tag is cached; test: `kept_for_its_time`.
const TAGGED: Duration = Duration::from_secs(1);

/// The TTL of content by its digest, which can only be deleted.
///
/// Limit: time for which a response by digest is cached; test: `kept_for_its_time`.
const CONTENT: Duration = Duration::from_secs(10);

/// The TTL of a 404 for content by its digest.
///
/// Limit: time for which it is cached that content is missing; test:
/// `what_is_missing_is_kept_until_it_is_stored`.
pub(crate) const MISSING_TTL: Duration = Duration::from_secs(1);

/// The TTL of a response that is the same for as long as the registry runs.
///
/// Limit: time for which the response of `/v2/` is cached; test: none, it is the same afterwards.
const FIXED: Duration = Duration::from_mins(1);

/// The class of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteClass<'a> {
    /// The name of the route in metrics: distribution's, where it has one.
    pub label: &'static str,
    /// The permission that the route needs. Access to the source repository of
    /// a mount is checked separately.
    pub permission: Permission<'a>,
    /// What the request does to the registry.
    pub effect: Effect,
    /// What the host's cache may do with the response.
    pub caching: Caching<'a>,
    /// The event that a successful request reports.
    pub event: Option<Event>,
}

/// A permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission<'a> {
    /// None: anonymous requests are permitted.
    Nothing,
    /// To be authenticated, unless authentication is disabled, or no
    /// credentials are accepted and the rules allow anonymous access.
    Login,
    /// To see the list of repositories.
    Catalog,
    /// To delete everything, or read all of it: by a rule for all repositories, or the scope
    /// `registry:maintenance:*` of a token.
    Maintenance,
    /// To be the native host itself.
    Host,
    /// An action on a repository.
    Repository(&'a RepositoryName, Action),
}

/// What a request does to the registry: switches forbid some of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing.
    Read,
    /// It adds or replaces content.
    Write,
    /// It deletes content.
    Delete,
}

/// What the host's cache may do with a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caching<'a> {
    /// Not cache it: it differs between callers, or changes without a write.
    None,
    /// Cache a successful one for this time: no write changes it.
    Fixed(Duration),
    /// Cache a 200 for this time, until the repository changes. With a digest, cache a 404 for
    /// `MISSING_TTL` too, until the repository changes or the content is stored in any
    /// repository.
    Keep(&'a RepositoryName, Duration, Option<&'a Digest>),
    /// Invalidate the cached responses for the repository, if one is given, and the 404 responses
    /// for the content that the request stored. An upload gives none: before it, the content was
    /// missing.
    Purge(Option<&'a RepositoryName>),
}

/// The event that a request reports, named as in distribution's notifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are the notifications' actions")]
pub enum Event {
    Pull,
    Push,
    Mount,
    Delete,
}

impl Route {
    /// The class of the route: each row of this table is complete.
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    pub fn class(&self) -> RouteClass<'_> {
        use Permission::{Catalog, Login, Maintenance, Nothing};
        let pull = |name| Permission::Repository(name, Action::Pull);
        let push = |name| Permission::Repository(name, Action::Push);
        let delete = |name| Permission::Repository(name, Action::Delete);
        let read = |label, permission| RouteClass {
            label,
            permission,
            effect: Effect::Read,
            caching: Caching::None,
            event: None,
        };
        let content = |label, name, digest: Option<_>| RouteClass {
            caching: Caching::Keep(name, digest.map_or(TAGGED, |_| CONTENT), digest),
            event: Some(Event::Pull),
            ..read(label, pull(name))
        };
        let upload = |label, name, event: Option<Event>| RouteClass {
            effect: Effect::Write,
            // Whatever reports an event has stored something.
            caching: event.map_or(Caching::None, |_| Caching::Purge(None)),
            event,
            ..read(label, push(name))
        };
        let removal = |label, name| RouteClass {
            effect: Effect::Delete,
            caching: Caching::Purge(Some(name)),
            event: Some(Event::Delete),
            ..read(label, delete(name))
        };
        match self {
            Self::Root => read("root", Nothing),
            Self::Live | Self::Ready => read("health", Nothing),
            Self::Base => RouteClass { caching: Caching::Fixed(FIXED), ..read("base", Login) },
            Self::Catalog(_) => read("catalog", Catalog),
            Self::Collect => RouteClass { effect: Effect::Delete, ..read("collect", Maintenance) },
            Self::Collection(_) => read("collect", Maintenance),
            // What it removes is no content.
            Self::Events => {
                RouteClass { effect: Effect::Write, ..read("events", Permission::Host) }
            }
            Self::Expiring(_) => read("retention", Maintenance),
            // For those who may delete the tag: all tags of the repository are looked at.
            Self::Retained(name, _) => read("retention", delete(name)),
            // What it moves out of the way is looked at by the endpoint.
            Self::Scrub => read("scrub", Maintenance),
            Self::Token(_) => read("token", Nothing),
            Self::Repository(name) => removal("repository", name),
            Self::Tags(name, _) => read("tags", pull(name)),
            Self::Referrers(name, ..) => read("referrers", pull(name)),
            Self::TagHistory(name, ..) => read("tag_history", pull(name)),
            Self::Discover(None) => read("extensions", Login),
            Self::Discover(Some(name)) => read("extensions", pull(name)),
            Self::Page(_) => read("page", Nothing),
            Self::View(View::Registry) => read("view", Login),
            Self::View(View::Repositories(_)) => read("view", Catalog),
            Self::View(View::Tags(name, _) | View::Image(name, ..)) => read("view", pull(name)),
            Self::View(View::Uploads(_)) => read("view", Maintenance),
            Self::View(View::Deletion(name, _)) => read("view", delete(name)),
            Self::Manifest(name, reference, action) => match (action, reference) {
                (ManifestAction::Get | ManifestAction::Head, Reference::Tag(_)) => {
                    content("manifest", name, None)
                }
                (ManifestAction::Get | ManifestAction::Head, Reference::Digest(digest)) => {
                    content("manifest", name, Some(digest))
                }
                (ManifestAction::Put(_), _) => RouteClass {
                    caching: Caching::Purge(Some(name)),
                    ..upload("manifest", name, Some(Event::Push))
                },
                (ManifestAction::Delete, _) => removal("manifest", name),
            },
            Self::Blob(name, digest, BlobAction::Get | BlobAction::Head) => {
                content("blob", name, Some(digest))
            }
            Self::Blob(name, _, BlobAction::Delete) => removal("blob", name),
            Self::StartUpload(name, start) => {
                let event = match start {
                    StartUpload::Session => None,
                    StartUpload::Whole(_) => Some(Event::Push),
                    // A mount may become an upload instead.
                    StartUpload::Mount { .. } => Some(Event::Mount),
                };
                upload("blob_upload", name, event)
            }
            Self::Upload(session, action) => {
                let event = matches!(action, UploadAction::Commit(..)).then_some(Event::Push);
                upload("blob_upload_chunk", &session.repository, event)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Caching, Effect, Event, Permission};
    use crate::Route;
    use roadstead_access::Action;

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    fn every_route_has_a_class() {
        const DIGEST: &str =
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        const ID: &str = "00000000-0000-4000-8000-000000000000";
        use Effect::{Delete, Read, Write};
        let pull = Some(Action::Pull);
        let push = Some(Action::Push);
        for (method, path, label, action, effect, ttl, event) in [
            ("GET", "/", "root", None, Read, "", None),
            ("GET", "/livez", "health", None, Read, "", None),
            ("GET", "/ui", "page", None, Read, "", None),
            ("HEAD", "/ui/", "page", None, Read, "", None),
            ("HEAD", "/readyz", "health", None, Read, "", None),
            ("HEAD", "/v2/", "base", None, Read, "60", None),
            ("GET", "/v2/_catalog", "catalog", None, Read, "", None),
            ("POST", "/v2/_roadstead/collect", "collect", None, Delete, "", None),
            ("POST", "/v2/_roadstead/events", "events", None, Write, "", None),
            ("POST", "/v2/_roadstead/scrub", "scrub", None, Read, "", None),
            ("GET", "/v2/_roadstead/collect/reports", "collect", None, Read, "", None),
            ("GET", "/v2/_roadstead/collect/usage?last=a", "collect", None, Read, "", None),
            ("GET", "/v2/_roadstead/collect/contents?last=a@0", "collect", None, Read, "", None),
            ("GET", "/v2/_roadstead/collect/quotas", "collect", None, Read, "", None),
            ("GET", "/v2/_roadstead/collect/why/DIGEST", "collect", None, Read, "", None),
            ("GET", "/v2/_roadstead/retention?last=a", "retention", None, Read, "", None),
            (
                "GET",
                "/v2/a/_roadstead/retention/t",
                "retention",
                Some(Action::Delete),
                Read,
                "",
                None,
            ),
            ("POST", "/v2/token", "token", None, Read, "", None),
            (
                "DELETE",
                "/v2/a/_roadstead/repository",
                "repository",
                Some(Action::Delete),
                Delete,
                "purge",
                Some(Event::Delete),
            ),
            ("GET", "/v2/a/tags/list", "tags", pull, Read, "", None),
            ("GET", "/v2/a/referrers/DIGEST", "referrers", pull, Read, "", None),
            ("GET", "/v2/a/_oci/tag-history/t?n=1", "tag_history", pull, Read, "", None),
            ("GET", "/v2/_oci/ext/discover", "extensions", None, Read, "", None),
            ("GET", "/v2/a/_oci/ext/discover", "extensions", pull, Read, "", None),
            ("GET", "/v2/_roadstead/ui/registry", "view", None, Read, "", None),
            ("GET", "/v2/_roadstead/repositories?q=a", "view", None, Read, "", None),
            ("GET", "/v2/_roadstead/uploads?last=a", "view", None, Read, "", None),
            ("GET", "/v2/_roadstead/collect/trash", "collect", None, Read, "", None),
            ("GET", "/v2/a/_roadstead/tags", "view", pull, Read, "", None),
            ("GET", "/v2/a/_roadstead/image/t", "view", pull, Read, "", None),
            (
                "GET",
                "/v2/a/_roadstead/deletion?tag=t",
                "view",
                Some(Action::Delete),
                Read,
                "",
                None,
            ),
            ("GET", "/v2/a/manifests/t", "manifest", pull, Read, "1", Some(Event::Pull)),
            (
                "HEAD",
                "/v2/a/manifests/DIGEST",
                "manifest",
                pull,
                Read,
                "10 or missing",
                Some(Event::Pull),
            ),
            ("PUT", "/v2/a/manifests/t", "manifest", push, Write, "purge", Some(Event::Push)),
            (
                "DELETE",
                "/v2/a/manifests/t",
                "manifest",
                Some(Action::Delete),
                Delete,
                "purge",
                Some(Event::Delete),
            ),
            ("GET", "/v2/a/blobs/DIGEST", "blob", pull, Read, "10 or missing", Some(Event::Pull)),
            (
                "DELETE",
                "/v2/a/blobs/DIGEST",
                "blob",
                Some(Action::Delete),
                Delete,
                "purge",
                Some(Event::Delete),
            ),
            ("POST", "/v2/a/blobs/uploads/", "blob_upload", push, Write, "", None),
            (
                "POST",
                "/v2/a/blobs/uploads/?digest=DIGEST",
                "blob_upload",
                push,
                Write,
                "purge missing",
                Some(Event::Push),
            ),
            (
                "POST",
                "/v2/a/blobs/uploads/?mount=DIGEST",
                "blob_upload",
                push,
                Write,
                "purge missing",
                Some(Event::Mount),
            ),
            ("GET", "/v2/a/blobs/uploads/ID", "blob_upload_chunk", push, Write, "", None),
            ("PATCH", "/v2/a/blobs/uploads/ID", "blob_upload_chunk", push, Write, "", None),
            (
                "PUT",
                "/v2/a/blobs/uploads/ID?digest=DIGEST",
                "blob_upload_chunk",
                push,
                Write,
                "purge missing",
                Some(Event::Push),
            ),
            ("DELETE", "/v2/a/blobs/uploads/ID", "blob_upload_chunk", push, Write, "", None),
        ] {
            let uri = path.replace("DIGEST", DIGEST).replace("ID", ID).parse().unwrap();
            let route = Route::parse(&method.parse().unwrap(), &uri).unwrap();
            let class = route.class();
            assert_eq!((class.label, class.effect, class.event), (label, effect, event), "{path}");
            let maintains = class.permission == Permission::Maintenance;
            let is_hosts = class.permission == Permission::Host;
            assert_eq!(is_hosts, path == "/v2/_roadstead/events", "{path}");
            // What the page shows to others than operators too.
            let for_others = ["/v2/_roadstead/ui/registry", "/v2/_roadstead/repositories?q=a"];
            let of_all = path.starts_with("/v2/_roadstead/") && !for_others.contains(&path);
            assert_eq!(maintains || is_hosts, of_all, "{path}");
            let found = match class.permission {
                Permission::Repository(name, action) => {
                    assert_eq!(name.as_str(), "a");
                    Some(action)
                }
                Permission::Nothing
                | Permission::Host
                | Permission::Login
                | Permission::Catalog
                | Permission::Maintenance => None,
            };
            assert_eq!(found, action, "{method} {path}");
            let caching = match class.caching {
                Caching::None => String::new(),
                Caching::Fixed(ttl) | Caching::Keep(_, ttl, None) => ttl.as_secs().to_string(),
                Caching::Keep(_, ttl, Some(_)) => format!("{} or missing", ttl.as_secs()),
                Caching::Purge(Some(_)) => "purge".to_owned(),
                Caching::Purge(None) => "purge missing".to_owned(),
            };
            assert_eq!(caching, ttl, "{method} {path}");
        }
    }
}
