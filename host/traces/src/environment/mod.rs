//! Settings from OpenTelemetry's variables
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
//!
//! A value that cannot be used is an error, as with Roadstead's own settings: the
//! specification would have it ignored. An empty value is none.

mod destination;
mod tls;
mod values;

use crate::export::Destination;
use crate::exporter::Schedule;
use crate::message;
use crate::sampler::Sampler;
use rustls::RootCertStore;
use std::time::Duration;
use values::Variables;

/// How many spans wait to be sent, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise.
///
/// Limit: spans that wait to be exported, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise; test: `a_queue_that_is_full`.
const QUEUE_LIMIT: usize = 2048;

/// The largest `OTEL_BSP_MAX_QUEUE_SIZE`: with the most attributes, spans of some GiB.
///
/// Limit: largest number of spans that may wait; test: `values_that_cannot_be_used`.
const LARGEST_QUEUE: u64 = 1 << 17;

/// Spans of a batch, unless `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says otherwise.
///
/// Limit: spans that are exported at once, unless `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says otherwise; test: `batches`.
const BATCH_LIMIT: usize = 512;

/// The largest `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`: collectors read messages of 4 MiB, and
/// those of this many spans are rarely longer.
///
/// Limit: largest number of spans that are exported at once; test: `values_that_cannot_be_used`.
const LARGEST_BATCH: u64 = 8192;

/// How long spans wait for others, unless `OTEL_BSP_SCHEDULE_DELAY` says otherwise.
///
/// Limit: time for which spans wait for others, unless `OTEL_BSP_SCHEDULE_DELAY` says otherwise; test: none, it would take as long.
const DELAY: Duration = Duration::from_secs(5);

/// How long all attempts to send a batch may take, unless `OTEL_BSP_EXPORT_TIMEOUT` says
/// otherwise.
///
/// Limit: time to export a batch of spans, with retries, unless `OTEL_BSP_EXPORT_TIMEOUT` says otherwise; test: `collectors_that_cannot_be_used`.
const EXPORT_TIME: Duration = Duration::from_secs(30);

/// How long an attempt may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
///
/// Limit: time for an attempt to export spans, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise; test: `collectors_that_cannot_be_used`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest of these times. It is what 0 stands for, where the specification has no limit.
///
/// Limit: longest time that variables of traces can set; test: `values_that_cannot_be_used`.
const LONGEST: Duration = Duration::from_hours(1);

/// What is known of a process, apart from variables.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The version of the program: `service.version`.
    pub version: &'a str,
    /// The digest of its component: `roadstead.component.digest`.
    pub component: Option<&'a str>,
    /// The CAs that are trusted where no variable names a file.
    pub roots: fn() -> RootCertStore,
}

/// What variables say.
pub(crate) struct Settings {
    pub(crate) destination: Destination,
    pub(crate) sampler: Sampler,
    /// Whether clients' traces are continued.
    pub(crate) propagates: bool,
    /// A `Resource`, encoded.
    pub(crate) resource: Vec<u8>,
    pub(crate) version: String,
    /// The most spans that wait.
    pub(crate) queue: usize,
    /// How many are sent at once.
    pub(crate) batch: usize,
    pub(crate) schedule: Schedule,
}

impl Settings {
    /// Reads variables; `None` if they want no traces.
    pub(crate) fn read(
        variable: &dyn Fn(&str) -> Option<String>,
        resource: Resource<'_>,
    ) -> Result<Option<Self>, String> {
        const BATCH: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
        let variables = Variables(variable);
        if variables.flag("OTEL_SDK_DISABLED")? || !is_wanted(&variables)? {
            return Ok(None);
        }
        let queue = variables.count("OTEL_BSP_MAX_QUEUE_SIZE", LARGEST_QUEUE)?;
        let queue = queue.unwrap_or(QUEUE_LIMIT);
        let batch = variables.count(BATCH, LARGEST_BATCH)?;
        if batch.is_some_and(|batch| batch > queue) {
            return Err(format!("{BATCH}: is more than OTEL_BSP_MAX_QUEUE_SIZE, {queue}"));
        }
        let delay = variables.time("OTEL_BSP_SCHEDULE_DELAY")?;
        let export = variables.timeout("OTEL_BSP_EXPORT_TIMEOUT", LONGEST)?;
        Ok(Some(Self {
            destination: destination::read(&variables, resource.roots)?,
            sampler: sampler(&variables)?,
            propagates: propagates(&variables)?,
            resource: self::resource(&variables, resource)?,
            version: resource.version.to_owned(),
            queue,
            batch: batch.unwrap_or(BATCH_LIMIT.min(queue)),
            schedule: Schedule {
                delay: delay.unwrap_or(DELAY).min(LONGEST),
                export: export.unwrap_or(EXPORT_TIME),
                pause: Schedule::FIRST_PAUSE,
            },
        }))
    }
}

/// Whether there are to be traces. The specification's default is to send them to a
/// collector on the same machine. Few have one, so the variables have to ask for it.
fn is_wanted(variables: &Variables<'_>) -> Result<bool, String> {
    const NAME: &str = "OTEL_TRACES_EXPORTER";
    match variables.word(NAME).as_deref() {
        Some("otlp") => Ok(true),
        Some("none") => Ok(false),
        None => Ok(destination::is_named(variables)),
        Some(other) => Err(format!("{NAME}: `{other}` is not supported; use otlp or none")),
    }
}

fn sampler(variables: &Variables<'_>) -> Result<Sampler, String> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let name = variables.word(NAME);
    let (parent_based, root) = match name.as_deref() {
        None => (true, "always_on"),
        Some(name) => match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        },
    };
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match variables.text(ARGUMENT) {
            None => 1.0,
            Some(text) => text
                .parse()
                .ok()
                .filter(|ratio| (0.0..=1.0).contains(ratio))
                .ok_or_else(|| format!("{ARGUMENT}: `{text}` is not a number from 0 to 1"))?,
        },
        _ => {
            return Err(format!(
                "{NAME}: `{}` is not supported; use always_on, always_off or traceidratio, each \
                 maybe after parentbased_",
                name.unwrap_or_default()
            ));
        }
    };
    Ok(Sampler::new(ratio, parent_based))
}

/// Whether clients' traces are continued. Baggage is neither read nor passed on.
fn propagates(variables: &Variables<'_>) -> Result<bool, String> {
    const NAME: &str = "OTEL_PROPAGATORS";
    let Some(text) = variables.word(NAME) else { return Ok(true) };
    let mut propagates = false;
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "tracecontext" => propagates = true,
            "baggage" | "none" => {}
            other => {
                return Err(format!(
                    "{NAME}: `{other}` is not supported; use tracecontext, baggage or none"
                ));
            }
        }
    }
    Ok(propagates)
}

/// What describes this process: variables override what is known of it.
fn resource(variables: &Variables<'_>, known: Resource<'_>) -> Result<Vec<u8>, String> {
    let mut attributes = vec![
        ("service.name".to_owned(), "roadstead".to_owned()),
        ("service.version".to_owned(), known.version.to_owned()),
        ("telemetry.sdk.name".to_owned(), "roadstead".to_owned()),
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.version".to_owned(), known.version.to_owned()),
    ];
    if let Some(component) = known.component {
        attributes.push(("roadstead.component.digest".to_owned(), component.to_owned()));
    }
    let mut set = |name: String, value: String| {
        attributes.retain(|attribute| attribute.0 != name);
        attributes.push((name, value));
    };
    for (name, value) in variables.pairs("OTEL_RESOURCE_ATTRIBUTES")? {
        set(name, value);
    }
    if let Some(name) = variables.text("OTEL_SERVICE_NAME") {
        set("service.name".to_owned(), name);
    }
    let attributes = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(message::resource(attributes))
}
