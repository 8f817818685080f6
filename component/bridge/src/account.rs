//! What the component tells the native host for its log, its metrics and its notifications: who sent
//! a request, why it was refused, and what it changed. The host removes it from what clients get.

use crate::change::Change;
use crate::header_json;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

const ACCOUNT: HeaderName = HeaderName::from_static("x-roadstead-account");

/// The longest identifier of a request that a proxy may give it.
///
/// Limit: characters of an identifier of a request; test: `identifiers_of_requests`.
const ID_LIMIT: usize = 128;

/// The identifier of a request: from a trusted proxy or from the host, and in every response.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who sent a request, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// The user, as far as it is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name by which somebody tried to log in, and could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// The specification's code of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it changed, if the host sends notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

impl Account {
    /// Writes it into a response's headers, unless it says nothing.
    pub fn write(&self, headers: &mut HeaderMap) {
        if *self == Self::default() {
            return;
        }
        if let Ok(value) = HeaderValue::from_bytes(&header_json(self)) {
            headers.insert(ACCOUNT, value);
        }
    }

    /// Takes it out of a response's headers.
    pub fn take(headers: &mut HeaderMap) -> Option<Self> {
        serde_json::from_slice(headers.remove(ACCOUNT)?.as_bytes()).ok()
    }
}

/// The identifier of a request, if it has one that can be logged and sent back.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let fits = !id.is_empty() && id.len() <= ID_LIMIT;
    (fits && id.bytes().all(plain)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::{Account, ID_LIMIT, REQUEST_ID, request_id};
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn accounts_arrive() {
        let text = |text: &str| Some(text.to_owned());
        for account in [
            Account { user: text("zo\u{eb}\u{7f}\""), ..Account::default() },
            Account { claimed: text("a"), code: text("UNAUTHORIZED"), ..Account::default() },
        ] {
            let mut headers = HeaderMap::new();
            account.write(&mut headers);
            assert_eq!(Account::take(&mut headers), Some(account));
            assert!(headers.is_empty());
        }
        let mut headers = HeaderMap::new();
        Account::default().write(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn identifiers_of_requests() {
        let (longest, longer) = ("a".repeat(ID_LIMIT), "a".repeat(ID_LIMIT + 1));
        for (text, expected) in [
            ("4bf92f3577b34da6", true),
            ("Root=1-67891233-abcdef012345678912345678", true),
            (&longest, true),
            (&longer, false),
            ("", false),
            ("a b", false),
            ("a\"", false),
            ("\u{e9}", false),
        ] {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(REQUEST_ID, value)]);
            assert_eq!(request_id(&headers), expected.then_some(text), "{text}");
        }
    }
}
