//! The least severe level that is logged, which can change while the process runs.

use roadstead_config::LogLevel;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{self, Handle};

/// Whether lines of requests are logged.
static INFO: AtomicBool = AtomicBool::new(false);

/// Whether the level was changed while the process runs.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// The level of the settings, and how to change it.
static LEVEL: OnceLock<(LogLevel, Handle<LevelFilter, tracing_subscriber::Registry>)> =
    OnceLock::new();

/// The filter for the level of the settings.
pub(super) fn filter(
    level: LogLevel,
) -> impl Layer<tracing_subscriber::Registry> + Send + Sync + 'static
where
    tracing_subscriber::Registry: Subscriber + for<'a> LookupSpan<'a>,
{
    INFO.store(level >= LogLevel::Info, Ordering::Relaxed);
    let (layer, handle) = reload::Layer::new(of(level));
    let _ = LEVEL.set((level, handle));
    layer
}

/// Whether events at `info` are logged.
pub(super) fn has_info() -> bool {
    INFO.load(Ordering::Relaxed)
}

/// Changes the level to `debug`, or back to that of the settings; from `debug` to `info` if that is
/// the settings'. Returns the level that is now in force.
pub(crate) fn toggle_debug() -> Option<LogLevel> {
    let (configured, handle) = LEVEL.get()?;
    let changes = !CHANGED.fetch_xor(true, Ordering::Relaxed);
    let level = match (changes, configured) {
        (false, configured) => *configured,
        (true, LogLevel::Debug) => LogLevel::Info,
        (true, _) => LogLevel::Debug,
    };
    handle.reload(of(level)).ok()?;
    INFO.store(level >= LogLevel::Info, Ordering::Relaxed);
    Some(level)
}

fn of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}
