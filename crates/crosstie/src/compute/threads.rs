//! On which threads passes run.

use rayon::prelude::*;

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
