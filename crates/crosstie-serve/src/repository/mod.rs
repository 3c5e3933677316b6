//! Models and their versions: found, loaded, looked up, replaced.
//!
//! What is served is a [`Catalogue`], replaced as a whole; a request looks its version up
//! once and holds it until it is answered, so no answer mixes two. One thread, the
//! loader's, changes it: loading has a thread of its own and never runs where
//! requests are computed or read. What cannot be loaded is told and leaves what serves as
//! it is; it is tried again when its files change.

mod catalogue;
mod directory;
mod loader;
mod version;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crosstie::artifact;
use tokio::sync::oneshot;

pub use catalogue::{Catalogue, Entry, Model, State};
pub use version::{Input, Kind, ROOM, Version, from_impression, given_parent};

use crate::failure::Failure;
use crate::observe::Observers;
use crate::settings::{Settings, SettingsError};
use loader::{Command, Loader};

/// The models that are served.
#[derive(Debug)]
pub struct Repository {
    catalogue: Arc<ArcSwap<Catalogue>>,
    commands: mpsc::Sender<Command>,
    loader: Option<JoinHandle<()>>,
}

impl Repository {
    /// Starts to look for the settings' models and to load them. Artifacts or runs that they
    /// name are each version 1 of a model named after its directory. `loading` will say whether
    /// something is being loaded.
    ///
    /// # Errors
    /// Two artifacts of one name, a path that has none, no thread.
    pub fn start(
        settings: &Settings,
        observers: Observers,
        loading: Arc<AtomicBool>,
    ) -> Result<Repository, SettingsError> {
        let mut given = BTreeMap::new();
        for path in &settings.artifacts {
            let (name, artifact) = name_of(path)?;
            if let Some(other) = given.insert(name.clone(), artifact) {
                let (other, path) = (other.display(), path.display());
                return Err(SettingsError(format!("{other} and {path} are both called `{name}`; serve a repository")));
            }
        }
        let catalogue = Arc::new(ArcSwap::default());
        let (commands, received) = mpsc::channel();
        let loader = Loader::new(Arc::clone(&catalogue), given, settings, observers, loading)?;
        let thread = std::thread::Builder::new().name("loader".into()).spawn(move || loader.run(&received));
        let thread = thread.map_err(|error| SettingsError(format!("no thread to load models: {error}")))?;
        Ok(Repository { catalogue, commands, loader: Some(thread) })
    }

    /// What is served at this moment.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// What is served, for who looks again and again.
    pub fn shared(&self) -> Arc<ArcSwap<Catalogue>> {
        Arc::clone(&self.catalogue)
    }

    /// The version that answers a request for a model, by default its newest. Whoever
    /// answers holds it until then.
    ///
    /// # Errors
    /// As of [`Catalogue::version`].
    pub fn version(&self, model: &str, version: Option<&str>) -> Result<Arc<Version>, Failure> {
        self.catalogue.load().version(model, version).cloned()
    }

    /// Looks through the directory now, and gives what it found wrong.
    ///
    /// # Errors
    /// [`Failure::NotReady`] if the server ends.
    pub async fn look(&self) -> Result<(), Failure> {
        self.ask(|reply| Command::Look { reply }).await
    }

    /// The same, for a caller that may wait.
    ///
    /// # Errors
    /// As of [`Repository::look`].
    pub fn look_and_wait(&self) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Look { reply }).map_err(|_| ending())?;
        answer.blocking_recv().map_err(|_| ending())?
    }

    /// Loads what is to be served of a model anew, also what was unloaded.
    ///
    /// # Errors
    /// [`Failure::NotFound`] for a model that is not in the directory;
    /// [`Failure::NotReady`] where a version cannot be loaded, and why.
    pub async fn load(&self, model: &str) -> Result<(), Failure> {
        self.ask(|reply| Command::Load { model: model.into(), reply }).await
    }

    /// Serves a model no more, until it is asked for by [`Repository::load`].
    ///
    /// # Errors
    /// [`Failure::NotFound`] for a model that is not there.
    pub async fn unload(&self, model: &str) -> Result<(), Failure> {
        self.ask(|reply| Command::Unload { model: model.into(), reply }).await
    }

    async fn ask(&self, command: impl FnOnce(loader::Reply) -> Command) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }
}

fn ending() -> Failure {
    Failure::NotReady("the server is ending".into())
}

impl Drop for Repository {
    fn drop(&mut self) {
        // A loader that has ended hears nothing, and need not.
        let _ = self.commands.send(Command::End);
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }
}

/// The name of the model that an artifact, or a run, given as a path is; and where its
/// artifact is.
fn name_of(path: &Path) -> Result<(String, PathBuf), SettingsError> {
    let wrong = |what: &str| SettingsError(format!("{}: {what}", path.display()));
    let whole = path.canonicalize().map_err(|error| wrong(&error.to_string()))?;
    let artifact = artifact::meant_by(&whole);
    let named = match artifact.file_name() {
        Some(name) if name == artifact::OF_RUN => artifact.parent().and_then(Path::file_name),
        name => name,
    };
    let name = named.and_then(|name| name.to_str()).ok_or_else(|| wrong("has no name that a model can have"))?;
    Ok((name.to_string(), artifact))
}
