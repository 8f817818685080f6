//! The parts of a manifest, and errors in its JSON.

use serde_json::{Value, json};

use super::super::media_type::{DOCKER_FOREIGN_LAYER, OCI_IMAGE_MANIFEST};
use super::super::{InvalidManifest, Manifest, MediaType};
use super::samples::{OTHER, descriptor, digits, image, index, media_type, parse, with};

#[test]
fn json_faults_have_a_place() {
    let place = |result| match result {
        Err(InvalidManifest::Json { line, column, .. }) => Some((line, column)),
        _ => None,
    };
    for (bytes, expected) in [
        (&b""[..], (1, 0)),
        (b"{", (1, 1)),
        (b"[]", (1, 0)),
        (b"null", (1, 4)),
        (b"{}\n x", (2, 2)),
        (b"{\n\"a\": \"b\xff\"}", (2, 8)),
        (b"\xff", (1, 1)),
        (b"\xef\xbb\xbf{}", (1, 1)),
        (b"{\"mediaType\": 1}", (1, 15)),
        (b"{\"subject\": 1}", (1, 13)),
        (b"{\"annotations\": {},\"annotations\": {}}", (1, 32)),
        (b"{\"subject\": null,\"subject\": null}", (1, 26)),
    ] {
        let header = media_type(OTHER);
        let found = place(Manifest::parse(bytes, Some(&header)));
        assert_eq!(found, Some(expected), "{}", String::from_utf8_lossy(bytes));
    }
    for key in ["config", "layers", "manifests", "schemaVersion"] {
        let json = format!("{{\"{key}\": null, \"{key}\": null}}");
        assert!(place(parse(&json, None)).is_some(), "{json}");
    }
}

#[test]
fn messages_are_short_and_placed() {
    let json = json!({ "subject": "x".repeat(100_000) }).to_string();
    let message = parse(&json, Some(OTHER)).map_err(|error| error.to_string());
    assert!(message.is_err_and(|m| m.len() < 400 && m.ends_with("(line 1, column 100013)")));
    let message = parse("{", None).map_err(|error| error.to_string());
    let expected = "manifest cannot be read: EOF while parsing an object (line 1, column 1)";
    assert_eq!(message, Err(expected.to_owned()));
}

#[test]
fn the_parts_are_read() {
    let subject = descriptor('5', OCI_IMAGE_MANIFEST);
    for (json, header) in [(image(), None), (index(), None), (json!({}), Some(OTHER))] {
        let json = with(json, "subject", subject.clone());
        let json = with(json, "annotations", json!({"k": "v"}));
        let json = with(json, "artifactType", json!("a/t"));
        let manifest = parse(&json.to_string(), header);
        assert!(manifest.is_ok_and(|manifest| {
            digits(manifest.subject().into_iter()) == "5"
                && manifest.annotations().get("k").is_some_and(|v| v == "v")
                && manifest.artifact_type() == Some(&media_type("a/t"))
                && manifest.effective_artifact_type() == Some(&media_type("a/t"))
        }));
    }
    for (json, expected) in [
        (image(), Some("a/config")),
        (with(image(), "artifactType", json!("")), Some("a/config")),
        (with(image(), "artifactType", Value::Null), Some("a/config")),
        (index(), None),
    ] {
        let manifest = parse(&json.to_string(), None);
        let types = manifest.as_ref().map(|manifest| {
            let effective = manifest.effective_artifact_type().map(MediaType::as_str);
            (manifest.artifact_type(), effective)
        });
        assert_eq!(types, Ok((None, expected)), "{json}");
    }
}

#[test]
fn blobs_and_children() {
    let elsewhere = with(descriptor('3', "a/b"), "urls", json!(["https://example.com/"]));
    let layers = json!([
        descriptor('1', "a/b"),
        descriptor('2', DOCKER_FOREIGN_LAYER),
        elsewhere,
        descriptor('4', "a/b"),
    ]);
    let manifests = json!([descriptor('7', "a/b"), descriptor('8', "a/b")]);
    for (json, header, blobs, children) in [
        (with(image(), "layers", layers), None, "c14", ""),
        (with(index(), "manifests", manifests), None, "", "78"),
        (image(), Some(OTHER), "", ""),
    ] {
        let manifest = parse(&json.to_string(), header);
        let found = manifest.map(|m| (digits(m.blobs()), digits(m.children())));
        assert_eq!(found, Ok((blobs.to_owned(), children.to_owned())), "{json}");
    }
}

#[test]
fn limits_hold_at_the_boundary() {
    let pad = |size: usize| format!("{{}}{}", " ".repeat(size - 2));
    assert!(parse(&pad(Manifest::MAX_SIZE), Some(OTHER)).is_ok());
    let size = Manifest::MAX_SIZE + 1;
    assert_eq!(parse(&pad(size), Some(OTHER)), Err(InvalidManifest::TooLarge { size }));
    let parsed = |layers, subject| {
        let list: Vec<Value> = (0..layers).map(|_| descriptor('1', "a/b")).collect();
        let json = with(image(), "layers", json!(list));
        parse(&with(json, "subject", subject).to_string(), None)
    };
    let (most, subject) = (Manifest::MAX_DESCRIPTORS, descriptor('5', "a/b"));
    let error = InvalidManifest::TooManyDescriptors { count: most + 1 };
    assert!(parsed(most - 1, Value::Null).is_ok());
    assert_eq!(parsed(most, Value::Null), Err(error.clone()));
    assert!(parsed(most - 2, subject.clone()).is_ok());
    assert_eq!(parsed(most - 1, subject), Err(error));
}

#[test]
fn annotations_are_limited() {
    let parsed = |annotations: &Value| {
        let json = with(image(), "annotations", annotations.clone()).to_string();
        let stored = Manifest::parse_stored(json.as_bytes(), None);
        let kept = stored.map(|stored| stored.annotations().len());
        (parse(&json, None).map(|manifest| manifest.annotations().len()), kept)
    };
    let number = |count: usize| (0..count).map(|i| (i.to_string(), json!(""))).collect::<Value>();
    let most = Manifest::MAX_ANNOTATIONS;
    assert_eq!(parsed(&number(most)), (Ok(most), Ok(most)));
    let error = InvalidManifest::TooManyAnnotations { count: most + 1 };
    assert!(error.to_string().contains("at most 4096"), "{error}");
    assert_eq!(parsed(&number(most + 1)), (Err(error), Ok(most)));
}

/// What is not kept is not limited either: of descriptors, the registry needs
/// little.
#[test]
fn annotations_and_urls_of_descriptors_are_not_kept() {
    let tiny = (0..200_000).map(|i| (i.to_string(), json!(""))).collect::<Value>();
    let urls = json!(vec![""; 200_000]);
    let layer = with(descriptor('1', "a/layer"), "annotations", tiny);
    let foreign = with(descriptor('2', "a/layer"), "urls", urls);
    let json = with(image(), "layers", json!([layer, foreign]));
    let manifest = parse(&json.to_string(), None);
    assert_eq!(manifest.map(|manifest| digits(manifest.blobs())), Ok("c1".to_owned()));
    for (key, wrong) in [
        ("annotations", json!({ "a": 1 })),
        ("annotations", json!([])),
        ("artifactType", json!("text")),
        ("urls", json!([1])),
        ("urls", json!("a")),
        ("size", json!(-1)),
    ] {
        let layers = json!([with(descriptor('1', "a/layer"), key, wrong)]);
        let json = with(image(), "layers", layers).to_string();
        assert!(matches!(parse(&json, None), Err(InvalidManifest::Json { .. })), "{json}");
    }
}

/// A manifest that an earlier version accepted is found and deleted like any
/// other.
#[test]
fn stored_manifests_have_any_media_type_and_number() {
    let html = r#"{"subject":null}"#;
    let media_type = media_type("text/html");
    let pushed = Manifest::parse(html.as_bytes(), Some(&media_type));
    assert_eq!(pushed, Err(InvalidManifest::NotJson { media_type: media_type.clone() }));
    let stored = Manifest::parse_stored(html.as_bytes(), Some(&media_type));
    assert!(stored.is_ok_and(|stored| *stored.media_type() == media_type));
    let list: Vec<Value> =
        (0..=Manifest::MAX_DESCRIPTORS).map(|_| descriptor('1', "a/b")).collect();
    let json = with(with(index(), "manifests", json!(list)), "subject", descriptor('5', "a/b"));
    let stored = Manifest::parse_stored(json.to_string().as_bytes(), None);
    assert!(stored.is_ok_and(|stored| {
        stored.children().count() == Manifest::MAX_DESCRIPTORS && stored.subject().is_some()
    }));
    // What is damaged stays an error.
    assert!(Manifest::parse_stored(b"{", Some(&media_type)).is_err());
}

#[test]
fn nesting_neither_recurses_nor_passes_unclosed() {
    let depth = 1_000_000;
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    for key in ["x", "subject", "annotations", "mediaType", "artifactType"] {
        let unclosed = format!("{{\"{key}\":{open}");
        assert!(parse(&unclosed, Some(OTHER)).is_err(), "{key}");
    }
    let nested = format!("{{\"x\":{open}{close}}}");
    assert!(parse(&nested, Some(OTHER)).is_ok());
}
