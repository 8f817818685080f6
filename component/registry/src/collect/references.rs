//! What a manifest refers to, whatever its media type.

use roadstead_oci::{Algorithm, Digest};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a manifest refers to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct References {
    /// Every digest that it has, except that of its subject: the subject need not
    /// exist, and does not live by those that refer to it. With the size in bytes, where
    /// the manifest says it.
    pub(crate) content: BTreeMap<Digest, Option<u64>>,
    /// Those of them that are manifests.
    pub(super) manifests: BTreeSet<Digest>,
    /// The manifest that this one is about.
    pub(super) subject: Option<Digest>,
}

impl References {
    /// Reads a manifest of any media type. All texts count that are digests, wherever
    /// they stand: what is kept in vain does no harm. In one that is not JSON, or is
    /// nested too deeply to read, whatever looks like a digest counts, as content and
    /// as a manifest.
    pub(crate) fn of(manifest: &[u8]) -> Self {
        let mut found = Self::default();
        let mut reader = serde_json::Deserializer::from_slice(manifest);
        let walk = Walk { found: &mut found, place: Place::Top };
        if walk.deserialize(&mut reader).and_then(|_| reader.end()).is_err() {
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
                    self.content.entry(digest).or_default();
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

/// What a value turned out to be.
enum Seen {
    /// A digest, or an object with one as its `digest`.
    Digest(Digest),
    Number(u64),
    Other,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Seen;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
        Ok(Seen::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        let Ok(digest) = Digest::parse(text) else { return Ok(Seen::Other) };
        if self.place == Place::Manifests {
            self.found.manifests.insert(digest.clone());
        }
        self.found.content.entry(digest.clone()).or_default();
        Ok(Seen::Digest(digest))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Seen, A::Error> {
        if self.place == Place::Top {
            return Err(A::Error::custom("a manifest is an object"));
        }
        while list.next_element_seed(Walk { found: self.found, place: self.place })?.is_some() {}
        Ok(Seen::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let (mut digest, mut size) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            let place = match (self.place, name.as_str()) {
                (Place::Top, "subject") => {
                    let found = &mut References::default();
                    let seen = map.next_value_seed(Walk { found, place: Place::Elsewhere })?;
                    if let Seen::Digest(subject) = seen {
                        self.found.subject = Some(subject);
                    }
                    continue;
                }
                (_, "manifests") => Place::Manifests,
                (Place::Top, _) => Place::Elsewhere,
                (place, _) => place,
            };
            let seen = map.next_value_seed(Walk { found: self.found, place })?;
            match (name.as_str(), seen) {
                ("digest", Seen::Digest(named)) => digest = Some(named),
                ("size", Seen::Number(number)) => size = Some(number),
                _ => {}
            }
        }
        let Some(digest) = digest else { return Ok(Seen::Other) };
        if let Some(size) = size {
            self.found.content.insert(digest.clone(), Some(size));
        }
        Ok(Seen::Digest(digest))
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
        (digits(found.content.keys()), digits(found.manifests.iter()))
    }

    fn digits<'a>(digests: impl Iterator<Item = &'a Digest>) -> String {
        digests.filter_map(|digest| digest.encoded().chars().next()).collect()
    }

    #[test]
    fn sizes_and_subjects() {
        let [a, b, c] = ['a', 'b', 'c'].map(digest);
        for (manifest, size, subject) in [
            (format!(r#"{{"config":{{"digest":"{a}","size":7}}}}"#), Some(7), ""),
            (
                format!(r#"{{"layers":[{{"size":7,"x":{{"size":1}},"digest":"{a}"}}]}}"#),
                Some(7),
                "",
            ),
            (format!(r#"{{"layers":[{{"digest":"{a}","size":-7}}]}}"#), None, ""),
            (format!(r#"{{"layers":[{{"blobSum":"{a}","size":7}}]}}"#), None, ""),
            (format!(r#"{{"size":7,"layers":["{a}"]}}"#), None, ""),
            (
                format!(
                    r#"{{"x":"{a}","subject":{{"size":1,"digest":"{b}","annotations":{{"y":"{c}"}}}}}}"#
                ),
                None,
                "b",
            ),
            (format!(r#"{{"x":"{a}","subject":"{b}"}}"#), None, "b"),
            (format!(r#"{{"x":"{a}","y":{{"subject":{{"digest":"{b}"}}}}}}"#), None, ""),
            (format!(r#"{{"x":"{a}","subject":{{"size":1}}}}"#), None, ""),
        ] {
            let found = References::of(manifest.as_bytes());
            let first = Digest::parse(&a).unwrap();
            assert_eq!(found.content[&first], size, "{manifest}");
            assert_eq!(digits(found.subject.iter()), subject, "{manifest}");
        }
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
