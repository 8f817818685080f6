//! Parsers: what they accept is printed and parsed again to the same.

use http::{HeaderMap, HeaderValue, Method, Uri};
use roadstead_access::htpasswd::Htpasswd;
use roadstead_access::{Access, Action, Answer, Authority, Keys, Question, Rules, Subject};
use roadstead_archive::{PrivateKey, PublicKey};
use roadstead_bridge::cache::Directive;
use roadstead_bridge::storage::{Operation, Reply, Transfer};
use roadstead_bridge::{Services, log};
use roadstead_config::{Config, Given, Settings, Step};
use roadstead_directory::Directory;
use roadstead_oci::conditional::{if_none_match, if_range};
use roadstead_oci::{
    ByteRange, ContentRange, Digest, Manifest, MediaType, PageSize, Reference, RepositoryName, Tag,
    UploadId,
};
use roadstead_registry::Route;
use roadstead_storage::{Key, StorageError};
use std::sync::Arc;
use std::time::SystemTime;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

pub(crate) fn names(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(name) = RepositoryName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains("..") && !text.starts_with('/'));
    }
    if let Ok(tag) = Tag::parse(text) {
        assert_eq!(tag.as_str(), text);
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.as_str(), text);
    }
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(reference.as_str(), text);
    }
    if let Ok(media_type) = MediaType::parse(text) {
        assert_eq!(MediaType::parse(media_type.as_str()), Ok(media_type));
    }
    let _ = UploadId::parse(text);
    if let Ok(key) = Key::parse(text) {
        assert_eq!(key.to_string(), text);
        let _ = (key.companion(), key.is_durable(), key.value_limit());
    }
}

pub(crate) fn ranges(data: &[u8]) {
    let Some((size, header)) = data.split_first_chunk::<8>() else { return };
    let size = u64::from_le_bytes(*size);
    let Some(header) = text(header) else { return };
    if let Some(range) = ByteRange::parse(header)
        && let Some(part) = range.resolve(size)
    {
        assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
    }
    if let Ok(range) = ContentRange::parse(header) {
        let _ = format!("{range:?}");
    }
    let _ = PageSize::parse(Some(header));
    let etag = "\"sha256:00\"";
    let _ = (if_none_match(header, etag), if_range(header, etag));
}

pub(crate) fn manifests(data: &[u8]) {
    let types = [
        None,
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.oci.image.index.v1+json"),
        Some("application/vnd.docker.distribution.manifest.v2+json"),
        Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
        Some("a/b"),
    ];
    let Some((first, bytes)) = data.split_first() else { return };
    let media_type = types[usize::from(*first) % types.len()].map(MediaType::parse);
    let media_type = media_type.transpose().unwrap_or_default();
    match Manifest::parse(bytes, media_type.as_ref()) {
        Ok(manifest) => {
            let _ = (manifest.blobs().count(), manifest.children().count());
            let again = Manifest::parse(bytes, Some(manifest.media_type()));
            assert!(again.is_ok(), "{:?} as its own type: {again:?}", manifest.media_type());
        }
        Err(error) => assert!(error.to_string().len() < 2_000, "{error}"),
    }
}

pub(crate) fn routes(data: &[u8]) {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let Some((first, path)) = data.split_first() else { return };
    let Ok(uri) = Uri::try_from(path) else { return };
    if uri.path().is_empty() {
        return;
    }
    let method = &methods[usize::from(*first) % methods.len()];
    if let Ok(route) = Route::parse(method, &uri) {
        let _ = route.class();
        let printed = route.path();
        let again = printed.parse().map(|uri| Route::parse(method, &uri));
        assert!(matches!(&again, Ok(Ok(again)) if again.path() == printed), "{again:?}");
    }
}

pub(crate) fn scopes(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let all = Access::parse_all(text);
    for access in &all {
        assert!(!access.kind.is_empty() && !access.name.is_empty(), "{access:?}");
        let _ = Access::allows(&all, &access.kind, &access.name, "pull");
    }
}

pub(crate) fn htpasswd(data: &[u8]) {
    // Comparing passwords takes long, by design.
    let Some(text) = text(data) else { return };
    if let Ok(users) = Htpasswd::parse(text) {
        assert!(users.len() <= text.lines().count());
        for line in text.lines() {
            if let Some((name, _)) = line.split_once(':')
                && let Some(hash) = users.hash_of(name)
            {
                assert!(hash.starts_with("$2"), "{hash}");
            }
        }
    }
}

pub(crate) fn rules(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(rules) = Rules::parse(text) else { return };
    let subject = Subject::default();
    for repository in ["a", "a/b", "team/app"] {
        let pull = rules.permit(&subject, Action::Pull, repository);
        assert!(!pull || rules.allow_anonymous());
    }
    let _ = rules.permit_any(&subject, Action::Push);
}

pub(crate) fn keys(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(mut keys) = Keys::new(&[]) else { return };
    let _ = keys.add_jwks(text);
    let _ = keys.add_certificates(text);
    if let Ok(key) = PublicKey::parse(text) {
        assert_eq!(PublicKey::parse(&key.to_pem()).as_ref(), Ok(&key));
        assert_eq!(key.fingerprint().len(), 64);
        // It is the signature of nothing.
        assert!(key.verify(data, data).is_err());
    }
    if let Ok(key) = PrivateKey::parse(text) {
        let (public_key, signature) = (key.public_key(), key.sign(data));
        assert_eq!(public_key.verify(data, &signature), Ok(()));
        assert!(public_key.verify(&signature, &signature).is_err());
        let again = PrivateKey::parse(&key.to_pem());
        assert!(again.is_ok_and(|again| again.public_key() == public_key));
    }
}

/// Whatever is no token of ours is none: the input is never signed.
pub(crate) fn tokens(data: &[u8]) {
    thread_local! {
        static AUTHORITY: Authority = authority();
    }
    let Some(text) = text(data) else { return };
    let token = text.to_owned();
    for question in [Question::Bearer { token: token.clone() }, Question::Refresh { token }] {
        let answer = AUTHORITY.with(|authority| authority.answer(&question, SystemTime::now()));
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }
}

/// One that issues tokens.
fn authority() -> Authority {
    let opened = with_tokens(|settings| {
        let owned = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::from_variables(owned).map_err(|error| error.to_string())?;
        Authority::open(config.auth, true)
    });
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// The settings of a registry that issues tokens to a user.
pub(crate) fn with_tokens<T>(with: impl FnOnce(&[(&str, &str)]) -> T) -> T {
    // It is read when the authority is opened.
    let file = tempfile::NamedTempFile::new().unwrap_or_else(|error| panic!("{error}"));
    let users = "alice:$2y$04$aPUJ6PfPZtEBWLW2SQbOwujk2WbUdka3xms7DNMBvGOEXM.2iBrm6\n";
    std::fs::write(file.path(), users).unwrap_or_else(|error| panic!("{error}"));
    let path = file.path().to_string_lossy();
    with(&[
        ("REGISTRY_AUTH", "token"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", &path),
        ("REGISTRY_HTTP_SECRET", "the secret of the fuzz targets"),
    ])
}

/// Lines `NAME=value` are variables, lines `key.path: value` those of a file.
pub(crate) fn settings(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let file = Arc::from("config.yml");
    let given = text.lines().filter_map(|line| {
        if let Some((name, value)) = line.split_once('=') {
            return Some(Given::variable(name, value));
        }
        let (path, value) = line.split_once(':')?;
        let steps = path.split('.').map(|step| match step.parse() {
            Ok(index) => Step::Item(index),
            Err(_) => Step::Key(step.to_owned()),
        });
        let value = value.trim_start();
        let value = (!value.is_empty()).then(|| value.to_owned());
        Some(Given::key(&file, steps.collect(), value))
    });
    let settings = Settings::gather(given);
    if let Ok(config) = settings.config() {
        let _ = format!("{config:?}");
        // The component understands what it is told.
        let told = Config::from_variables(settings.for_component());
        assert!(told.is_ok(), "{told:?}");
    }
}

/// Messages between host and component, and operations on an empty directory.
pub(crate) fn bridge(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(value) = HeaderValue::from_str(text) {
        let mut headers = HeaderMap::new();
        for name in ["surrogate-control", "surrogate-key", "surrogate-purge", "surrogate-grant"] {
            headers.insert(name, value.clone());
        }
        let _ = Directive::take(&mut headers);
        assert!(headers.is_empty());
    }
    let _ = log::parse(text);
    let _ = Services::from_variables([("ROADSTEAD_HOST_SERVICES".to_owned(), text.to_owned())]);
    let _ = serde_json::from_str::<Result<Reply, StorageError>>(text);
    let _ = serde_json::from_str::<Transfer>(text);
    let Ok(operation) = serde_json::from_str::<Operation>(text) else { return };
    let printed = serde_json::to_string(&operation).unwrap_or_default();
    let again = serde_json::from_str::<Operation>(&printed);
    assert!(again.is_ok_and(|again| again == operation), "{printed}");
    let root = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let inside = root.path().join("inside");
    let directory = Directory::open(&inside).unwrap_or_else(|error| panic!("{error}"));
    let _ = directory.fetch(&operation);
    let outside = std::fs::read_dir(root.path()).map(Iterator::count).unwrap_or_default();
    assert_eq!(outside, 1, "{operation:?}");
}
