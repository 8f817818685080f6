//! Traces of requests, sent to an OpenTelemetry collector by OTLP.
//!
//! ```text
//!  a request ─▶ Traces::begin ─ not sampled ─▶ None: some nanoseconds, and no allocation
//!                   │
//!                   ▼
//!                Active ─ child ─▶ Active       spans: for the host's steps, and by
//!                   │                │          Traces::join for what the component asks
//!                   └─── dropped ────┘          for while it answers the request
//!                            ▼
//!                  queue, of a bounded length ─▶ a task: batches, OTLP over HTTP or gRPC
//! ```
//!
//! What a collector gets is in `docs/traces.md`, with the variables that set it up:
//! those of OpenTelemetry's specification
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//! The context of a trace comes from clients and goes to object stores by W3C Trace
//! Context (<https://www.w3.org/TR/trace-context/>).
//!
//! OpenTelemetry's own crates are not used; `docs/decisions/0018-traces.md` says why.

pub mod attribute;

mod context;
mod environment;
mod export;
mod exporter;
mod message;
mod protobuf;
mod queue;
mod random;
mod record;
mod sampler;
mod span;
mod traces;

#[cfg(test)]
mod tests;

pub use context::Context;
pub use environment::Resource;
pub use queue::Counts;
pub use span::{Active, Step};
pub use traces::Traces;
