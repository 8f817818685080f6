//! The lines of a configuration file's values. The parser has them in its errors alone, so it
//! is made to fail at each value.

use roadstead_config::{Given, Step};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The most work for which lines are looked up: the bytes of a file times its values.
///
/// Limit: bytes of `config.yml` times its values, up to which lines are shown; test:
/// `large_files_have_no_lines`.
const WORK_LIMIT: usize = 16 * 1024 * 1024;

/// The values with the lines that they have in this text, as far as those are known.
pub(super) fn found(given: Vec<Given>, text: &str) -> Vec<Given> {
    if given.len().saturating_mul(text.len()) > WORK_LIMIT {
        return given;
    }
    let with_line = |given: Given| {
        let line = given.path().and_then(|path| line(path, text));
        given.at_line(line)
    };
    given.into_iter().map(with_line).collect()
}

/// The line of a key, or of an item.
fn line(path: &[Step], text: &str) -> Option<u32> {
    let parser = serde_yaml_ng::Deserializer::from_str(text);
    let location = At(path).deserialize(parser).err()?.location()?;
    u32::try_from(location.line()).ok()
}

/// Fails at the end of a path below what is read.
struct At<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was there before")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let [Step::Key(wanted), rest @ ..] = self.0 else { return Err(A::Error::custom("here")) };
        while let Some(found) = map.next_key_seed(Key { wanted, last: rest.is_empty() })? {
            if found {
                map.next_value_seed(At(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let [Step::Item(wanted), rest @ ..] = self.0 else { return Err(A::Error::custom("here")) };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(At(rest))?;
        Ok(())
    }
}

/// Whether a key is the wanted one; fails if it is the last.
struct Key<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<bool, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, found: &str) -> Result<bool, E> {
        match found == self.wanted {
            true if self.last => Err(E::custom("here")),
            same => Ok(same),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{WORK_LIMIT, found, line};
    use roadstead_config::{Given, Step};
    use std::sync::Arc;

    const FILE: &str = "\
# A comment: not a key
version: 0.1
http:
  # addr: commented out
  addr: :5000
  secret: |
    addr: not a key
    x
  tls: {minimumtls: tls1.3, clientcas: [a.pem,
    b.pem]}
\"auth\":
  rules:
  - alice pull a
  -
    bob pull b
storage:
  delete:
    enabled:
";

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn lines_of_keys_and_items() {
        for (path, expected) in [
            (vec![key("version")], Some(2)),
            (vec![key("http")], Some(3)),
            (vec![key("http"), key("addr")], Some(5)),
            (vec![key("http"), key("secret")], Some(6)),
            (vec![key("http"), key("tls"), key("minimumtls")], Some(9)),
            (vec![key("http"), key("tls"), key("clientcas"), Step::Item(0)], Some(9)),
            (vec![key("http"), key("tls"), key("clientcas"), Step::Item(1)], Some(10)),
            (vec![key("auth"), key("rules"), Step::Item(0)], Some(13)),
            (vec![key("auth"), key("rules"), Step::Item(1)], Some(15)),
            (vec![key("storage"), key("delete"), key("enabled")], Some(18)),
            (vec![key("http"), key("Addr")], None),
            (vec![key("http"), key("host")], None),
            (vec![key("auth"), key("rules"), Step::Item(2)], None),
        ] {
            assert_eq!(line(&path, FILE), expected, "{path:?}");
        }
    }

    #[test]
    fn large_files_have_no_lines() {
        let file = Arc::from("config.yml");
        let given = || vec![Given::key(&file, vec![key("version")], Some("0.1".to_owned()))];
        let line = |text: &str| format!("{:?}", found(given(), text)[0].line());
        assert_eq!(line("version: 0.1"), "Some(1)");
        let long = format!("version: 0.1\n#{}", "x".repeat(WORK_LIMIT));
        assert_eq!(line(&long), "None");
    }
}
