//! Manifests made of random input.

use serde_json::Value;

use super::super::{Manifest, ManifestKind};
use super::random::{ROUNDS, Random};

#[test]
fn manifests_that_pass_are_of_one_kind() {
    let one =
        r#"{"mediaType":"a/b","digest":"sha256:"#.to_owned() + &"0".repeat(64) + r#"","size":1}"#;
    let (list, oci) = (format!("[{one}]"), "application/vnd.oci.image");
    let (image, index) =
        (format!("\"{oci}.manifest.v1+json\""), format!("\"{oci}.index.v1+json\""));
    let keys = ["config", "layers", "manifests", "schemaVersion", "mediaType", "subject", "Layers"];
    let values =
        ["null", "2", "1", "[]", "{}", "\"application/x+json\"", &one, &list, &image, &index];
    let fitting = [&one, &list, &list, "2", &image, &one, "1"];
    let mut random = Random::new();
    let mut passed = [0; 3];
    for _ in 0..ROUNDS / 2 {
        let mut members = Vec::new();
        for _ in 0..random.below(6) {
            let key = random.below(keys.len());
            let value = match random.below(4) {
                0 => random.one_of(&values),
                _ => fitting[key],
            };
            members.push(format!("\"{}\":{value}", keys[key]));
        }
        let mut text = format!("{{{}}}", members.join(","));
        if random.below(4) == 0 {
            text = random.damaged(&text, &["{", "}", "\"", ",", "0", "\\u", "\u{e9}"]);
        }
        let Ok(manifest) = Manifest::parse(text.as_bytes(), None) else {
            continue;
        };
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let has = |key| json.get(key).is_some_and(|value| !value.is_null());
        let kind = match manifest.kind() {
            ManifestKind::Image { .. } => {
                assert!(has("config") && json.get("manifests").is_none(), "{text}");
                0
            }
            ManifestKind::Index { .. } => {
                assert!(!has("config") && json.get("layers").is_none(), "{text}");
                1
            }
            ManifestKind::Other => {
                let media_type = manifest.media_type();
                assert!(!media_type.is_index() && !media_type.is_image_manifest());
                assert_eq!(json["mediaType"], media_type.as_str());
                2
            }
        };
        assert!(kind == 2 || json["schemaVersion"] == 2, "{text}");
        assert_eq!(manifest.subject().is_some(), has("subject"), "{text}");
        passed[kind] += 1;
    }
    assert!(passed.iter().all(|count| *count > 50), "{passed:?}");
}
