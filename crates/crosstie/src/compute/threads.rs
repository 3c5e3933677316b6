//! On which threads passes run.

use rayon::prelude::*;

use crate::{Error, Result};

/// On which threads passes run. The numbers are the same, to the bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// On the calling thread alone.
    Inline,
    /// On the rayon pool that the calling thread is in; outside of any, on the
    /// global one.
    #[default]
    Pool,
}

impl Threads {
    /// The most that may be asked for. Nobody has so many cores, and a system that is to start
    /// a hundred thousand of them takes the machine down before it refuses.
    pub const MOST: usize = 1024;

    /// Refuses a number of threads that can only be a slip; `key` is where it stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn check(key: &str, threads: usize) -> Result<()> {
        match threads {
            0..=Threads::MOST => Ok(()),
            _ => Err(Error::Config(format!(
                "{key} must be at most {}, or 0 for all cores, found {threads}",
                Threads::MOST
            ))),
        }
    }

    /// How many threads there are. Outside of any pool they are not counted, which would start
    /// the global one.
    pub(super) fn count(self) -> usize {
        match self {
            Threads::Pool if rayon::current_thread_index().is_some() => rayon::current_num_threads(),
            _ => 1,
        }
    }

    /// Does `work` on every item, each on one thread.
    pub(crate) fn each<T: Send>(self, items: &mut [T], work: impl Fn(&mut T) + Sync) {
        match self {
            Threads::Inline => items.iter_mut().for_each(work),
            Threads::Pool => items.par_iter_mut().with_max_len(1).for_each(&work),
        }
    }

    /// The same, where items take unlike times: a thread that has done one takes the first
    /// that nobody has taken. Let those that take long stand first.
    pub(super) fn each_in_turn<T: Send>(self, items: &mut [T], work: impl Fn(&mut T) + Sync + Send) {
        match self {
            Threads::Inline => items.iter_mut().for_each(work),
            Threads::Pool => items.iter_mut().par_bridge().for_each(work),
        }
    }
}
