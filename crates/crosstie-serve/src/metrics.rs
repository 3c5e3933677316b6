//! What Prometheus is told, in the format OpenMetrics.
//!
//! Names and meanings are parallel to Triton's (`nv_inference_request_success` is
//! `crosstie_inference_request_success_total` here), with seconds in place of
//! microseconds, and besides there is what models are known to suffer from: values
//! that training did not know, values that are missing, predictions that move.

mod arms;
mod logged;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use crosstie::arrow::array::{Array, AsArray};
use crosstie::arrow::datatypes::{DataType, Float32Type, Float64Type};
use crosstie::batch::Batch;
use crosstie::data::Rows;
use crosstie::feature::{Kind, Unknown};
use crosstie::learned::Scores;
use crosstie::schema::{FieldKind, Schema, Transform};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use arms::Arms;
use logged::Logged;

use crate::log;
use crate::observe::{Answered, ArmAnswered, Observe};
use crate::repository::Version;
use crate::stages::Stages;

type Seconds = Family<Model, Histogram, fn() -> Histogram>;
type Sum = Counter<f64, AtomicU64>;
type Share = Gauge<f64, AtomicU64>;

/// Everything that is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    success: Family<Model, Counter>,
    failure: Family<Failed, Counter>,
    rows: Family<Model, Counter>,
    executions: Family<Model, Counter>,
    pending: Gauge,
    durations: [Seconds; 5],
    batch_size: Seconds,
    loaded: Family<Loaded, Gauge>,
    load_failures: Family<Named, Counter>,
    predictions: Family<Task, Sum>,
    predicted: Family<Task, Counter>,
    arms: Arms,
    log: Logged,
    fields: [Family<Field, Counter>; 4],
    training: [Family<Field, Share>; 2],
    /// One for each version that is served.
    meters: Arc<RwLock<Vec<Arc<Meter>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model: String,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    model: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Loaded {
    model: String,
    version: String,
    artifact: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    model: String,
    version: String,
    task: String,
    scenario: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Field {
    model: String,
    version: String,
    field: String,
}

/// What is looked up when figures are asked for.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Requests that wait for a compute thread.
    pub waiting: usize,
    /// What was logged, if there is a log.
    pub log: Option<log::Counts>,
    /// The experiments that there are.
    pub experiments: Vec<String>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Arc::new(Registry::default()),
            success: Family::default(),
            failure: Family::default(),
            rows: Family::default(),
            executions: Family::default(),
            pending: Gauge::default(),
            durations: std::array::from_fn(|_| Family::new_with_constructor(seconds as fn() -> Histogram)),
            batch_size: Family::new_with_constructor(sizes),
            loaded: Family::default(),
            load_failures: Family::default(),
            predictions: Family::default(),
            predicted: Family::default(),
            arms: Arms::new(),
            log: Logged::default(),
            fields: std::array::from_fn(|_| Family::default()),
            training: std::array::from_fn(|_| Family::default()),
            meters: Arc::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }

    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("crosstie");
        let of = &mut all;
        of.register("inference_request_success", "Requests answered", self.success.clone());
        of.register("inference_request_failure", "Requests not answered, by reason", self.failure.clone());
        of.register("inference", "Rows scored", self.rows.clone());
        of.register("inference_exec", "Passes through a model", self.executions.clone());
        of.register("inference_pending_request", "Requests that wait for a compute thread", self.pending.clone());
        let parts = ["request", "queue", "decode", "compute", "encode"];
        let help = [
            "From a request's arrival to its answer",
            "Waiting for a compute thread",
            "From bytes to encoded rows",
            "In the model",
            "From scores to bytes",
        ];
        for ((part, help), family) in parts.iter().zip(help).zip(&self.durations) {
            of.register_with_unit(format!("inference_{part}_duration"), help, Unit::Seconds, family.clone());
        }
        of.register("inference_batch_size", "Rows of a request", self.batch_size.clone());
        of.register("model_loaded", "1 for each version that is served", self.loaded.clone());
        of.register("model_load_failures", "Versions that could not be loaded", self.load_failures.clone());
        let help = "Sum of the predicted probabilities from the impression";
        of.register("prediction_sum", help, self.predictions.clone());
        of.register("prediction", "Predicted probabilities", self.predicted.clone());
        self.arms.register(of);
        self.log.register(of);
        let [values, unknown, rows, missing] = &self.fields;
        of.register("field_values", "Values of an embedded field that are there", values.clone());
        of.register("field_unknown_values", "Those of them that training did not know", unknown.clone());
        of.register("field_rows", "Rows in which a field was looked for", rows.clone());
        of.register("field_missing_rows", "Those of them without a value", missing.clone());
        let [unknown, missing] = &self.training;
        let help = "Share of a field's values that were unknown in the training rows";
        of.register("field_training_unknown_share", help, unknown.clone());
        of.register("field_training_missing_share", "Share of the training rows without a value", missing.clone());
        of.register_collector(Box::new(Memory));
        all
    }

    /// What counts the requests of a version.
    fn meter(&self, version: &Version) -> Meter {
        let of = Model { model: version.model().to_string(), version: version.number().to_string() };
        let (scorer, features) = (version.scorer(), version.scorer().features());
        let task = |scenario: &str, task: &str| {
            let labels = of.task(task, scenario);
            (self.predictions.get_or_create_owned(&labels), self.predicted.get_or_create_owned(&labels))
        };
        let scenarios = &features.layout().scenarios;
        let tasks = scenarios.iter().flat_map(|scenario| scorer.tasks().iter().map(|name| task(scenario, name)));
        let counters = |field: &str| -> [Counter; 4] {
            std::array::from_fn(|at| self.fields[at].get_or_create_owned(&of.field(field)))
        };
        let embedded = features.layout().embedded.iter().map(|field| counters(&field.name)).collect();
        let numbers = numbers(features.schema()).map(|(field, column)| (column.into(), counters(field))).collect();
        for (quantity, share) in features.described() {
            let family = match quantity.kind {
                Kind::Unknown => &self.training[0],
                Kind::Missing => &self.training[1],
                _ => continue,
            };
            family.get_or_create(&of.field(&quantity.name)).set(share);
        }
        Meter {
            artifact: version.artifact().into(),
            tasks: tasks.collect(),
            embedded,
            numbers,
            success: self.success.get_or_create_owned(&of),
            rows: self.rows.get_or_create_owned(&of),
            executions: self.executions.get_or_create_owned(&of),
            durations: std::array::from_fn(|at| self.durations[at].get_or_create_owned(&of)),
            batch_size: self.batch_size.get_or_create_owned(&of),
            of,
        }
    }

    fn meter_of(&self, version: &Version) -> Option<Arc<Meter>> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        meters.iter().find(|meter| meter.is_of(version)).cloned()
    }

    /// Forgets what is told of a version's fields and scenarios.
    fn forget(&self, of: &Model, version: &Version) {
        let (scorer, features) = (version.scorer(), version.scorer().features());
        let embedded = features.layout().embedded.iter().map(|field| field.name.as_str());
        for field in embedded.chain(numbers(features.schema()).map(|(field, _)| field)) {
            let labels = of.field(field);
            for family in &self.fields {
                family.remove(&labels);
            }
            for family in &self.training {
                family.remove(&labels);
            }
        }
        for scenario in &features.layout().scenarios {
            for task in scorer.tasks() {
                let labels = of.task(task, scenario);
                self.predictions.remove(&labels);
                self.predicted.remove(&labels);
            }
        }
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// `GET /metrics`.
    pub fn router(&self, now: impl Fn() -> Now + Clone + Send + Sync + 'static) -> Router {
        let metrics = self.clone();
        let all = move || async move {
            let Now { waiting, log, experiments } = now();
            metrics.pending.set(waiting as i64);
            metrics.log.set(&log.unwrap_or_default());
            metrics.arms.keep(&experiments);
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], metrics.text()).into_response()
        };
        Router::new().route("/metrics", get(all))
    }
}

impl Observe for Metrics {
    fn encoded(&self, version: &Version, rows: &Rows, batch: &Batch) {
        if let Some(meter) = self.meter_of(version) {
            let mut unknown = Unknown::new(version.scorer().features());
            unknown.add(batch);
            meter.encoded(rows, &unknown);
        }
    }

    fn scored(&self, version: &Version, batch: &Batch, scores: &Scores) {
        if let Some(meter) = self.meter_of(version) {
            meter.scored(batch, scores);
        }
    }

    fn answered(&self, answered: &Answered<'_>) {
        if let Some(failure) = answered.failure {
            // Names that clients make up would fill the memory.
            let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
            let known = meters.iter().any(|meter| meter.of.model == answered.model);
            let model = if known { answered.model.into() } else { String::new() };
            self.failure.get_or_create(&Failed { model, reason: failure.reason() }).inc();
        } else if let Some(meter) = answered.version.and_then(|version| self.meter_of(version)) {
            meter.answered(answered);
        }
    }

    fn arm_answered(&self, answered: &ArmAnswered<'_>) {
        self.arms.count(answered);
    }

    fn loaded(&self, version: &Version, _: Duration) {
        let meter = Arc::new(self.meter(version));
        self.loaded.get_or_create(&meter.loaded()).set(1);
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|meter| !meter.is_of(version));
        meters.push(meter);
    }

    fn load_failed(&self, model: &str, _: u64, _: &str) {
        self.load_failures.get_or_create(&Named { model: model.into() }).inc();
    }

    fn retired(&self, version: &Version) {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = meters.iter().position(|meter| meter.is_of(version)) else { return };
        let meter = meters.remove(place);
        self.loaded.remove(&meter.loaded());
        // Another artifact may have taken its place under the same number.
        if meters.iter().all(|other| other.of != meter.of) {
            self.forget(&meter.of, version);
        }
    }
}

impl Model {
    fn field(&self, field: &str) -> Field {
        Field { model: self.model.clone(), version: self.version.clone(), field: field.into() }
    }

    fn task(&self, task: &str, scenario: &str) -> Task {
        let Model { model, version } = self.clone();
        Task { model, version, task: task.into(), scenario: scenario.into() }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// Counts the requests of one version, without a look-up by names.
#[derive(Debug)]
struct Meter {
    of: Model,
    artifact: String,
    success: Counter,
    rows: Counter,
    executions: Counter,
    durations: [Histogram; 5],
    batch_size: Histogram,
    /// Per scenario, per task: sum and number of predictions.
    tasks: Vec<(Sum, Counter)>,
    /// Per embedded field: values, unknown ones, rows, rows without a value.
    embedded: Vec<[Counter; 4]>,
    /// The same of fields that are numbers alone, by their column.
    numbers: Vec<(String, [Counter; 4])>,
}

impl Meter {
    fn is_of(&self, version: &Version) -> bool {
        let same = || self.of.version.parse() == Ok(version.number());
        self.artifact == version.artifact() && *self.of.model == **version.model() && same()
    }

    fn loaded(&self) -> Loaded {
        let Model { model, version } = self.of.clone();
        Loaded { model, version, artifact: self.artifact.clone() }
    }

    fn answered(&self, answered: &Answered<'_>) {
        self.success.inc();
        self.batch_size.observe(answered.rows as f64);
        let Stages { queue, decode, compute, encode } = answered.stages.unwrap_or_default();
        for (histogram, took) in self.durations.iter().zip([answered.took, queue, decode, compute, encode]) {
            histogram.observe(took.as_secs_f64());
        }
    }

    fn encoded(&self, rows: &Rows, unknown: &Unknown<'_>) {
        let all = rows.len() as u64;
        for (counters, counts) in self.embedded.iter().zip(unknown.counts()) {
            add(counters, [counts.values, counts.unknown, all, counts.missing]);
        }
        for (column, counters) in &self.numbers {
            let missing = rows.batch.column_by_name(column).map_or(all, |cells| missing(cells));
            add(counters, [all - missing, 0, all, missing]);
        }
    }

    fn scored(&self, batch: &Batch, scores: &Scores) {
        self.executions.inc();
        self.rows.inc_by(batch.rows as u64);
        let tasks = scores.tasks.max(1);
        let mut sums = vec![(0.0, 0u64); self.tasks.len()];
        for (scenario, row) in batch.scenarios.iter().zip(scores.from_impression.chunks_exact(tasks)) {
            for ((sum, count), score) in sums[*scenario as usize * tasks..].iter_mut().zip(row) {
                *sum += score;
                *count += 1;
            }
        }
        for ((sum, count), (added, rows)) in self.tasks.iter().zip(sums).filter(|(_, (_, rows))| *rows > 0) {
            sum.inc_by(added);
            count.inc_by(rows);
        }
    }
}

fn add(counters: &[Counter; 4], counts: [u64; 4]) {
    for (counter, count) in counters.iter().zip(counts) {
        counter.inc_by(count);
    }
}

/// Cells without a number.
fn missing(cells: &dyn Array) -> u64 {
    let nan = match cells.data_type() {
        DataType::Float32 => cells.as_primitive::<Float32Type>().iter().flatten().filter(|x| x.is_nan()).count(),
        DataType::Float64 => cells.as_primitive::<Float64Type>().iter().flatten().filter(|x| x.is_nan()).count(),
        _ => 0,
    };
    (cells.logical_null_count() + nan) as u64
}

/// The fields that are numbers alone, with their columns: of all others a batch
/// tells what is missing.
fn numbers(schema: &Schema) -> impl Iterator<Item = (&str, &str)> {
    let alone = |kind: &FieldKind| match kind {
        FieldKind::Numeric(transform) => !matches!(transform, Transform::Quantile(_) | Transform::Binned(_)),
        _ => false,
    };
    let fields = schema.fields.iter().filter(move |field| alone(&field.kind));
    fields.map(|field| (field.name.as_str(), field.column.as_deref().unwrap_or(&field.name)))
}

/// From 50 µs to 3.3 s by factors of 2.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 17))
}

/// From 1 to 16,384 rows by factors of 2.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 15))
}

/// Memory of this process, read when it is asked for.
#[derive(Debug)]
struct Memory;

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(bytes) = resident() else { return Ok(()) };
        let help = "Memory of the process that is in use";
        let metric =
            encoder.encode_descriptor("process_resident_memory", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        ConstGauge::new(bytes as i64).encode(metric)
    }
}

/// Bytes of memory that this process holds, where the system tells.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
