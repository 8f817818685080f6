//! Events of what requests have changed.

use roadstead_bridge::change::{Change, ChangeKind};
use roadstead_events::{Action, Descriptor, Event, Request, Target};
use roadstead_telemetry::{Handler, Target as Path};

/// What a change is to endpoints.
pub(crate) fn action(kind: ChangeKind) -> Action {
    match kind {
        ChangeKind::Push => Action::Push,
        ChangeKind::Mount => Action::Mount,
        ChangeKind::Delete => Action::Delete,
        ChangeKind::Pull => Action::Pull,
    }
}

/// The events of a change: one for each tag, as consumers expect no more than one in each. `base` is the
/// scheme and the host by which clients reach the registry, and `path` that of the request.
pub(crate) fn events(
    change: &Change,
    request: &Request,
    base: &str,
    path: &str,
    user: Option<&str>,
) -> Vec<Event> {
    let handler = match Path::of(path).handler {
        Handler::Manifest => Handler::Manifest,
        _ => Handler::Blob,
    };
    let is_deleted = change.kind == ChangeKind::Delete;
    let digest = change.digest.as_deref().filter(|_| !is_deleted);
    let content = Target {
        media_type: change.media_type.clone().unwrap_or_default(),
        size: change.size,
        digest: change.digest.clone(),
        repository: change.repository.clone(),
        from_repository: change.from.clone(),
        url: digest.map(|digest| url(base, &change.repository, handler, digest)),
        tag: None,
        references: change
            .references
            .iter()
            .map(|of| Descriptor {
                media_type: of.media_type.clone(),
                digest: of.digest.clone(),
                size: of.size,
            })
            .collect(),
    };
    let event = |tag: Option<&String>| {
        let target = Target { tag: tag.cloned(), ..content.clone() };
        Event::new(action(change.kind), target, request.clone(), user.map(str::to_owned))
    };
    if change.tags.is_empty() {
        return vec![event(None)];
    }
    change.tags.iter().map(|tag| event(Some(tag))).collect()
}

/// Where content can be read.
pub(crate) fn url(base: &str, repository: &str, handler: Handler, digest: &str) -> String {
    let kind = if handler == Handler::Manifest { "manifests" } else { "blobs" };
    format!("{base}/v2/{repository}/{kind}/{digest}")
}
