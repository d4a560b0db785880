//! The core without sockets: frames and times in, events and commands out.

mod compression;
mod parts;
mod protocol;
mod queues;
mod simulation;
mod upgrades;

use crate::event::{Cursor, Event};
use crate::session::Session;

/// Takes a frame in, and returns its events.
fn feed(session: &mut Session, frame: &str) -> Vec<Event> {
    session.receive(frame.as_bytes());
    std::iter::from_fn(|| session.poll()).collect()
}

fn message(channel: &str, offset: i64, prev: i64) -> String {
    format!(
        r#"{{"type":"message","channel":"{channel}","offset":{offset},"prev":{prev},"ts":1,"data":1}}"#
    )
}

fn cursor(offset: i64) -> Cursor {
    Cursor { epoch: "e".to_owned(), offset }
}

fn greeted(from: Option<Cursor>, channels: &[&str]) -> Session {
    let mut session = Session::new(from);
    for channel in channels {
        session.subscribe(channel, false);
    }
    let limits = r#"{"commandsPerSecond":10,"commandBytes":65536}"#;
    let greeting = format!(r#"{{"type":"connection:established","epoch":"e","limits":{limits}}}"#);
    feed(&mut session, &greeting);
    session
}
