//! Values of JSON that clients have stored, as far as they are shown.
//!
//! A value of another type than expected is passed over, and of what is long the beginning is
//! kept: a document of 4 MiB may have several hundred thousand texts, each of which takes many
//! times its bytes in memory.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// How many bytes of one text are shown.
///
/// Limit: bytes of one text of a manifest or a config that the page shows; test: `long_values_are_cut`.
pub(super) const TEXT: usize = 64 * 1024;

/// How many entries of one list, or map, are shown.
///
/// Limit: entries of a list of a manifest or a config that the page shows; test: `long_values_are_cut`.
pub(super) const ENTRIES: usize = 1000;

/// Whether a text as it is shown is surely all of what was stored: one that was cut lacks less than
/// a character of the limit.
pub(super) fn is_whole(text: &str) -> bool {
    text.len() + 4 <= TEXT
}

/// A text; `None` for a value of another type.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Text(pub(super) Option<String>);

impl Text {
    /// The text, if it is not empty.
    pub(super) fn said(&self) -> Option<String> {
        self.0.clone().filter(|text| !text.is_empty())
    }
}

/// A list of texts. A single text is a list of one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Texts(pub(super) Vec<String>);

/// A map of texts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct TextMap {
    pub(super) texts: BTreeMap<String, String>,
    /// Whether something was left out.
    pub(super) is_cut: bool,
}

/// The names of a map, whose values say nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Names(pub(super) Vec<String>);

/// A number that is not negative; `None` for a value of another type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Number(pub(super) Option<u64>);

/// Whether a value is `true`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flag(pub(super) bool);

/// A list of objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct List<T> {
    pub(super) kept: Vec<T>,
    /// Whether something was left out.
    pub(super) is_cut: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), is_cut: false }
    }
}

/// The beginning of a text.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default().to_owned()
}

/// What a value is that is one of a few kinds.
enum Value {
    Text(String),
    Texts(Vec<String>),
    Map(TextMap),
    Number(u64),
    Flag(bool),
    Other,
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(u64::try_from(number).map_or(Value::Other, Value::Number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(cut(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut texts = Vec::new();
        while texts.len() < ENTRIES {
            let Some(Text(text)) = list.next_element()? else { return Ok(Value::Texts(texts)) };
            texts.extend(text);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = TextMap::default();
        while let Some(name) = map.next_key::<String>()? {
            if found.texts.len() == ENTRIES {
                map.next_value::<IgnoredAny>()?;
                found.is_cut = true;
                continue;
            }
            let Text(text) = map.next_value()?;
            let text = text.unwrap_or_default();
            found.is_cut |= name.len() > TEXT || !is_whole(&text);
            found.texts.insert(cut(&name), text);
        }
        Ok(Value::Map(found))
    }
}

/// A text, where lists and maps are read without being kept.
struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(cut(text))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(ValueVisitor)? {
            Value::Texts(texts) => Self(texts),
            Value::Text(text) => Self(vec![text]),
            _ => Self::default(),
        })
    }
}

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(ValueVisitor)? {
            Value::Map(map) => map,
            _ => Self::default(),
        })
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(ValueVisitor)? {
            Value::Map(map) => Self(map.texts.into_keys().collect()),
            // As podman wrote them once.
            Value::Texts(texts) => Self(texts),
            _ => Self::default(),
        })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(ValueVisitor)? {
            Value::Number(number) => Self(Some(number)),
            _ => Self(None),
        })
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(matches!(deserializer.deserialize_any(ValueVisitor)?, Value::Flag(true))))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
        let mut found = List::default();
        while found.kept.len() < ENTRIES {
            let Some(element) = list.next_element()? else { return Ok(found) };
            found.kept.push(element);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            found.is_cut = true;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Flag, List, Names, Number, TEXT, Text, TextMap, Texts};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn read<T: DeserializeOwned>(value: &Value) -> T {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn values_of_other_types_are_passed_over() {
        for value in [json!(null), json!(true), json!(-1), json!(1.5), json!([[{"a": []}]])] {
            assert_eq!(read::<Text>(&value), Text(None), "{value}");
            assert_eq!(read::<Texts>(&value), Texts::default(), "{value}");
            assert_eq!(read::<TextMap>(&value), TextMap::default(), "{value}");
            assert_eq!(read::<Names>(&value), Names::default(), "{value}");
            assert_eq!(read::<Number>(&value), Number(None), "{value}");
        }
        assert_eq!(read::<Texts>(&json!("sh")).0, ["sh"]);
        assert_eq!(read::<Texts>(&json!(["a", 1, "b"])).0, ["a", "b"]);
        assert_eq!(read::<Names>(&json!({"80/tcp": {}})).0, ["80/tcp"]);
        assert_eq!(read::<TextMap>(&json!({"a": "<b>", "c": 1})).texts.len(), 2);
        assert_eq!(read::<Number>(&json!(7)), Number(Some(7)));
        assert!(read::<Flag>(&json!(true)).0 && !read::<Flag>(&json!("true")).0);
        assert!(read::<List<Text>>(&json!(null)).kept.is_empty());
    }

    #[test]
    fn long_values_are_cut() {
        let long = "\u{fc}".repeat(TEXT);
        assert_eq!(read::<Text>(&json!(long)).0.unwrap().len(), TEXT);
        let many: Vec<String> = (0..ENTRIES + 7).map(|number| number.to_string()).collect();
        assert_eq!(read::<Texts>(&json!(many)).0.len(), ENTRIES);
        let list = read::<List<Text>>(&json!(many));
        assert!(list.is_cut && list.kept.len() == ENTRIES);
        let map: serde_json::Map<_, _> = many.into_iter().map(|key| (key, json!("x"))).collect();
        let map = read::<TextMap>(&Value::Object(map));
        assert!(map.is_cut && map.texts.len() == ENTRIES);
    }
}
