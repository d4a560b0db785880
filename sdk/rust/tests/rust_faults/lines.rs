//! Connections that end, hang or carry rubbish.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use wsgateway::{Backoff, Event, Overflow, Reconnect};

use super::peer::{Peer, behaviour, good, message, serve};
use super::recorder::{Recorder, SOON, builder};

#[tokio::test]
async fn a_line_that_is_dead_without_being_closed_is_given_up_and_resumed() {
    let (resumed, mut resumes) = mpsc::channel(8);
    let dead = behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.acknowledge(0).await;
        peer.send(message(1)).await;
        peer.wait().await; // pings are heard and not answered
    });
    let alive = behaviour(move |mut peer: Peer| {
        let resumed = resumed.clone();
        async move {
            peer.greet().await;
            let command = peer.acknowledge(1).await;
            let _ = resumed.try_send(command["resume"].clone());
            peer.send(message(1)).await; // a gateway may send twice what it is not sure of
            peer.send(message(2)).await;
            peer.stay().await;
        }
    });
    let builder = builder(&[serve(vec![dead, alive]).await]);
    let mut r = Recorder::new(builder.ping(Duration::from_millis(200), Duration::from_secs(1)));
    r.received(2).await;
    assert_eq!(r.reasons()[0], "no answer in time");
    assert_eq!(resumes.recv().await, Some(json!({ "epoch": "e", "offset": 1 })));
    assert_eq!((r.offsets(), r.client.duplicates()), (vec![1, 2], 1));
}

#[tokio::test]
async fn a_close_in_the_middle_of_catching_up_is_resumed_from_what_had_come() {
    let begin = behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.acknowledge(0).await;
    });
    let count = Arc::new(AtomicI64::new(0));
    let cut = behaviour(move |mut peer: Peer| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            peer.greet().await;
            let resume = peer.acknowledge(n).await["resume"]["offset"].clone();
            let is_right = resume == n;
            peer.send(message(if is_right { n + 1 } else { 999 })).await;
        }
    });
    let mut r = Recorder::of(&[serve(vec![begin, cut]).await]);
    r.received(5).await;
    assert_eq!(r.offsets()[..5], [1, 2, 3, 4, 5]);
}

async fn send_rubbish(mut peer: Peer) {
    peer.greet().await;
    peer.acknowledge(0).await;
    let deep = "[".repeat(100_000);
    for text in ["no json", "7", "[]", &deep, r#"{"type":"message"}"#, r#"{"type":[]}"#] {
        peer.text(text).await;
    }
    peer.text(r#"{"type":"message","channel":"a","offset":-1}"#).await;
    peer.text(r#"{"type":"message","channel":"a","offset":1e300}"#).await;
    let broken = json!({ "type": "message", "channel": "a", "offset": 9, "encoding": "base64", "data": "!" });
    peer.send(broken).await;
    peer.send(json!({ "type": "batch", "messages": [message(1), 1, message(2)] })).await;
    for text in ["{}", r#"{"type":"gap"}"#, r#"{"type":"live"}"#] {
        peer.text(text).await;
    }
    for kind in ["message", "gap", "batch", "live", "pong", "subscription_ack", "unsubscribed"] {
        peer.send(json!({ "type": kind, "channels": {}, "messages": 1, "id": [] })).await;
    }
    peer.send(message(2)).await;
    peer.wait().await;
}

#[tokio::test]
async fn rubbish_is_an_error_each_and_what_follows_comes() {
    let mut r = Recorder::of(&[serve(vec![behaviour(send_rubbish)]).await]);
    r.received(2).await;
    assert_eq!(r.offsets(), [1, 2]);
    let count = |is: fn(&Event) -> bool| r.events.iter().filter(|event| is(event)).count();
    assert!(count(|event| matches!(event, Event::Error(_))) >= 15, "{:?}", r.events);
    assert_eq!(count(|event| matches!(event, Event::Opened(_))), 1);
}

#[tokio::test]
async fn a_frame_that_is_too_big_ends_the_client() {
    let big = behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.send(json!({ "type": "x", "data": "x".repeat(17 << 20) })).await;
        peer.wait().await;
    });
    Recorder::of(&[serve(vec![big]).await]).refused(1009).await;
}

#[tokio::test]
async fn advice_is_followed_to_the_time() {
    let drain = behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.acknowledge(0).await;
        peer.text(r#"{"type":"reconnect","afterMs":300,"reason":"drain"}"#).await;
        peer.close(1012, "").await;
    });
    let hour = Duration::from_secs(3600);
    let backoff = Backoff { base: hour, cap: hour, ..Backoff::default() };
    let mut r = Recorder::new(builder(&[serve(vec![drain, good()]).await]).backoff(backoff));
    r.received(1).await;
    let after = Duration::from_millis(300);
    let advice = Event::Reconnect(Reconnect { after, reason: "drain".to_owned() });
    assert!(r.events.contains(&advice), "{:?}", r.events);
    let wait = r.closed().next().unwrap().retry_in.unwrap();
    assert!(wait > Duration::ZERO && wait <= after, "{wait:?}");
}

#[tokio::test]
async fn the_gateway_may_end_it() {
    let bye = behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.close(1000, "bye").await;
    });
    let mut r = Recorder::of(&[serve(vec![bye]).await]);
    r.until("the end", |r| r.reasons().contains(&"bye")).await;
    assert_eq!(timeout(SOON, r.client.closed()).await.unwrap(), Ok(()));
}

/// A behaviour that reports when the client has gone.
fn leaves() -> (super::peer::Behaviour, oneshot::Receiver<()>) {
    let (gone, left) = oneshot::channel();
    let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
    let stays = behaviour(move |mut peer: Peer| {
        let gone = gone.lock().unwrap().take();
        async move {
            peer.greet().await;
            peer.acknowledge(0).await;
            peer.send(message(1)).await;
            peer.stay().await;
            if let Some(gone) = gone {
                let _ = gone.send(());
            }
        }
    });
    (stays, left)
}

#[tokio::test]
async fn a_close_leaves_nothing_open_and_ends_the_streams() {
    let (stays, left) = leaves();
    let mut r = Recorder::of(&[serve(vec![stays]).await]);
    r.received(1).await;
    let mut other = r.client.subscribe(["b"]);
    timeout(SOON, r.client.close()).await.unwrap().unwrap();
    timeout(SOON, left).await.unwrap().unwrap();
    while timeout(SOON, other.next()).await.unwrap().is_some() {}
    assert!(r.client.subscribe(["c"]).next().await.is_none());
}

#[tokio::test]
async fn the_connection_lives_as_long_as_the_client_or_a_subscription() {
    let (stays, left) = leaves();
    let client = builder(&[serve(vec![stays]).await]).connect().unwrap();
    let mut subscription = client.subscribe(["a"]);
    drop(client);
    while !matches!(timeout(SOON, subscription.next()).await.unwrap(), Some(Event::Message(_))) {}
    drop(subscription);
    timeout(SOON, left).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dropped_subscription_is_unsubscribed_and_one_that_others_want_is_not() {
    let (commands, mut taken) = mpsc::channel(8);
    let records = behaviour(move |mut peer: Peer| {
        let commands = commands.clone();
        async move {
            peer.greet().await;
            loop {
                let command = peer.command().await;
                let (id, channels) = (command["id"].clone(), command["channels"].clone());
                let kind = command["type"].clone();
                if command == Value::Null || commands.send((kind, channels.clone())).await.is_err()
                {
                    return;
                }
                let ack = json!({ "type": "subscription_ack", "id": id, "subscribed": channels, "offset": 0 });
                peer.send(ack).await;
            }
        }
    });
    let client = builder(&[serve(vec![records]).await]).build().unwrap();
    let (one, two) = (client.subscribe(["a", "b"]), client.subscribe(["b"]));
    client.connect().unwrap();
    let mut next = async || timeout(SOON, taken.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, (json!("subscribe"), json!(["a", "b"])));
    drop(one);
    assert_eq!(next().await, (json!("unsubscribe"), json!(["a"])));
    drop(two);
    assert_eq!(next().await, (json!("unsubscribe"), json!(["b"])));
}

/// Sends many messages on "a" and one on "b".
fn floods() -> super::peer::Behaviour {
    behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.acknowledge(0).await;
        for n in 1..=100 {
            peer.send(message(n)).await;
        }
        let last = json!({ "type": "message", "channel": "b", "offset": 101, "data": 1 });
        peer.send(last).await;
        peer.stay().await;
    })
}

#[tokio::test]
async fn a_full_queue_that_reports_does_not_stop_the_others() {
    let url = serve(vec![floods()]).await;
    let client = builder(&[url]).queue(10, Overflow::Report).build().unwrap();
    let (mut slow, mut quick) = (client.subscribe(["a"]), client.subscribe(["b"]));
    client.connect().unwrap();
    while !matches!(timeout(SOON, quick.next()).await.unwrap(), Some(Event::Message(_))) {}
    let (mut came, mut lost) = (Vec::new(), Vec::new());
    while came.len() + lost.len() < 100 {
        match timeout(SOON, slow.next()).await.unwrap().unwrap() {
            Event::Message(message) => came.push(message.offset),
            Event::Gap(gap) => {
                assert_eq!(gap.reason, "overflow");
                lost.extend(gap.first..=gap.last);
            }
            _ => {}
        }
    }
    assert!(came.len() < 20 && lost.len() > 80, "{came:?} {lost:?}");
    assert_eq!([came, lost].concat(), (1..=100).collect::<Vec<_>>());
    assert_eq!(client.cursor().map(|cursor| cursor.offset), Some(101));
}

#[tokio::test]
async fn a_full_queue_that_waits_loses_nothing_and_the_cursor_stays_behind_it() {
    let url = serve(vec![floods()]).await;
    let client = builder(&[url]).queue(10, Overflow::Wait).build().unwrap();
    let mut slow = client.subscribe(["a", "b"]);
    client.connect().unwrap();
    let mut came = Vec::new();
    while came.len() < 101 {
        if let Event::Message(message) = timeout(SOON, slow.next()).await.unwrap().unwrap() {
            came.push(message.offset);
            // While a message is handled the cursor is after it, and after no other.
            assert_eq!(client.cursor().map(|cursor| cursor.offset), Some(message.offset));
        }
    }
    assert_eq!(came, (1..=101).collect::<Vec<_>>());
}
