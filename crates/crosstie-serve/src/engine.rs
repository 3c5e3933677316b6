//! Compute threads: ours, one request on each at a time, and a queue that is long for a
//! moment only.
//!
//! A request is a piece of work that gets its [`Turn`] on one thread and stays there:
//! nothing of it goes to a pool, so a request never waits for parts of others. Where the
//! queue is full it is refused at once; where its time is over when its turn comes, or its
//! sender has gone, it is dropped before it costs anything.
//!
//! A long queue is good for a burst and bad for an overload, in which it is always full and
//! does nothing but make everybody wait. A request that is refused is the sign of an
//! overload: from then on one for each thread may wait, enough for the threads to have
//! work always, until as many requests as the queue holds had their turn one after the other
//! and none was refused meanwhile.
//!
//! What loads a version has the cores only when nobody else wants them. So that it ends in an
//! overload, too, a compute thread that has had work without a pause makes one now and then
//! while something loads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crosstie::batch::Batch;
use crosstie::compute::{Threads, Workspace};
use crosstie::data::Rows;
use crosstie::feature::Purpose;
use crosstie::learned::Scores;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::observe::Observers;
use crate::repository::Version;
use crate::stages::{Stage, Stages};

/// A request's turn on a compute thread.
#[derive(Debug)]
pub struct Turn {
    version: Arc<Version>,
    workspace: Workspace,
    deadline: Instant,
    arrived: Instant,
    observers: Observers,
    rows: usize,
    stages: Stages,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done<T> {
    /// What the work gave.
    pub value: T,
    /// Rows that were scored.
    pub rows: usize,
    /// How long its parts took.
    pub stages: Stages,
}

impl Turn {
    /// The model's version that this request is answered by, from its beginning to its end.
    pub fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// Does some work and counts its time.
    pub fn stage<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Turn) -> T) -> T {
        let start = Instant::now();
        let done = work(self);
        let taken = match stage {
            Stage::Decode => &mut self.stages.decode,
            Stage::Compute => &mut self.stages.compute,
            Stage::Encode => &mut self.stages.encode,
        };
        *taken += start.elapsed();
        done
    }

    /// Takes notice that the request wants its answer within so long of when it was read.
    ///
    /// # Errors
    /// [`Failure::DeadlinePassed`] if that is over.
    pub fn answer_within(&mut self, wanted: Option<Duration>) -> Result<(), Failure> {
        let wanted = wanted.and_then(|wanted| self.arrived.checked_add(wanted));
        self.deadline = self.deadline.min(wanted.unwrap_or(self.deadline));
        if Instant::now() >= self.deadline { Err(Failure::DeadlinePassed) } else { Ok(()) }
    }

    /// Encodes rows: what [`Turn::score`] scores, counted as decoding.
    ///
    /// # Errors
    /// A bad cell, a missing column.
    pub fn encode(&mut self, rows: &Rows) -> Result<Batch, Failure> {
        self.stage(Stage::Decode, |turn| {
            let batch = turn.version.scorer().features().encode(rows, Purpose::Scoring)?;
            turn.observers.iter().for_each(|observer| observer.encoded(&turn.version, rows, &batch));
            Ok(batch)
        })
    }

    /// Scores encoded rows, on this thread.
    ///
    /// # Errors
    /// Rows that do not fit the model.
    pub fn score(&mut self, batch: &Batch) -> Result<Scores, Failure> {
        self.stage(Stage::Compute, |turn| {
            let scores = turn.version.scorer().score(&mut turn.workspace, batch)?;
            turn.rows += batch.rows;
            turn.observers.iter().for_each(|observer| observer.scored(&turn.version, batch, &scores));
            Ok(scores)
        })
    }
}

/// How long a compute thread works without a pause while something loads, and how long it then
/// pauses: what loads gets a twentieth of its core at least. Short of an overload hardly any
/// stretch is so long.
const STRETCH: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(25);

/// Work without a pause.
#[derive(Debug)]
struct Stretch {
    since: Instant,
}

impl Stretch {
    fn begin(now: Instant) -> Stretch {
        Stretch { since: now }
    }

    /// Whether the thread has to pause now.
    fn is_over(&self, now: Instant, loading: bool) -> bool {
        loading && now.saturating_duration_since(self.since) >= STRETCH
    }
}

/// A request that waits for a thread.
trait Waiting: Send {
    /// Whether nobody waits for the answer any more.
    fn is_forsaken(&self) -> bool;
    /// Answers it, on this thread.
    fn answer(self: Box<Self>);
}

struct Request<T, W> {
    observers: Observers,
    version: Arc<Version>,
    arrived: Instant,
    deadline: Instant,
    work: W,
    sender: oneshot::Sender<Result<Done<T>, Failure>>,
}

impl<T: Send, W: FnOnce(&mut Turn) -> Result<T, Failure> + Send> Waiting for Request<T, W> {
    fn is_forsaken(&self) -> bool {
        self.sender.is_closed()
    }

    fn answer(self: Box<Self>) {
        let Request { observers, version, arrived, deadline, work, sender } = *self;
        if sender.is_closed() {
            return;
        }
        let done = match Instant::now() < deadline {
            true => take_turn(version, observers, arrived, deadline, work),
            false => Err(Failure::DeadlinePassed),
        };
        // Whoever asked may have gone in the meantime.
        let _ = sender.send(done);
    }
}

/// Requests that may wait for each thread in an overload.
const FEW: usize = 1;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn Waiting>>,
    closed: bool,
    /// So many turns without a refusal, and the overload is over; 0: there is none.
    overload: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Requests that may wait, and that may in an overload.
    capacity: usize,
    few: usize,
    /// Whether a version is being loaded.
    loading: Arc<AtomicBool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whoever panics does so outside of the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work; `None` when the engine ends and all is done. If the thread waits
    /// for it, a new stretch of work begins.
    fn next(&self, stretch: &mut Stretch) -> Option<Box<dyn Waiting>> {
        let mut queue = self.lock();
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                queue.overload = queue.overload.saturating_sub(1);
                return Some(next);
            }
            if queue.closed {
                return None;
            }
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            *stretch = Stretch::begin(Instant::now());
        }
    }

    /// What a compute thread does.
    fn work(&self) {
        let mut stretch = Stretch::begin(Instant::now());
        while let Some(request) = self.next(&mut stretch) {
            request.answer();
            if stretch.is_over(Instant::now(), self.loading.load(Ordering::Relaxed)) {
                std::thread::sleep(PAUSE);
                stretch = Stretch::begin(Instant::now());
            }
        }
    }
}

/// The compute threads and their queue. What waits is still done when it is dropped.
pub struct Engine {
    shared: Arc<Shared>,
    observers: Observers,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts so many threads, for each of which at most `queue` requests wait. They leave time to
    /// what loads while `loading` says that something does.
    ///
    /// # Errors
    /// What the operating system says to a thread more.
    pub fn start(
        threads: usize,
        queue: usize,
        observers: Observers,
        loading: Arc<AtomicBool>,
    ) -> std::io::Result<Engine> {
        let threads = threads.max(1);
        let (capacity, few) = (queue.saturating_mul(threads), FEW.min(queue).saturating_mul(threads));
        let shared = Arc::new(Shared { queue: Mutex::default(), ready: Condvar::new(), capacity, few, loading });
        let start = |index: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("compute-{index}")).spawn(move || shared.work())
        };
        let threads = (0..threads).map(start).collect::<std::io::Result<Vec<_>>>()?;
        Ok(Engine { shared, observers, threads })
    }

    /// How many requests wait for a thread.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// Does a request's work on a compute thread with a version of a model, and gives what
    /// it gave and how long its parts took. `deadline` is when nobody wants it any more.
    ///
    /// # Errors
    /// [`Failure::Busy`] at once where the queue is full, [`Failure::DeadlinePassed`], what
    /// the work says, and [`Failure::Internal`] where it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        version: Arc<Version>,
        deadline: Instant,
        work: impl FnOnce(&mut Turn) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Done<T>, Failure> {
        let (sender, answer) = oneshot::channel();
        let observers = Arc::clone(&self.observers);
        self.push(Box::new(Request { observers, version, arrived: Instant::now(), deadline, work, sender }))?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(Failure::NotReady("the server is ending".into())),
            Err(_) => Err(Failure::DeadlinePassed),
        }
    }

    fn push(&self, request: Box<dyn Waiting>) -> Result<(), Failure> {
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(Failure::NotReady("the server is ending".into()));
        }
        let most = if queue.overload > 0 { self.shared.few } else { self.shared.capacity };
        if queue.waiting.len() >= most {
            // Those that will be dropped anyway make room.
            queue.waiting.retain(|waiting| !waiting.is_forsaken());
        }
        let waiting = queue.waiting.len();
        if waiting >= most {
            let begins = std::mem::replace(&mut queue.overload, self.shared.capacity) == 0;
            drop(queue);
            if begins {
                tracing::warn!("overload: {waiting} requests wait; what is too much is refused at once");
            }
            return Err(Failure::Busy { waiting });
        }
        queue.waiting.push_back(request);
        drop(queue);
        self.shared.ready.notify_one();
        Ok(())
    }
}

/// Does the work on this thread. A panic is an error of this request alone, and costs its
/// workspace, whose state nobody knows.
fn take_turn<T>(
    version: Arc<Version>,
    observers: Observers,
    arrived: Instant,
    deadline: Instant,
    work: impl FnOnce(&mut Turn) -> Result<T, Failure>,
) -> Result<Done<T>, Failure> {
    let stages = Stages { queue: arrived.elapsed(), ..Stages::default() };
    let workspace = version.workspace().on(Threads::Inline);
    let mut turn = Turn { version, workspace, deadline, arrived, observers, rows: 0, stages };
    let done = catch_unwind(AssertUnwindSafe(|| work(&mut turn))).map_err(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| said.to_string());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Failure::Internal(format!("panic: {}", said.unwrap_or_default()))
    })?;
    let Turn { version, workspace, rows, stages, .. } = turn;
    version.keep(workspace);
    Ok(Done { value: done?, rows, stages })
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // Its work does not panic: that is caught.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_pauses_after_long_work_and_only_while_something_loads() {
        let begin = Instant::now();
        let stretch = Stretch::begin(begin);
        let just_before = begin + STRETCH - Duration::from_nanos(1);
        assert!(!stretch.is_over(just_before, true));
        assert!(stretch.is_over(begin + STRETCH, true));
        assert!(!stretch.is_over(begin + 100 * STRETCH, false));
        assert!(!Stretch::begin(begin + STRETCH).is_over(begin + STRETCH, true), "it begins anew");
    }
}
