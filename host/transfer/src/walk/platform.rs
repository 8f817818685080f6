//! Platforms: which images of an index are chosen.

use roadstead_oci::Digest;
pub(crate) use roadstead_operator::platform::Platform;
use serde_json::Value;

/// What is chosen of an index.
pub(super) enum Chosen {
    /// All of it: nothing was left out.
    All,
    /// One image.
    One(Digest),
    /// Several: the index without the others.
    Some(Vec<u8>),
}

/// That of this machine's containers.
pub(crate) fn of_this_machine() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
}

/// The first image of an index that is for a platform.
pub(crate) fn image_of(platform: &Platform, index: &[u8]) -> Option<Digest> {
    let index: Value = serde_json::from_slice(index).ok()?;
    let mut listed = index["manifests"].as_array()?.iter();
    let own = listed.find(|entry| means(platform, entry))?;
    Digest::parse(own["digest"].as_str()?).ok()
}

/// Whether an entry of an index is for a platform.
fn means(platform: &Platform, entry: &Value) -> bool {
    Platform::read(&entry["platform"]).is_some_and(|it| platform.means(&it))
}

/// Chooses images of an index by their platforms, and the attestations of these.
///
/// # Errors
/// When none is of these platforms.
pub(super) fn choose(index: &[u8], platforms: &[Platform]) -> Result<Chosen, String> {
    let mut index: Value = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    let all = index["manifests"].as_array().cloned().unwrap_or_default();
    let meant = |entry: &&Value| platforms.iter().any(|it| means(it, entry));
    let chosen: Vec<Value> = all.iter().filter(meant).cloned().collect();
    if chosen.is_empty() {
        let wanted: Vec<_> = platforms.iter().map(ToString::to_string).collect();
        return Err(format!("no image of it is for {}", wanted.join(" or ")));
    }
    let digest = |entry: &Value| entry["digest"].as_str().map(str::to_owned);
    let attests = |entry: &&Value| {
        let of = entry["annotations"]["vnd.docker.reference.digest"].as_str();
        of.is_some() && chosen.iter().any(|it| digest(it).as_deref() == of)
    };
    let attestations: Vec<_> = all.iter().filter(attests).cloned().collect();
    if chosen.len() + attestations.len() == all.len() {
        return Ok(Chosen::All);
    }
    if let ([only], true) = (&chosen[..], attestations.is_empty()) {
        let text = digest(only).unwrap_or_default();
        return Digest::parse(&text).map(Chosen::One).map_err(|error| error.to_string());
    }
    index["manifests"] = chosen.into_iter().chain(attestations).collect();
    serde_json::to_vec(&index).map(Chosen::Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Chosen, Platform, choose};
    use serde_json::{Value, json};

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn entry(digit: char, os: &str, architecture: &str, variant: Option<&str>) -> Value {
        let mut platform = json!({"os": os, "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        json!({"digest": digest(digit), "size": 1, "platform": platform})
    }

    #[test]
    fn images_are_chosen_by_platform() {
        let mut attestation = entry('d', "unknown", "unknown", None);
        attestation["annotations"] = json!({"vnd.docker.reference.digest": digest('a')});
        let index = json!({"schemaVersion": 2, "manifests": [
            entry('a', "linux", "amd64", None),
            entry('b', "linux", "arm", Some("v6")),
            entry('c', "linux", "arm", Some("v7")),
            attestation,
        ]});
        let index = index.to_string();
        for (platforms, expected) in [
            (&["linux/arm/v7"][..], Some("c")),
            (&["linux/amd64"], Some("ad")),
            (&["linux/arm"], Some("bc")),
            (&["linux/amd64", "linux/arm/v6"], Some("abd")),
            (&["linux/amd64", "linux/arm"], Some("abcd")),
            (&["linux/s390x"], None),
            (&["windows/amd64"], None),
        ] {
            let platforms: Vec<Platform> = platforms.iter().map(|it| it.parse().unwrap()).collect();
            let listed = |index: &[u8]| {
                let index: Value = serde_json::from_slice(index).unwrap();
                let entries = index["manifests"].as_array().unwrap().clone();
                entries.iter().map(|it| it["digest"].as_str().unwrap().to_owned()).collect()
            };
            let chosen: Option<Vec<String>> = match choose(index.as_bytes(), &platforms) {
                Ok(Chosen::All) => Some(listed(index.as_bytes())),
                Ok(Chosen::One(digest)) => Some(vec![digest.to_string()]),
                Ok(Chosen::Some(bytes)) => Some(listed(&bytes)),
                Err(_) => None,
            };
            let expected = expected.map(|digits| digits.chars().map(digest).collect());
            assert_eq!(chosen, expected, "{platforms:?}");
        }
        for text in ["linux", "", "/", "linux/", "linux/arm/v7/x"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
