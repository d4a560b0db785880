use crate::hub::inbox::{Entry, Inbox};
use std::time::Instant;

use super::cache::{CACHED, LIFETIME};
use super::*;

fn block(epoch: &str, from: u64, last: u64) -> Arc<Block> {
    let (to, messages) = (from + BLOCK - 1, Vec::new());
    let epoch = epoch.into();
    Arc::new(Block { epoch, messages, from, to, first: 1, last, missing_is_gone: true })
}

fn inbox() -> (mio::Poll, Arc<Inbox>) {
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    (poll, Arc::new(Inbox::new(waker)))
}

/// Serves until so many answers have come.
async fn answers(
    serve: impl Future<Output = ()>,
    inbox: &Inbox,
    count: usize,
) -> Vec<(Query, Fetched)> {
    let collect = async {
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        while all.len() < count {
            tokio::task::yield_now().await;
            inbox.take(&mut batch);
            all.extend(batch.drain(..).map(|entry| match entry {
                Entry::Fetched { query, fetched } => (query, fetched),
                other => panic!("{other:?}"),
            }));
        }
        all
    };
    tokio::select! {
        () = serve => panic!("somebody may still ask"),
        all = collect => all,
    }
}

#[tokio::test]
async fn the_same_query_is_asked_once_for_all_and_others_apart() {
    let (_poll, inbox) = inbox();
    let (archive, desk) = archive();
    let about = |channel: &str| {
        let interest = Arc::new(Interest::of(&[channel]));
        Query::Messages { interest, from: 1 }
    };
    for channel in ["a", "b", "a"] {
        archive.ask(about(channel), Arc::clone(&inbox));
    }
    let asked = std::cell::RefCell::new(Vec::new());
    let serve = desk.serve(|query| {
        asked.borrow_mut().push(query);
        async {
            tokio::task::yield_now().await;
            Ok(block("e", 1, 9_999))
        }
    });
    let answers = answers(serve, &inbox, 3).await;
    assert_eq!(*asked.borrow(), [about("a"), about("b")]);
    let of_a = answers.iter().filter(|(query, _)| *query == about("a"));
    assert_eq!(of_a.count(), 2);
}

fn put(cache: &mut Cache, block: &Arc<Block>, now: Instant) {
    cache.put(&Query::Block { from: block.from }, block, now);
}

#[test]
fn a_block_is_kept_for_a_moment_unless_it_is_not_finished_or_of_another_stream() {
    let (mut cache, start) = (Cache::default(), Instant::now());
    put(&mut cache, &block("e", 1, 9_999), start);
    put(&mut cache, &block("e", 257, 512), start);
    assert!(cache.get(&Query::Block { from: 1 }, start + LIFETIME).is_some());
    assert!(
        cache.get(&Query::Block { from: 257 }, start).is_none(),
        "the stream goes on behind it"
    );
    assert!(
        cache.get(&Query::Block { from: 1 }, start + LIFETIME * 2).is_none(),
        "what it says of the stream is old"
    );
    put(&mut cache, &block("e", 513, 9_999), start);
    put(&mut cache, &block("f", 1, 9_999), start);
    assert!(
        cache.get(&Query::Block { from: 513 }, start).is_none()
            && cache.get(&Query::Block { from: 1 }, start).is_some()
    );
}

#[test]
fn of_too_many_blocks_the_oldest_go() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    for n in 0..=CACHED as u64 {
        put(&mut cache, &block("e", n * BLOCK + 1, u64::MAX), now);
    }
    assert!(
        cache.get(&Query::Block { from: 1 }, now).is_none()
            && cache.get(&Query::Block { from: BLOCK + 1 }, now).is_some()
    );
}
