//! Referrers (end-12).

use super::{Answer, Registry, insert, internal, json};
use crate::{ReferrersRequest, Route};
use http::header::{self, HeaderName, HeaderValue};
use roadstead_oci::{Descriptor, Digest, MediaType, RepositoryName};
use roadstead_storage::Storage;

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl<S: Storage> Registry<S> {
    /// An index of the manifests that refer to a subject, which need not
    /// exist. A page ends before it has more bytes than a manifest may have.
    pub(super) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        query: ReferrersRequest,
    ) -> Answer<S> {
        let (last, size) = (query.page.last.as_deref(), query.page.size);
        let found =
            self.store.referrers(name, subject, last, size.get()).await.map_err(internal)?;
        let mut body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":["#,
            MediaType::oci_image_index()
        );
        let mut separator = "";
        // That of a damaged manifest is empty, and that of one which is not there.
        for descriptor in found.values.iter().filter(|descriptor| !descriptor.is_empty()) {
            if query.artifact_type.as_deref().is_none_or(|wanted| has_type(descriptor, wanted)) {
                body.push_str(separator);
                body.push_str(descriptor);
                separator = ",";
            }
        }
        body.push_str("]}");
        let mut response = json(body.into_bytes());
        let headers = response.headers_mut();
        insert(headers, header::CONTENT_TYPE, MediaType::oci_image_index().as_str());
        if query.artifact_type.is_some() {
            headers.insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        if let (true, Some(last)) = (found.more, found.names.last()) {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.append_pair("n", &size.get().to_string()).append_pair("last", last);
            if let Some(wanted) = &query.artifact_type {
                next.append_pair("artifactType", wanted);
            }
            let next = next.finish();
            let path = Route::Referrers(name.clone(), subject.clone(), query).path();
            insert(headers, header::LINK, &format!("<{path}?{next}>; rel=\"next\""));
        }
        Ok(response)
    }
}

/// Whether a stored descriptor has this artifact type.
fn has_type(descriptor: &str, wanted: &str) -> bool {
    serde_json::from_str::<Descriptor>(descriptor)
        .is_ok_and(|d| d.artifact_type.is_some_and(|found| found.as_str() == wanted))
}
