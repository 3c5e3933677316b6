//! Work on the next rows beside work on these.

use std::sync::mpsc::{IntoIter, Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// Pieces that may wait.
pub const WAITING: usize = 4;

/// Most threads that work on pieces: one that reads has no more to give them.
const MOST: usize = 8;

/// Runs `produce` on a thread of its own; what it sends, `consume` receives in
/// the same order, and after it the error that ended it. A send fails once
/// nobody receives any more: then `produce` has nothing left to do.
pub fn ahead<T: Send, R>(
    produce: impl FnOnce(&SyncSender<Result<T>>) -> Result<()> + Send,
    consume: impl FnOnce(IntoIter<Result<T>>) -> R,
) -> R {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        scope.spawn(move || {
            if let Err(error) = produce(&sender) {
                // A consumer that is gone has no use for the error.
                let _ = sender.send(Err(error));
            }
        });
        consume(receiver.into_iter())
    })
}

/// As [`ahead`], and between the two `work` on each piece, done by up to `threads` threads. What
/// comes of it arrives in the order of the pieces, of which `waiting` may be under way or wait, or
/// one for each thread.
pub fn worked_ahead<T: Send, U: Send, R>(
    [threads, waiting]: [usize; 2],
    produce: impl FnOnce(&Pieces<T, U>) -> Result<()> + Send,
    work: impl Fn(T) -> Result<U> + Sync,
    consume: impl FnOnce(&mut dyn Iterator<Item = Result<U>>) -> R,
) -> R {
    let threads = threads.clamp(1, MOST);
    std::thread::scope(|scope| {
        let (in_order, places) = sync_channel(waiting.max(threads));
        let (to_do, jobs) = sync_channel::<Job<T, U>>(threads);
        scope.spawn(move || {
            let pieces = Pieces { in_order, to_do };
            if let Err(error) = produce(&pieces) {
                pieces.done(Err(error));
            }
        });
        let jobs = Mutex::new(jobs);
        let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        std::thread::scope(|workers| {
            for _ in 0..threads {
                workers.spawn(|| {
                    while let Ok(Job { piece, done }) = next() {
                        let _ = done.send(work(piece));
                    }
                });
            }
            // A place stays empty only where its worker has panicked, which ends this scope.
            consume(&mut places.into_iter().map_while(|place: Receiver<Result<U>>| place.recv().ok()))
        })
    })
}

/// Where pieces go.
pub struct Pieces<T, U> {
    in_order: SyncSender<Receiver<Result<U>>>,
    to_do: SyncSender<Job<T, U>>,
}

/// A piece, and where what comes of it goes.
struct Job<T, U> {
    piece: T,
    done: SyncSender<Result<U>>,
}

impl<T, U> Pieces<T, U> {
    /// Sends a piece to be worked on; whether anybody still waits for it.
    pub fn send(&self, piece: T) -> bool {
        let (done, place) = sync_channel(1);
        self.in_order.send(place).is_ok() && self.to_do.send(Job { piece, done }).is_ok()
    }

    /// Sends what nobody need work on; whether anybody still waits for it.
    pub fn pass(&self, piece: U) -> bool {
        self.done(Ok(piece))
    }

    fn done(&self, piece: Result<U>) -> bool {
        let (done, place) = sync_channel(1);
        // Whoever would receive it stands one line above.
        let _ = done.send(piece);
        self.in_order.send(place).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn everything_arrives_in_order_and_then_the_error() {
        let produce = |sender: &SyncSender<Result<u32>>| {
            (0..20).for_each(|number| sender.send(Ok(number)).unwrap());
            Err(Error::Config("broken".into()))
        };
        let found: Vec<Result<u32>> = ahead(produce, Iterator::collect);
        assert_eq!(found.len(), 21);
        assert!(found[..20].iter().zip(0..).all(|(found, expected)| *found.as_ref().unwrap() == expected));
        assert!(found[20].as_ref().unwrap_err().to_string().contains("broken"));
    }

    #[test]
    fn a_consumer_that_has_enough_ends_the_producer() {
        let produce = |sender: &SyncSender<Result<u32>>| {
            while sender.send(Ok(1)).is_ok() {}
            Ok(())
        };
        assert_eq!(ahead(produce, |mut numbers| numbers.next().unwrap().unwrap()), 1);
    }

    #[test]
    fn what_several_threads_have_done_arrives_in_order_with_its_errors_and_then_the_producers() {
        for (threads, waiting) in [(1, 1), (3, 1), (3, 50), (20, 2)] {
            let produce = |pieces: &Pieces<u32, u32>| {
                (0..200).for_each(|number| assert!(if number == 7 { pieces.pass(7) } else { pieces.send(number) }));
                Err(Error::Config("broken".into()))
            };
            let work = |number: u32| match number {
                7 => panic!("it was passed"),
                150 => Err(Error::Config("no number".into())),
                // Those before take longer than those behind.
                _ => Ok((0..(200 - number) * 100).fold(number, |sum, _| std::hint::black_box(sum))),
            };
            let found = worked_ahead([threads, waiting], produce, work, |found| found.collect::<Vec<_>>());
            let said: Vec<String> =
                found.iter().map(|found| found.as_ref().map_or_else(Error::to_string, u32::to_string)).collect();
            let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
            assert_eq!([&said[..150], &said[151..200]], [&expected[..150], &expected[151..]]);
            assert!(said[150].contains("no number") && said[200].contains("broken"), "{said:?}");
        }
    }

    #[test]
    fn whoever_has_enough_of_what_was_worked_on_ends_it_all() {
        let produce = |pieces: &Pieces<u32, u32>| {
            while pieces.send(1) {}
            Ok(())
        };
        let first = worked_ahead([2, 3], produce, Ok, |found| found.next().unwrap().unwrap());
        assert_eq!(first, 1);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_a_worker_left_the_others_waiting() {
        let produce = |pieces: &Pieces<u32, u32>| {
            while pieces.send(1) {}
            Ok(())
        };
        let work = |number: u32| if number == 1 { panic!("of a worker") } else { Ok(number) };
        worked_ahead([2, 3], produce, work, |found| found.count());
    }
}
