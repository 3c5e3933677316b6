//! Every setting of the server, with its default: one TOML file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crosstie::compute::Threads;
use crosstie::spelling;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::log::LogSettings;

/// All settings. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Artifacts, or runs, that are served without a repository: each is version 1 of a
    /// model that bears its directory's name.
    pub artifacts: Vec<PathBuf>,
    /// Listen on addresses that others can reach without TLS, too.
    pub insecure: bool,
    /// Where models are found.
    pub repository: RepositorySettings,
    /// The Open Inference Protocol and ranking over HTTP.
    pub http: Http,
    /// The Open Inference Protocol over gRPC.
    pub grpc: Grpc,
    /// What ranking adds to that.
    pub rank: Rank,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// Who computes.
    pub compute: Compute,
    /// What is refused.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What was shown and what came of it, on the disk.
    pub log: LogSettings,
    /// Models that are compared on live traffic.
    pub experiments: ExperimentSettings,
    /// Encryption.
    pub tls: Tls,
    /// Who may ask.
    pub keys: Keys,
}

/// Where models are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepositorySettings {
    /// A directory with artifacts in `<model>/<version>/`, versions being whole numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// How often the directory is looked through; 0 for at the start and when asked only.
    pub poll_seconds: f64,
    /// The versions of a model that are served, such as `click = [3, 5]`; the largest of
    /// them answers where a request names none. Of other models the newest is served.
    pub versions: BTreeMap<String, Vec<u64>>,
}

impl Default for RepositorySettings {
    fn default() -> RepositorySettings {
        RepositorySettings { directory: None, poll_seconds: 10.0, versions: BTreeMap::new() }
    }
}

/// The Open Inference Protocol and ranking over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
}

impl Default for Http {
    fn default() -> Http {
        Http { address: loopback(8000) }
    }
}

/// The Open Inference Protocol over gRPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grpc {
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
}

impl Default for Grpc {
    fn default() -> Grpc {
        Grpc { address: loopback(8001) }
    }
}

/// What ranking adds to scoring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rank {
    /// By model, the score of a candidate where a request brings no formula of its own,
    /// such as `shop = "bid * buy.from_impression * 1000"`. A version whose tasks it does not
    /// fit is not served.
    pub formulas: BTreeMap<String, String>,
}

/// Figures for Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { address: loopback(8002) }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Who computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compute {
    /// Threads that score, each one request at a time, at most 1024; 0 for one per core.
    pub threads: usize,
    /// Threads that read from and write to connections, at most 1024; 0 for one per core, but no
    /// more than 4.
    pub network_threads: usize,
    /// Requests that may wait for each thread; the next is refused at once. That is for a
    /// burst: once one was refused, 1 for each thread may wait, until so many were answered
    /// and none was refused.
    pub queue: usize,
}

impl Default for Compute {
    fn default() -> Compute {
        Compute { threads: 0, network_threads: 0, queue: 32 }
    }
}

impl Compute {
    /// The number of compute threads that is meant.
    pub fn threads(&self) -> usize {
        or_cores(self.threads, usize::MAX)
    }

    /// The number of network threads that is meant.
    pub fn network_threads(&self) -> usize {
        or_cores(self.network_threads, 4)
    }
}

fn or_cores(set: usize, most: usize) -> usize {
    match set {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(most),
        set => set,
    }
}

/// What is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request's body, both as sent and unpacked.
    pub body_bytes: usize,
    /// Candidates, or rows, of a request.
    pub candidates: usize,
    /// Requests under way at a time, those that wait and those still being read among them.
    pub concurrency: usize,
    /// Open connections of each listener.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { body_bytes: 32 << 20, candidates: 10_000, concurrency: 1024, connections: 10_000 }
    }
}

/// Experiments with models, each in a file of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExperimentSettings {
    /// A directory with files `<name>.toml`; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// A directory with the logs of all servers that serve these experiments, each in a
    /// directory of its own: their evidence counts, too. This server's own log counts
    /// always, and once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<PathBuf>,
    /// How often guard rails are looked at, and the ramp moves on or rolls back.
    pub check_seconds: f64,
    /// An action counts if it is done within so many hours; what was shown later than that
    /// is not judged yet.
    pub window_hours: f64,
}

impl Default for ExperimentSettings {
    fn default() -> ExperimentSettings {
        ExperimentSettings { directory: None, logs: None, check_seconds: 60.0, window_hours: 24.0 }
    }
}

impl ExperimentSettings {
    /// How long after an exposure an action counts.
    pub fn window(&self) -> Duration {
        Timeouts::of(self.window_hours * 3600.0)
    }
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection to send the head of its first request, its TLS handshake included.
    pub header_seconds: f64,
    /// For a connection without a request, or with requests of which no byte moves; then it
    /// is closed.
    pub idle_seconds: f64,
    /// For a request to be answered, from when it was read. A request may ask for less.
    pub request_seconds: f64,
    /// For a request's body to arrive.
    pub body_seconds: f64,
    /// Asked to end, the server says that it is not ready and serves on for so long, so
    /// that whoever sends requests can notice.
    pub drain_seconds: f64,
    /// After that, for open requests to end.
    pub close_seconds: f64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            header_seconds: 10.0,
            idle_seconds: 75.0,
            request_seconds: 10.0,
            body_seconds: 30.0,
            drain_seconds: 5.0,
            close_seconds: 20.0,
        }
    }
}

impl Timeouts {
    /// A number of seconds of these settings, which [`Settings::check`] has seen.
    pub fn of(seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Encryption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificates, a chain in PEM. Without them connections are not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Their private key in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A file with API keys, one `name right key` per line; the right is `read` or `admin`.
    /// More may be in the environment, in `CROSSTIE_KEYS`. Without any everybody may ask
    /// everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

impl Settings {
    /// Reads a file. [`Settings::check`] is another step: a command line may say more.
    ///
    /// # Errors
    /// A file that cannot be read, a key that is none with the nearest spelling, a value
    /// of another type.
    pub fn read(path: &Path) -> Result<Settings, SettingsError> {
        let within = |message: String| SettingsError(format!("{}: {message}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| within(error.to_string()))?;
        Settings::parse(&text).map_err(|SettingsError(message)| within(message))
    }

    /// Parses a text.
    ///
    /// # Errors
    /// As of [`Settings::read`].
    pub fn parse(text: &str) -> Result<Settings, SettingsError> {
        toml::from_str(text).map_err(|error| SettingsError(spelling::explain(&error.to_string())))
    }

    /// Refuses settings that make no sense, or would lay open what others must not reach.
    ///
    /// # Errors
    /// The key, what was found and what was expected.
    pub fn check(&self) -> Result<(), SettingsError> {
        let wrong = |message: String| Err(SettingsError(message));
        let limits = &self.limits;
        for (key, threads) in
            [("compute.threads", self.compute.threads), ("compute.network_threads", self.compute.network_threads)]
        {
            Threads::check(key, threads).map_err(|error| SettingsError(error.to_string()))?;
        }
        for (key, found) in [
            ("compute.queue", self.compute.queue),
            ("limits.body_bytes", limits.body_bytes),
            ("limits.candidates", limits.candidates),
            ("limits.concurrency", limits.concurrency),
            ("limits.connections", limits.connections),
            ("log.segment_bytes", self.log.segment_bytes),
            ("log.queue_bytes", self.log.queue_bytes),
        ] {
            if found == 0 {
                return wrong(format!("{key} must be at least 1, found 0"));
            }
        }
        let Timeouts { header_seconds, idle_seconds, request_seconds, body_seconds, drain_seconds, close_seconds } =
            self.timeouts;
        for (key, found, least) in [
            ("repository.poll_seconds", self.repository.poll_seconds, 0.0),
            ("timeouts.header_seconds", header_seconds, f64::MIN_POSITIVE),
            ("timeouts.idle_seconds", idle_seconds, f64::MIN_POSITIVE),
            ("timeouts.request_seconds", request_seconds, f64::MIN_POSITIVE),
            ("timeouts.body_seconds", body_seconds, f64::MIN_POSITIVE),
            ("timeouts.drain_seconds", drain_seconds, 0.0),
            ("timeouts.close_seconds", close_seconds, 0.0),
            ("log.segment_seconds", self.log.segment_seconds, f64::MIN_POSITIVE),
            ("log.keep_hours", self.log.keep_hours, 0.0),
            ("experiments.check_seconds", self.experiments.check_seconds, f64::MIN_POSITIVE),
            ("experiments.window_hours", self.experiments.window_hours, 0.0),
        ] {
            if !(found >= least && found <= LONGEST) {
                let least = if least > 0.0 { "above 0" } else { "0 or more" };
                return wrong(format!("{key} must be {least} and at most {LONGEST}, found {found}"));
            }
        }
        let (keep, window) = (self.log.keep_hours, self.experiments.window_hours);
        if keep > 0.0 && keep < window {
            return wrong(format!(
                "log.keep_hours is {keep}, and what came of an exposure is known after experiments.window_hours, \
                 {window}: keep at least as many, or 0 for all"
            ));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return wrong("tls.certificate and tls.key belong together: one is there and the other is not".into());
        }
        if let Some((model, _)) = self.repository.versions.iter().find(|(_, versions)| versions.is_empty()) {
            return wrong(format!("repository.versions.{model} names no version; leave it out for the newest"));
        }
        for (key, address) in [
            ("http.address", self.http.address),
            ("grpc.address", self.grpc.address),
            ("metrics.address", self.metrics.address),
        ] {
            if !(address.ip().is_loopback() || self.tls.certificate.is_some() || self.insecure) {
                return wrong(format!(
                    "{key} is {address}, which others can reach, and there is no TLS: name tls.certificate and \
                     tls.key, or say `insecure = true` (--insecure)"
                ));
            }
        }
        Ok(())
    }

    /// Every key with its value and what it means, as TOML.
    pub fn to_commented_toml(&self) -> String {
        let schema = schemars::generate::SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator()
            .into_root_schema_for::<Settings>();
        let values = serde_json::to_value(self).unwrap_or_default();
        let mut text = String::new();
        write_section(&schema.to_value(), &values, "", &mut text);
        text
    }
}

/// A year: what is longer is a slip.
const LONGEST: f64 = 365.0 * 86_400.0;

/// Writes the keys of a section, then the sections below it. What is absent by default is
/// written as a comment.
fn write_section(schema: &Value, values: &Value, path: &str, text: &mut String) {
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let is_section = |key: &Value| key["properties"].is_object();
    for (name, key) in properties.iter().filter(|(_, key)| !is_section(key)) {
        comment(key, text);
        match values.get(name) {
            Some(value) => text.push_str(&format!("{name} = {}\n", toml_of(value))),
            None => text.push_str(&format!("# {name} = \"...\"\n")),
        }
    }
    for (name, key) in properties.iter().filter(|(_, key)| is_section(key)) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        text.push('\n');
        comment(key, text);
        text.push_str(&format!("[{path}]\n"));
        write_section(key, &values[name], &path, text);
    }
}

/// Characters of a line of comment, at most: what a terminal shows.
const WIDTH: usize = 80;

fn comment(schema: &Value, text: &mut String) {
    let words = schema["description"].as_str().into_iter().flat_map(str::split_whitespace);
    let mut line = String::from("#");
    for word in words {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&format!("{line}\n"));
            line = "#".into();
        }
        line.push_str(&format!(" {word}"));
    }
    if line != "#" {
        text.push_str(&format!("{line}\n"));
    }
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key:?} = {}", toml_of(value))).collect();
            if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        Value::Array(values) => format!("[{}]", values.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), SettingsError> {
        Settings::parse(text).unwrap().check()
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let mut settings = Settings::default();
        assert_eq!(Settings::parse(&settings.to_commented_toml()).unwrap(), settings);
        settings.repository.directory = Some("models".into());
        settings.repository.versions.insert("a b".into(), vec![3, 5]);
        settings.artifacts.push("runs/a\"b".into());
        let printed = settings.to_commented_toml();
        assert_eq!(Settings::parse(&printed).unwrap(), settings, "{printed}");
        for key in ["insecure", "poll_seconds", "queue", "body_bytes", "drain_seconds", "# certificate", "# file"] {
            assert!(printed.contains(&format!("\n{key} = ")), "{key}:\n{printed}");
        }
    }

    #[test]
    fn what_is_printed_fits_a_terminal() {
        let printed = Settings::default().to_commented_toml();
        let wide: Vec<&str> = printed.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for (section, key) in
            [("experiments", "window_hours"), ("experiments", "check_seconds"), ("log", "segment_seconds")]
        {
            for found in ["inf", "nan", "-1.0"] {
                let SettingsError(said) = checked(&format!("[{section}]\n{key} = {found}")).unwrap_err();
                assert!(said.contains(&format!("{section}.{key} must be")), "{said}");
            }
        }
    }

    #[test]
    fn what_came_of_an_exposure_is_known_before_it_goes() {
        let SettingsError(said) = checked("[log]\nkeep_hours = 12").unwrap_err();
        assert!(said.contains("log.keep_hours is 12") && said.contains("experiments.window_hours, 24"), "{said}");
        checked("[log]\nkeep_hours = 12\n[experiments]\nwindow_hours = 6").unwrap();
        checked("[log]\nkeep_hours = 0").unwrap();
    }

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_the_nearest() {
        let SettingsError(said) = Settings::parse("[limits]\nbody_byte = 3").unwrap_err();
        assert!(said.contains("line 2") && said.contains("did you mean `body_bytes`?"), "{said}");
    }

    #[test]
    fn an_address_that_others_reach_needs_tls_or_to_be_told() {
        let open = "[http]\naddress = \"0.0.0.0:8000\"";
        let SettingsError(said) = checked(open).unwrap_err();
        assert!(said.contains("http.address is 0.0.0.0:8000") && said.contains("--insecure"), "{said}");
        checked(&format!("insecure = true\n{open}")).unwrap();
        checked(&format!("{open}\n[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"")).unwrap();
        checked("[http]\naddress = \"[::1]:8000\"").unwrap();
        let SettingsError(said) = checked("[tls]\nkey = \"b.pem\"").unwrap_err();
        assert!(said.contains("tls.certificate"), "{said}");
    }

    #[test]
    fn values_without_sense_are_told_by_their_key() {
        for (text, key) in [
            ("[compute]\nqueue = 0", "compute.queue"),
            ("[compute]\nthreads = 100000", "compute.threads must be at most 1024, or 0 for all cores, found 100000"),
            ("[compute]\nnetwork_threads = 1025", "compute.network_threads"),
            ("[timeouts]\nrequest_seconds = 0", "timeouts.request_seconds"),
            ("[timeouts]\ndrain_seconds = -1", "timeouts.drain_seconds"),
            ("[timeouts]\nbody_seconds = nan", "timeouts.body_seconds"),
            ("[repository]\npoll_seconds = 1e300", "repository.poll_seconds"),
            ("[repository.versions]\nclick = []", "repository.versions.click"),
        ] {
            let SettingsError(said) = checked(text).unwrap_err();
            assert!(said.contains(key), "{said}");
        }
    }
}
