//! Honest clients that come while the attack goes on: one after the other, each until it is subscribed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Client, ClientOptions, Received};

use crate::publisher::TICK;

/// Between two newcomers.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a newcomer waits at each step.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What newcomers found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Who came.
    pub came: u64,
    /// Who was refused, closed or kept waiting.
    pub failed: u64,
    /// The longest time until a subscription was acknowledged (ms).
    pub longest_ms: u64,
}

/// The thread of the newcomers.
#[derive(Debug)]
pub struct Newcomers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Found>,
}

impl Newcomers {
    /// Lets them come.
    pub fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        Self { stop, thread: std::thread::spawn(move || come(address, &stopped)) }
    }

    /// Waits for the last one.
    pub fn finish(self) -> Found {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn come(address: SocketAddr, stop: &AtomicBool) -> Found {
    let mut found = Found::default();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        found.came += 1;
        match served(address) {
            true => {
                let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                found.longest_ms = found.longest_ms.max(ms);
            }
            false => found.failed += 1,
        }
        std::thread::sleep(PAUSE);
    }
    found
}

fn served(address: SocketAddr) -> bool {
    let options = ClientOptions {
        protocol: Some("wsgateway.v1".to_owned()),
        timeout: TIMEOUT,
        ..ClientOptions::default()
    };
    let Ok(mut client) = Client::connect(address, &options) else { return false };
    if client.send_text(&subscribe(&[TICK])).is_err() {
        return false;
    }
    loop {
        match client.next_event(TIMEOUT) {
            Ok(Received::Text(text)) if text.contains("\"subscription_ack\"") => return true,
            Ok(Received::Close(..) | Received::End) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}
