//! A stand-in for Azure Blob Storage that takes bearer tokens, and the URLs that are
//! signed with a user delegation key.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

use super::{BUCKET, Issuer, check_bearer};
use crate::stand_in::{Answer, Asked, Refusal, Server, State, empty, xml};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

const ACCOUNT: &str = "acme";

/// The identity of the user delegation key.
const OWNER: &str = "0b1f6471-1bf0-4dda-aec3-111122223333";

const INVALID: Refusal = Refusal(StatusCode::BAD_REQUEST, "InvalidInput");

/// The server.
#[derive(Debug)]
pub struct AzureBlobs(Server);

#[derive(Default)]
struct Container {
    state: State,
    /// Blocks by the blob and their identifier.
    blocks: BTreeMap<(String, String), Bytes>,
}

impl AzureBlobs {
    /// Starts it.
    pub fn start(issuer: &Issuer) -> anyhow::Result<Self> {
        let (issuer, container) = (issuer.clone(), Arc::new(Mutex::new(Container::default())));
        let server = Server::start("127.0.0.1:0", move |asked| {
            if asked.place.is_empty() {
                return Err(INVALID);
            }
            // A client's URL is not verified, but whose key it names.
            let signed = asked.get("skoid") == OWNER && asked.has("sig") && asked.has("se");
            if !(signed && asked.head.method == Method::GET) {
                check_bearer(&issuer, asked)?;
            }
            container.lock().unwrap_or_else(PoisonError::into_inner).answer(asked)
        })?;
        Ok(Self(server))
    }

    /// The settings of a registry with its data in it, without a key.
    pub fn settings(&self) -> Vec<(String, String)> {
        let url = format!("http://{}/{ACCOUNT}", self.0.address);
        [("CONTAINER", BUCKET), ("ACCOUNTNAME", ACCOUNT), ("SERVICEURL", &url)]
            .map(|(name, value)| (format!("REGISTRY_STORAGE_AZURE_{name}"), value.to_owned()))
            .into()
    }
}

impl Container {
    fn answer(&mut self, asked: &Asked) -> Answer {
        match (&asked.head.method, asked.get("comp")) {
            (&Method::POST, "userdelegationkey") => Ok(xml(&delegation_key(asked))),
            (&Method::GET, "list") => Ok(xml(&self.list(asked))),
            (&Method::PUT, "block") => {
                let place = (asked.place.clone(), asked.get("blockid").to_owned());
                self.blocks.insert(place, asked.body.clone());
                Ok(empty(StatusCode::CREATED))
            }
            (&Method::PUT, "blocklist") => {
                let text = String::from_utf8_lossy(&asked.body).into_owned();
                let mut bytes = Vec::new();
                for item in text.split("</").filter_map(|item| item.rsplit_once('>')) {
                    let Some(block) = self.blocks.get(&(asked.place.clone(), item.1.to_owned()))
                    else {
                        continue;
                    };
                    bytes.extend_from_slice(block);
                }
                let whole = Asked { body: bytes.into(), ..asked.clone() };
                self.state.put(&whole).map(|answer| created(answer, StatusCode::CREATED))
            }
            (&Method::PUT, "") if asked.header("x-ms-copy-source").is_some() => {
                let source = asked.header("x-ms-copy-source").unwrap_or_default();
                let source: http::Uri = source.parse().map_err(|_| INVALID)?;
                let mut copy = asked.clone();
                let source = HeaderValue::from_str(source.path()).map_err(|_| INVALID)?;
                copy.head.headers.insert("x-goog-copy-source", source);
                let answer = self.state.put(&copy)?;
                let mut answer = created(answer, StatusCode::ACCEPTED);
                let done = HeaderValue::from_static("success");
                answer.headers_mut().insert("x-ms-copy-status", done);
                Ok(answer)
            }
            (&Method::PUT, "") => {
                if asked.header("x-ms-blob-type") != Some("BlockBlob") {
                    return Err(INVALID);
                }
                self.state.put(asked).map(|answer| created(answer, StatusCode::CREATED))
            }
            (&Method::DELETE, "") => {
                self.state.answer(asked).map(|answer| created(answer, StatusCode::ACCEPTED))
            }
            (&Method::GET | &Method::HEAD, "") => self.state.answer(asked),
            _ => Err(INVALID),
        }
    }

    /// All on one page: directories, and blobs.
    fn list(&self, asked: &Asked) -> String {
        let (prefix, delimiter) = (asked.get("prefix"), asked.get("delimiter"));
        let from = asked.get("startFrom");
        let (mut blobs, mut directories) = (String::new(), std::collections::BTreeSet::new());
        for (key, size, e_tag, modified) in self.state.all(&format!("{}/", asked.place)) {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            if key.as_str() < from {
                continue;
            }
            if let Some(at) = rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                directories.insert(key[..prefix.len() + at + delimiter.len()].to_owned());
                continue;
            }
            let modified = httpdate::fmt_http_date(modified);
            let _ = write!(
                blobs,
                "<Blob><Name>{key}</Name><Properties><Last-Modified>{modified}</Last-Modified>\
                 <Etag>{e_tag}</Etag><Content-Length>{size}</Content-Length>\
                 <Content-Type>application/octet-stream</Content-Type></Properties></Blob>"
            );
        }
        let mut prefixes = String::new();
        for name in &directories {
            let _ = write!(prefixes, "<BlobPrefix><Name>{name}</Name></BlobPrefix>");
        }
        format!(
            "<EnumerationResults><Prefix>{prefix}</Prefix><Blobs>{blobs}{prefixes}</Blobs>\
             <NextMarker></NextMarker></EnumerationResults>"
        )
    }
}

fn created(
    mut answer: http::Response<http_body_util::Full<Bytes>>,
    status: StatusCode,
) -> http::Response<http_body_util::Full<Bytes>> {
    *answer.status_mut() = status;
    answer
}

/// A key for signing URLs, for the time that was asked for.
/// <https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key>
fn delegation_key(asked: &Asked) -> String {
    let text = String::from_utf8_lossy(&asked.body).into_owned();
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_default();
        rest.split('<').next().unwrap_or_default().to_owned()
    };
    format!(
        "<UserDelegationKey><SignedOid>{OWNER}</SignedOid><SignedTid>tenant</SignedTid>\
         <SignedStart>{}</SignedStart><SignedExpiry>{}</SignedExpiry><SignedService>b</SignedService>\
         <SignedVersion>2020-12-06</SignedVersion><Value>{}</Value></UserDelegationKey>",
        field("Start"),
        field("Expiry"),
        STANDARD.encode("tell-nobody.delegated")
    )
}
