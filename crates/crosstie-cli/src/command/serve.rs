//! `crosstie serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use crosstie_serve::server;
use crosstie_serve::settings::Settings;

use crate::{output, run};

/// Serve trained models over HTTP and gRPC
///
/// Speaks the Open Inference Protocol, version 2, so that its clients work as they are.
/// An artifact, or a run, is served as version 1 of a model that is named after its
/// directory. Of a repository the newest version of every model is served, and replaced
/// without a break when a newer one appears. Asked to end (SIGTERM, Ctrl-C) it says that
/// it is not ready, serves on for a while, and ends open requests.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  crosstie serve runs/demo/mmoe\n  \
                        crosstie serve --repository models --http 127.0.0.1:9000\n  \
                        crosstie serve --print-config > serve.toml\n  \
                        crosstie serve --config serve.toml\n\
                        Then:\n  curl localhost:8000/v2/health")]
pub struct Serve {
    /// Artifacts or runs
    #[arg(value_name = "ARTIFACT")]
    pub artifacts: Vec<PathBuf>,
    /// A directory with artifacts in <model>/<version>/
    #[arg(long, value_name = "DIR")]
    pub repository: Option<PathBuf>,
    /// Where to listen for HTTP [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where to listen for gRPC [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<SocketAddr>,
    /// Where to tell Prometheus figures [default: 127.0.0.1:8002]
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// A file with settings; what is said here counts more
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print all settings with what they mean, as a file for --config, and nothing else
    #[arg(long)]
    pub print_config: bool,
    /// Listen on addresses that others can reach without TLS, too
    #[arg(long)]
    pub insecure: bool,
}

impl Serve {
    pub fn execute(&self) -> Result<()> {
        let settings = self.settings()?;
        if self.print_config {
            settings.check()?;
            return output::print(settings.to_commented_toml().trim_end());
        }
        if settings.artifacts.is_empty() && settings.repository.directory.is_none() {
            bail!("nothing to serve: name artifacts or runs, or --repository DIR");
        }
        Ok(server::run(settings)?)
    }

    /// The file's settings, and over them what the command line says.
    fn settings(&self) -> Result<Settings> {
        // Checked as a whole when the server starts: an address may be allowed by --insecure.
        let mut settings = match &self.config {
            Some(file) => Settings::read(file)?,
            None => Settings::default(),
        };
        for path in &self.artifacts {
            settings.artifacts.push(run::artifact(path)?);
        }
        if let Some(directory) = &self.repository {
            settings.repository.directory = Some(directory.clone());
        }
        settings.http.address = self.http.unwrap_or(settings.http.address);
        settings.grpc.address = self.grpc.unwrap_or(settings.grpc.address);
        settings.metrics.address = self.metrics.unwrap_or(settings.metrics.address);
        settings.insecure |= self.insecure;
        Ok(settings)
    }
}
