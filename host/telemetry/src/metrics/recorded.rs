//! Counters that few requests touch, as the crate `prometheus` has them.

use super::families::{
    ACTION, BUILD, COLLECTION_FREED, COLLECTION_LAST, COLLECTION_REMOVED, COLLECTION_RUNNING,
    COLLECTION_RUNS, COLLECTION_SECONDS, COLLECTION_STAGE, COLLECTION_SUCCESS, Family,
    INSTANCES_ENDED, INSTANCES_STARTED, LOGINS, OPERATION, REFUSED, STORAGE_ERRORS, TURN_WAIT,
};
use super::labels::{
    Action, CollectionOutcome, CollectionStage, InstanceEnd, Login, Refused, StorageFailure,
    StorageOperation,
};
use prometheus::core::Collector;
use prometheus::{
    DEFAULT_BUCKETS, Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, Opts, Registry,
};
use std::sync::OnceLock;
use std::time::Duration;

/// The bounds of the times of operations, in seconds: from those that the kernel has in memory
/// to those that a store lets wait.
const OPERATION_BOUNDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 10.0, 60.0,
];

/// The bounds of waits for a turn, which end after 10 seconds.
const WAIT_BOUNDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The counters, in a registry of their own.
pub(super) struct Recorded {
    pub(super) registry: Registry,
    /// The label of the storage, as distribution names its drivers.
    driver: String,
    actions: Resolved,
    operations: Resolved,
    errors: IntCounterVec,
    pub(super) instances_started: IntCounter,
    pub(super) instances_ended: Vec<IntCounter>,
    pub(super) turn_wait: Histogram,
    pub(super) refused: Vec<IntCounter>,
    pub(super) logins: Vec<IntCounter>,
    pub(super) collection: Collection,
}

/// The metrics of garbage collection.
pub(super) struct Collection {
    pub(super) runs: Vec<IntCounter>,
    pub(super) removed: IntCounter,
    pub(super) freed: IntCounter,
    pub(super) running: Gauge,
    stages: Vec<Gauge>,
    pub(super) last: Gauge,
    pub(super) success: Gauge,
    pub(super) seconds: Gauge,
}

/// Histograms by an enum, each made with its first observation.
struct Resolved {
    histograms: HistogramVec,
    children: Box<[OnceLock<Histogram>]>,
}

impl Recorded {
    pub(super) fn new(driver: &str) -> Result<Self, Error> {
        let registry = Registry::new();
        let operations = histograms(&registry, &OPERATION, &OPERATION_BOUNDS)?;
        let actions = histograms(&registry, &ACTION, DEFAULT_BUCKETS)?;
        Ok(Self {
            driver: driver.to_owned(),
            actions: Resolved::new(actions, Action::ALL.len()),
            operations: Resolved::new(operations, StorageOperation::ALL.len()),
            errors: register(
                &registry,
                IntCounterVec::new(options(&STORAGE_ERRORS), STORAGE_ERRORS.labels)?,
            )?,
            instances_started: counter(&registry, &INSTANCES_STARTED)?,
            instances_ended: counters(
                &registry,
                &INSTANCES_ENDED,
                InstanceEnd::ALL,
                InstanceEnd::as_str,
            )?,
            turn_wait: histograms(&registry, &TURN_WAIT, &WAIT_BOUNDS)?
                .get_metric_with_label_values::<&str>(&[])?,
            refused: counters(&registry, &REFUSED, Refused::ALL, Refused::as_str)?,
            logins: counters(&registry, &LOGINS, Login::ALL, Login::as_str)?,
            collection: Collection::new(&registry)?,
            registry,
        })
    }

    /// Says what runs.
    pub(super) fn build(&self, labels: [&str; 3]) -> Result<(), Error> {
        let build = register(&self.registry, GaugeVec::new(options(&BUILD), BUILD.labels)?)?;
        build.get_metric_with_label_values(&labels)?.set(1.0);
        Ok(())
    }

    /// Counts a storage operation.
    pub(super) fn storage(
        &self,
        operation: StorageOperation,
        time: Duration,
        failure: Option<StorageFailure>,
    ) {
        let seconds = time.as_secs_f64();
        self.operations.get(operation.index(), &[operation.as_str()]).observe(seconds);
        if let Some(action) = operation.action() {
            self.actions.get(action.index(), &[action.as_str(), &self.driver]).observe(seconds);
        }
        if let Some(failure) = failure {
            self.errors.with_label_values(&[failure.as_str(), operation.as_str()]).inc();
        }
    }
}

impl Collection {
    fn new(registry: &Registry) -> Result<Self, Error> {
        let stages = register(
            registry,
            GaugeVec::new(options(&COLLECTION_STAGE), COLLECTION_STAGE.labels)?,
        )?;
        let outcomes = CollectionOutcome::ALL;
        Ok(Self {
            runs: counters(registry, &COLLECTION_RUNS, outcomes, CollectionOutcome::as_str)?,
            removed: counter(registry, &COLLECTION_REMOVED)?,
            freed: counter(registry, &COLLECTION_FREED)?,
            running: gauge(registry, &COLLECTION_RUNNING)?,
            stages: CollectionStage::ALL
                .iter()
                .map(|stage| stages.get_metric_with_label_values(&[stage.as_str()]))
                .collect::<Result<_, _>>()?,
            last: gauge(registry, &COLLECTION_LAST)?,
            success: gauge(registry, &COLLECTION_SUCCESS)?,
            seconds: gauge(registry, &COLLECTION_SECONDS)?,
        })
    }

    /// Shows the stage of the run that goes on, or that none does.
    pub(super) fn stage(&self, current: Option<CollectionStage>) {
        for (stage, gauge) in CollectionStage::ALL.iter().zip(&self.stages) {
            gauge.set(f64::from(u8::from(Some(*stage) == current)));
        }
    }
}

impl Resolved {
    fn new(histograms: HistogramVec, count: usize) -> Self {
        Self { histograms, children: (0..count).map(|_| OnceLock::new()).collect() }
    }

    fn get(&self, index: usize, labels: &[&str]) -> &Histogram {
        self.children[index].get_or_init(|| self.histograms.with_label_values(labels))
    }
}

fn options(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, new: C) -> Result<C, Error> {
    registry.register(Box::new(new.clone()))?;
    Ok(new)
}

fn counter(registry: &Registry, family: &Family) -> Result<IntCounter, Error> {
    register(registry, IntCounter::with_opts(options(family))?)
}

fn gauge(registry: &Registry, family: &Family) -> Result<Gauge, Error> {
    register(registry, Gauge::with_opts(options(family))?)
}

/// Counters for each value of the only label, which exist from the start: a rate needs to have
/// seen a 0.
fn counters<T: Copy>(
    registry: &Registry,
    family: &Family,
    all: &[T],
    label: impl Fn(T) -> &'static str,
) -> Result<Vec<IntCounter>, Error> {
    let vector = register(registry, IntCounterVec::new(options(family), family.labels)?)?;
    all.iter().map(|value| vector.get_metric_with_label_values(&[label(*value)])).collect()
}

fn histograms(registry: &Registry, family: &Family, bounds: &[f64]) -> Result<HistogramVec, Error> {
    let options = HistogramOpts::new(family.name, family.help).buckets(bounds.to_vec());
    register(registry, HistogramVec::new(options, family.labels)?)
}
