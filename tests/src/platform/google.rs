//! Google's metadata server, of a machine or of a node of GKE.

use super::{Issuer, VALID};
use crate::stand_in::{Refusal, Server, plain};
use http::StatusCode;

/// The server.
/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
#[derive(Debug)]
pub struct GoogleMetadata(Server);

impl GoogleMetadata {
    /// Starts it at an address, where `127.0.0.1:0` is any port.
    pub fn start(address: &str, issuer: &Issuer) -> anyhow::Result<Self> {
        const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
        let issuer = issuer.clone();
        let server = Server::start(address, move |asked| {
            if asked.header("metadata-flavor") != Some("Google") {
                return Err(Refusal(StatusCode::FORBIDDEN, "MissingMetadataFlavor"));
            }
            let not_found = Refusal(StatusCode::NOT_FOUND, "NotFound");
            if asked.head.uri.path() != TOKEN {
                return Err(not_found);
            }
            let token = issuer.issue().ok_or(not_found)?.token;
            let document = serde_json::json!({
                "access_token": token,
                "expires_in": VALID,
                "token_type": "Bearer",
            });
            Ok(plain(&document.to_string()))
        })?;
        Ok(Self(server))
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.0.address
    }
}
