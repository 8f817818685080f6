//! What a manifest refers to, whatever its media type.

use roadstead_oci::{Algorithm, Digest};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// What a manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct References {
    /// Every digest that it has, except that of its subject: the subject need not
    /// exist, and does not live by those that refer to it.
    pub(super) content: BTreeSet<Digest>,
    /// Those of them that are manifests.
    pub(super) manifests: BTreeSet<Digest>,
}

impl References {
    /// Reads a manifest of any media type. All texts count that are digests, wherever
    /// they stand: what is kept in vain does no harm. In one that is not JSON, or is
    /// nested too deeply to read, whatever looks like a digest counts, as content and
    /// as a manifest.
    pub(super) fn of(manifest: &[u8]) -> Self {
        let mut found = Self::default();
        let mut reader = serde_json::Deserializer::from_slice(manifest);
        let walk = Walk { found: &mut found, place: Place::Top };
        if walk.deserialize(&mut reader).and_then(|()| reader.end()).is_err() {
            found.scan(manifest);
        }
        found
    }

    fn scan(&mut self, bytes: &[u8]) {
        for algorithm in Algorithm::ALL {
            let prefix = format!("{algorithm}:");
            let length = prefix.len() + algorithm.hex_length();
            for candidate in bytes.windows(length) {
                if candidate.starts_with(prefix.as_bytes())
                    && let Ok(text) = std::str::from_utf8(candidate)
                    && let Ok(digest) = Digest::parse(text)
                {
                    self.manifests.insert(digest.clone());
                    self.content.insert(digest);
                }
            }
        }
    }
}

/// Where in the document a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the document.
    Top,
    /// Below a property `manifests`.
    Manifests,
    Elsewhere,
}

struct Walk<'a> {
    found: &'a mut References,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if let Ok(digest) = Digest::parse(text) {
            if self.place == Place::Manifests {
                self.found.manifests.insert(digest.clone());
            }
            self.found.content.insert(digest);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.place == Place::Top {
            return Err(A::Error::custom("a manifest is an object"));
        }
        while list.next_element_seed(Walk { found: self.found, place: self.place })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let place = match (self.place, name.as_str()) {
                (Place::Top, "subject") => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (_, "manifests") => Place::Manifests,
                (Place::Top, _) => Place::Elsewhere,
                (place, _) => place,
            };
            map.next_value_seed(Walk { found: self.found, place })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::References;
    use roadstead_oci::Digest;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn of(manifest: &str) -> (String, String) {
        let found = References::of(manifest.as_bytes());
        let digits = |digests: std::collections::BTreeSet<Digest>| {
            digests.iter().filter_map(|digest| digest.encoded().chars().next()).collect()
        };
        (digits(found.content), digits(found.manifests))
    }

    #[test]
    fn references_of_every_media_type() {
        let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(digest);
        for (manifest, content, manifests) in [
            (format!(r#"{{"config":{{"digest":"{a}"}},"layers":[{{"digest":"{b}"}}]}}"#), "ab", ""),
            (
                format!(r#"{{"manifests":[{{"digest":"{a}","size":1}},{{"digest":"{b}"}}]}}"#),
                "ab",
                "ab",
            ),
            // A subject does not count, and what is called so elsewhere does.
            (format!(r#"{{"subject":{{"digest":"{a}"}},"x":{{"subject":"{b}"}}}}"#), "b", ""),
            // Docker's first schema, and types that nobody knows.
            (format!(r#"{{"fsLayers":[{{"blobSum":"{a}"}},{{"blobSum":"{b}"}}]}}"#), "ab", ""),
            (format!(r#"{{"a":[[{{"b":"{a}"}}],null,true,1.5,-1,"{b}"],"{c}":{{}}}}"#), "ab", ""),
            (format!(r#"{{"a":"sha256\u003a{}"}}"#, "a".repeat(64)), "a", ""),
            (r#"{"a":"sha256:1","b":"md5:11"}"#.to_owned(), "", ""),
            // What is no JSON object.
            (format!("digest: {a}\nother: {b}{c}"), "abc", "abc"),
            (format!(r#"["{a}"]"#), "a", "a"),
            (format!(r#"{{"a":"{a}"}} {d}"#), "ad", "ad"),
            (format!("{}\"{a}\"", "{\"a\":".repeat(200)), "a", "a"),
            (String::new(), "", ""),
        ] {
            assert_eq!(of(&manifest), (content.to_owned(), manifests.to_owned()), "{manifest}");
        }
    }
}
