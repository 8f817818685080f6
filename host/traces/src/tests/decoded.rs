//! Messages as a collector reads them. Written after the files of opentelemetry-proto, and
//! apart from what writes them.

use std::collections::BTreeMap;

/// A span, and where it was.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Span {
    pub(super) resource: BTreeMap<String, String>,
    pub(super) scope: (String, String),
    pub(super) trace: Vec<u8>,
    pub(super) id: Vec<u8>,
    pub(super) state: String,
    pub(super) parent: Vec<u8>,
    pub(super) flags: u64,
    pub(super) name: String,
    pub(super) kind: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) status: u64,
}

/// The spans of an `ExportTraceServiceRequest`.
pub(super) fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in messages(request, 1) {
        let resource = only(messages(resource_spans, 1));
        let resource = messages(resource, 1).into_iter().map(attribute).collect();
        for scope_spans in messages(resource_spans, 2) {
            let scope = only(messages(scope_spans, 1));
            let scope = (text(scope, 1), text(scope, 2));
            for span in messages(scope_spans, 2) {
                spans.push(self::span(span, &resource, &scope));
            }
        }
    }
    spans
}

fn span(span: &[u8], resource: &BTreeMap<String, String>, scope: &(String, String)) -> Span {
    let known = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16];
    assert!(fields(span).iter().all(|field| known.contains(&field.0)), "{span:?}");
    let status = messages(span, 15).first().map_or(0, |status| number(status, 3));
    Span {
        resource: resource.clone(),
        scope: scope.clone(),
        trace: only(messages(span, 1)).to_vec(),
        id: only(messages(span, 2)).to_vec(),
        state: text(span, 3),
        parent: messages(span, 4).first().map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: number(span, 16),
        name: text(span, 5),
        kind: number(span, 6),
        start: number(span, 7),
        end: number(span, 8),
        attributes: messages(span, 9).into_iter().map(attribute).collect(),
        status,
    }
}

/// A `KeyValue`. The text of a value tells its type.
fn attribute(pair: &[u8]) -> (String, String) {
    let value = only(messages(pair, 2));
    let [(field, value)] = fields(value)[..] else { panic!("{value:?}") };
    let value = match (field, value) {
        (1, Value::Bytes(text)) => format!("{:?}", std::str::from_utf8(text).unwrap()),
        (2, Value::Number(flag)) => (flag == 1).to_string(),
        (3, Value::Number(number)) => number.cast_signed().to_string(),
        other => panic!("{other:?}"),
    };
    (text(pair, 1), value)
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn only<T>(mut all: Vec<T>) -> T {
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn messages(message: &[u8], field: u64) -> Vec<&[u8]> {
    let all = fields(message).into_iter().filter(|(number, _)| *number == field);
    all.map(|(_, value)| match value {
        Value::Bytes(bytes) => bytes,
        Value::Number(number) => panic!("field {field}: {number}"),
    })
    .collect()
}

fn text(message: &[u8], field: u64) -> String {
    let all = messages(message, field);
    all.first().map(|text| String::from_utf8(text.to_vec()).unwrap()).unwrap_or_default()
}

fn number(message: &[u8], field: u64) -> u64 {
    let found = fields(message).into_iter().rfind(|(number, _)| *number == field);
    found.map_or(0, |(_, value)| match value {
        Value::Number(number) => number,
        Value::Bytes(bytes) => panic!("field {field}: {bytes:?}"),
    })
}

fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in 0.. {
            let byte = message[0];
            *message = &message[1..];
            value |= u64::from(byte & 127) << (7 * shift);
            if byte < 128 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let mut take = |count: usize| {
            let (taken, rest) = message.split_at(count);
            message = rest;
            taken
        };
        let value = match tag & 7 {
            1 => Value::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
            5 => Value::Number(u32::from_le_bytes(take(4).try_into().unwrap()).into()),
            0 => Value::Number(varint(&mut message)),
            2 => {
                let length = varint(&mut message);
                let (taken, rest) = message.split_at(usize::try_from(length).unwrap());
                message = rest;
                Value::Bytes(taken)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}
