//! Work that is done ahead of its use, on other threads: pictures are decoded while the model works.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Lets `threads` threads do `work` on `items` while `take` uses the results, which come in the order of the items. At most
/// `ahead` of them wait, and as many as there are threads are in work: memory does not grow with the number of items.
///
/// Where `take` returns before the end, work on the rest is not begun.
///
/// # Panics
/// Where `work` panics.
pub fn ahead<Item: Sync, Done: Send, Taken>(
    items: &[Item],
    threads: usize,
    ahead: usize,
    work: impl Fn(&Item) -> Done + Sync,
    take: impl FnOnce(&mut dyn Iterator<Item = Done>) -> Taken,
) -> Taken {
    let threads = threads.clamp(1, items.len().max(1));
    thread::scope(|scope| {
        // Each thread does every so-manieth item, so that to ask them in turn keeps the order.
        let workers: Vec<Receiver<Done>> = (0..threads)
            .map(|first| {
                let (done, taken) = sync_channel(ahead.div_ceil(threads));
                let mut items = items.iter().skip(first).step_by(threads);
                let work = &work;
                scope.spawn(move || items.all(|item| done.send(work(item)).is_ok()));
                taken
            })
            .collect();
        let mut results = (0..items.len()).map_while(|index| workers[index % threads].recv().ok());
        let taken = take(&mut results);
        drop(workers);
        taken
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whatever_takes_longer() {
        let items: Vec<u64> = (0..40).collect();
        let work = |item: &u64| {
            thread::sleep(Duration::from_millis(item * 7 % 5));
            item * item
        };
        for threads in [0, 1, 3, 100] {
            for waiting in [0, 1, 7] {
                let all: Vec<u64> = ahead(&items, threads, waiting, work, |results| results.collect());
                assert!(
                    all.iter()
                        .zip(&items)
                        .all(|(square, item)| *square == item * item)
                );
                assert_eq!(all.len(), items.len());
            }
        }
        assert!(ahead(&[] as &[u64], 2, 2, work, |results| results.next()).is_none());
    }

    #[test]
    fn no_more_is_done_ahead_than_may_wait() {
        let begun = AtomicUsize::new(0);
        let work = |_: &u32| begun.fetch_add(1, Ordering::SeqCst);
        let most = ahead(&[0; 100], 2, 4, work, |results| {
            results.next();
            thread::sleep(Duration::from_millis(50));
            begun.load(Ordering::SeqCst)
        });
        // One is taken, four wait, and each thread has one that does not fit.
        assert!((5..=7).contains(&most), "{most}");
        assert!(
            begun.load(Ordering::SeqCst) <= 9,
            "work went on that nobody wants"
        );
    }

    #[test]
    fn work_is_done_on_other_threads() {
        let by = Mutex::new(Vec::new());
        let work = |_: &u32| by.lock().unwrap().push(thread::current().id());
        ahead(&[0; 10], 2, 2, work, |results| results.for_each(drop));
        let by = by.into_inner().unwrap();
        assert!(by.len() == 10 && !by.contains(&thread::current().id()));
    }
}
