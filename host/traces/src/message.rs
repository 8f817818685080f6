//! OTLP's messages: `opentelemetry/proto/` of
//! <https://github.com/open-telemetry/opentelemetry-proto>, version 1.
//!
//! The numbers of fields are those of its files; they never change.

use crate::attribute::Value;
use crate::protobuf::{Field, Reader, Writer};
use crate::record::{Kind, Record};
use std::time::Duration;

/// The longest text of a collector's that is logged, in bytes.
///
/// Limit: bytes of what a collector says that are logged; test: `what_collectors_say`.
const TEXT_LIMIT: usize = 200;

/// `google.rpc.RetryInfo`, as the type of a detail.
const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";

/// Flags of a span: it is known whether its parent is in another process, and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// What all spans of a process have in common, as a `Resource`.
pub(crate) fn resource<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut message = Writer::default();
    for (name, value) in attributes {
        message.message(1, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |any| any.present_bytes(1, value.as_bytes()));
        });
    }
    message.into_bytes()
}

/// An `ExportTraceServiceRequest`.
pub(crate) fn request(resource: &[u8], version: &str, spans: &[Record]) -> Vec<u8> {
    let mut message = Writer::default();
    message.message(1, |resource_spans| {
        resource_spans.present_bytes(1, resource);
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.bytes(1, b"roadstead");
                scope.bytes(2, version.as_bytes());
            });
            for span in spans {
                scope_spans.message(2, |message| write_span(message, span));
            }
        });
    });
    message.into_bytes()
}

fn write_span(message: &mut Writer, span: &Record) {
    message.bytes(1, &span.context.trace);
    message.bytes(2, &span.context.span);
    message.bytes(3, span.context.state().unwrap_or_default());
    message.bytes(4, span.parent.as_ref().map_or(&[], |parent| parent.as_slice()));
    message.bytes(5, span.name.as_bytes());
    message.integer(
        6,
        match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
    );
    message.fixed64(7, span.start);
    message.fixed64(8, span.end);
    for (name, value) in &span.attributes {
        message.message(9, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |any| match value {
                Value::Text(text) => any.present_bytes(1, text.as_bytes()),
                Value::Flag(flag) => any.present_integer(2, (*flag).into()),
                Value::Integer(number) => any.present_integer(3, number.cast_unsigned()),
            });
        });
    }
    message.integer(10, span.dropped_attributes.into());
    if span.failed {
        // STATUS_CODE_ERROR
        message.message(15, |status| status.integer(3, 2));
    }
    let remote = if span.remote { IS_REMOTE } else { 0 };
    message.fixed32(16, u32::from(span.context.flags()) | HAS_IS_REMOTE | remote);
}

/// What an `ExportTraceServiceResponse` says: how many spans were rejected, and why, or a
/// warning.
pub(crate) fn partial_success(response: &[u8]) -> (u64, Option<String>) {
    let partial = Reader::new(response).get(1).and_then(Field::bytes).unwrap_or_default();
    let partial = Reader::new(partial);
    let rejected = partial.get(1).and_then(Field::integer).unwrap_or_default();
    // A negative number is nonsense.
    let rejected = i64::try_from(rejected).map_or(0, i64::cast_unsigned);
    (rejected, partial.get(2).and_then(text))
}

/// What a `google.rpc.Status` says.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Status {
    pub(crate) message: Option<String>,
    /// When to try again.
    pub(crate) retry: Option<Duration>,
}

impl Status {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let status = Reader::new(bytes);
        let details = status.clone().filter(|field| field.0 == 3);
        let retry = details.filter_map(|field| retry_info(field.1.bytes()?)).last();
        Self { message: status.get(2).and_then(text), retry }
    }
}

/// The delay of a `google.protobuf.Any` that is a `RetryInfo`.
fn retry_info(any: &[u8]) -> Option<Duration> {
    let any = Reader::new(any);
    if any.get(1)?.bytes()? != RETRY_INFO {
        return None;
    }
    let delay = Reader::new(any.get(2)?.bytes()?).get(1)?.bytes()?;
    let number = |field| Reader::new(delay).get(field).and_then(Field::integer).unwrap_or(0);
    let nanoseconds = u32::try_from(number(2)).ok().filter(|&part| part < 1_000_000_000)?;
    i64::try_from(number(1)).ok().map(|seconds| Duration::new(seconds.cast_unsigned(), nanoseconds))
}

fn text(field: Field<'_>) -> Option<String> {
    printable(field.bytes()?)
}

/// A text of a collector's for the log: cut, and without control characters.
pub(crate) fn printable(text: &[u8]) -> Option<String> {
    let text = &text[..text.len().min(TEXT_LIMIT)];
    let text = String::from_utf8_lossy(text);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{RETRY_INFO, Status, partial_success};
    use crate::protobuf::Writer;
    use std::time::Duration;

    fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn what_collectors_say() {
        let partial = |rejected: u64, text: &str| {
            message(|m| {
                m.message(1, |partial| {
                    partial.integer(1, rejected);
                    partial.bytes(2, text.as_bytes());
                });
            })
        };
        assert_eq!(partial_success(b""), (0, None));
        assert_eq!(partial_success(&partial(0, "")), (0, None));
        assert_eq!(partial_success(&partial(3, "too\nold")), (3, Some("too old".to_owned())));
        assert_eq!(partial_success(&partial(u64::MAX, "")), (0, None));
        assert_eq!(partial_success(b"\xff\xff"), (0, None));
        let long = partial_success(&partial(0, &"x".repeat(1_000))).1.unwrap();
        assert_eq!(long.len(), 200);

        let status = |kind: &[u8], seconds: u64, nanoseconds: u64| {
            message(|m| {
                m.integer(1, 14);
                m.bytes(2, b"busy");
                m.message(3, |any| {
                    any.bytes(1, kind);
                    any.message(2, |info| {
                        info.message(1, |delay| {
                            delay.integer(1, seconds);
                            delay.integer(2, nanoseconds);
                        });
                    });
                });
            })
        };
        for (bytes, retry) in [
            (status(RETRY_INFO, 2, 500_000_000), Some(Duration::from_millis(2_500))),
            (status(RETRY_INFO, 0, 0), Some(Duration::ZERO)),
            (status(RETRY_INFO, u64::MAX, 0), None),
            (status(RETRY_INFO, 1, 1_000_000_000), None),
            (status(b"type.googleapis.com/google.rpc.BadRequest", 2, 0), None),
        ] {
            let expected = Status { message: Some("busy".to_owned()), retry };
            assert_eq!(Status::parse(&bytes), expected);
        }
        assert_eq!(Status::parse(b"no status"), Status::default());
    }
}
