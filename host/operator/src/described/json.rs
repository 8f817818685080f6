//! JSON of registries, of which no more is kept than a limit allows: a few megabytes of text can be
//! millions of values, each of which takes many times its bytes.

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// How many values may still be kept.
#[derive(Debug)]
pub(super) struct Budget {
    values: Cell<usize>,
    /// The most of one array.
    items: usize,
    dropped: Cell<usize>,
}

impl Budget {
    /// So many values, and so many of each array.
    pub(super) fn new(values: usize, items: usize) -> Self {
        Self { values: Cell::new(values), items, dropped: Cell::new(0) }
    }

    /// Reads a document, and says how many items of arrays and objects are not in the value.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<(Value, usize), serde_json::Error> {
        self.dropped.set(0);
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let value = self.deserialize(&mut json)?;
        json.end()?;
        Ok((value, self.dropped.get()))
    }

    /// Whether another value may be kept.
    fn take(&self) -> bool {
        let rest = self.values.get().checked_sub(1);
        self.values.set(rest.unwrap_or_default());
        if rest.is_none() {
            self.dropped.set(self.dropped.get() + 1);
        }
        rest.is_some()
    }
}

impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while all.len() < self.items && self.values.get() > 0 {
            self.take();
            match items.next_element_seed(self)? {
                Some(item) => all.push(item),
                None => return Ok(Value::Array(all)),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {
            self.dropped.set(self.dropped.get() + 1);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if self.take() {
                all.insert(name, entries.next_value_seed(self)?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use serde_json::{Value, json};

    #[test]
    fn no_more_is_kept_than_is_allowed() {
        let text = r#"{"a":[1,-2,0.5,null,true,"x"],"b":{"c":[{},{}]}}"#;
        let whole: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Budget::new(100, 100).read(text.as_bytes()).unwrap(), (whole, 0));
        let cut = json!({ "a": [1, -2], "b": { "c": [{}, {}] } });
        assert_eq!(Budget::new(100, 2).read(text.as_bytes()).unwrap(), (cut, 4));
        let few = Budget::new(4, 100);
        assert_eq!(few.read(text.as_bytes()).unwrap(), (json!({ "a": [1, -2, 0.5] }), 4));
        assert_eq!(few.read(b"[[1],2]").unwrap(), (json!([]), 2));
        for text in ["{", "[1] 2", ""] {
            assert!(few.read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
