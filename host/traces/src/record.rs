//! What is known of a span.

use crate::attribute::Value;
use crate::context::{Context, SpanId};
use std::borrow::Cow;

/// The most attributes of a span; more are counted.
///
/// Limit: attributes of a span; test: `attributes_are_bounded`.
pub(crate) const ATTRIBUTES_LIMIT: usize = 32;

/// The most bytes of an attribute's text, which is cut.
///
/// Limit: bytes of an attribute's text; test: `attributes_are_bounded`.
pub(crate) const TEXT_LIMIT: usize = 1024;

/// The part of a span in an exchange of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Internal,
    Server,
    Client,
}

/// A span.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) context: Context,
    pub(crate) parent: Option<SpanId>,
    /// Whether the parent is in another process.
    pub(crate) remote: bool,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) dropped_attributes: u32,
    pub(crate) failed: bool,
}

impl Record {
    /// Sets an attribute, of which there is only one with a name.
    pub(crate) fn set(&mut self, name: &'static str, mut value: Value) {
        if let Value::Text(text) = &mut value {
            cut(text);
        }
        if let Some(known) = self.attributes.iter_mut().find(|attribute| attribute.0 == name) {
            known.1 = value;
        } else if self.attributes.len() < ATTRIBUTES_LIMIT {
            self.attributes.push((name, value));
        } else {
            self.dropped_attributes += 1;
        }
    }
}

/// Cuts a text at its limit, between characters.
fn cut(text: &mut Cow<'static, str>) {
    if text.len() > TEXT_LIMIT {
        let end = text.floor_char_boundary(TEXT_LIMIT);
        // A copy: a text that is cut keeps the memory of all of it.
        *text = Cow::Owned(text[..end].to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::{ATTRIBUTES_LIMIT, Kind, Record, TEXT_LIMIT};
    use crate::attribute::Value;
    use crate::context::Context;

    #[test]
    fn attributes_are_bounded() {
        let mut record = Record {
            context: Context::root([1; 16], [1; 8]),
            parent: None,
            remote: false,
            name: "name".into(),
            kind: Kind::Internal,
            start: 1,
            end: 2,
            attributes: Vec::new(),
            dropped_attributes: 0,
            failed: false,
        };
        record.set("text", "x".repeat(TEXT_LIMIT + 1).into());
        record.set("wide", format!("x{}", "é".repeat(TEXT_LIMIT)).into());
        let length = |record: &Record, at: usize| match &record.attributes[at].1 {
            Value::Text(text) => text.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(length(&record, 0), TEXT_LIMIT);
        assert_eq!(length(&record, 1), TEXT_LIMIT - 1);
        record.set("text", "short".into());
        assert_eq!((record.attributes.len(), length(&record, 0)), (2, 5));
        for _ in 0..2 {
            for name in (0..ATTRIBUTES_LIMIT).map(|n| &*format!("a{n}").leak()) {
                record.set(name, 1_u64.into());
            }
        }
        assert_eq!(record.attributes.len(), ATTRIBUTES_LIMIT);
        assert!(record.dropped_attributes >= 2);
    }
}
