//! Work on the next rows beside work on these.

use std::sync::mpsc::{IntoIter, SyncSender, sync_channel};

use crate::error::Result;

/// Pieces that may wait.
const WAITING: usize = 4;

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
}
