//! How a request's path is shown in traces.

use roadstead_telemetry::{Handler, Target};

/// Digits of an upload's identifier that are shown: enough to find its other requests, and
/// too few to take part in it.
const SHOWN: usize = 8;

/// The path, without what is not to be shown.
pub(crate) fn shown(target: &Target<'_>, path: &str) -> String {
    let id = path.rsplit('/').next().unwrap_or_default();
    match id.get(SHOWN..) {
        Some(rest) if target.handler == Handler::BlobUploadChunk && !rest.is_empty() => {
            let front = path.strip_suffix(rest).unwrap_or_default();
            format!("{front}\u{2026}")
        }
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use roadstead_telemetry::Target;

    #[test]
    fn identifiers_of_uploads_are_cut() {
        let id = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
        for (path, expected) in [
            ("/v2/a/manifests/1b9d6bcd-bbfd", "/v2/a/manifests/1b9d6bcd-bbfd"),
            ("/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/"),
            ("/v2/a/blobs/uploads/1b9d6bcd", "/v2/a/blobs/uploads/1b9d6bcd"),
            (&format!("/v2/a/blobs/uploads/{id}"), "/v2/a/blobs/uploads/1b9d6bcd\u{2026}"),
            ("/else/1b9d6bcd-bbfd", "/else/1b9d6bcd-bbfd"),
        ] {
            assert_eq!(shown(&Target::of(path), path), expected);
        }
    }
}
