//! CPU and memory: of targets, from their admin ports, and CPU of this program.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use wsgateway_load::run::Usage;

use super::{LoadError, http};
use crate::error::Error;

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Answers that wait to be taken.
const WAITING: usize = 128;

/// What targets say of themselves, from threads of their own.
pub(super) struct Usages(Option<Receiver<(u32, Usage)>>);

/// An answer of /status.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    cpu_percent: Option<f64>,
    #[serde(default)]
    memory_bytes: Option<u64>,
}

impl Usages {
    /// Asks these admin ports, which belong to the targets in their order.
    pub(super) fn start(addresses: &[String]) -> Result<Self, Error> {
        if addresses.is_empty() {
            return Ok(Self(None));
        }
        let (sender, receiver) = sync_channel(WAITING);
        for (target, address) in (0..).zip(addresses) {
            let wrong = || LoadError::Admin { address: address.clone() };
            let plain = address.trim_start_matches("http://").trim_end_matches('/');
            let found = plain.to_socket_addrs().ok().and_then(|mut found| found.next());
            let found = found.ok_or_else(wrong)?;
            let sender = sender.clone();
            std::thread::Builder::new()
                .name("admin".to_owned())
                .spawn(move || ask_again_and_again(target, found, &sender))
                .map_err(Error::Threads)?;
        }
        Ok(Self(Some(receiver)))
    }

    /// The next answer that is there.
    pub(super) fn next(&self) -> Option<(u32, Usage)> {
        self.0.as_ref()?.try_recv().ok()
    }
}

/// Until nobody takes answers any more.
fn ask_again_and_again(target: u32, address: SocketAddr, sender: &SyncSender<(u32, Usage)>) {
    loop {
        if let Some(usage) = ask(address)
            && sender.send((target, usage)).is_err()
        {
            return;
        }
        std::thread::sleep(INTERVAL);
    }
}

fn ask(address: SocketAddr) -> Option<Usage> {
    // A target that does not answer in time is asked again later.
    usage(&http::get(address, &address.to_string(), "/status").ok()?)
}

/// What an answer says: its body is one JSON object.
fn usage(answer: &str) -> Option<Usage> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    let body = body.get(body.find('{')?..=body.rfind('}')?)?;
    let Status { cpu_percent, memory_bytes } = serde_json::from_str(body).ok()?;
    Some(Usage { cpu_percent: cpu_percent.filter(|percent| percent.is_finite()), memory_bytes })
}

/// Ticks of /proc in a second, on every Linux that there is.
const TICKS: f64 = 100.0;

/// CPU time of this program and its workers.
pub(super) struct Cpu {
    since: Instant,
    ticks: Option<u64>,
}

impl Cpu {
    pub(super) fn now(workers: &[u32]) -> Self {
        Self { since: Instant::now(), ticks: ticks(workers) }
    }

    /// Of all cores; unknown without /proc, or once a worker has ended by itself.
    pub(super) fn percent_until_now(&self, workers: &[u32]) -> Option<f64> {
        let used = ticks(workers)?.checked_sub(self.ticks?)? as f64 / TICKS;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let seconds = self.since.elapsed().as_secs_f64();
        (seconds > 0.0).then(|| used / seconds / cores * 100.0)
    }
}

fn ticks(workers: &[u32]) -> Option<u64> {
    let own = std::process::id();
    workers.iter().chain([&own]).map(|pid| of_process(*pid)).sum()
}

fn of_process(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(field(11)? + field(12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_its_framing_and_others_say_nothing() {
        let ok = "HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
        let read = usage(&format!("{ok}1f\r\n{{\"cpuPercent\":12.5,\"memoryBytes\":7}}\r\n0\r\n"));
        assert_eq!(read, Some(Usage { cpu_percent: Some(12.5), memory_bytes: Some(7) }));
        assert_eq!(usage(&format!("{ok}{{}}")), Some(Usage::default()));
        for none in ["", "x", "HTTP/1.1 404 No\r\n\r\n{}", &format!("{ok}}}{{"), &format!("{ok}[]")]
        {
            assert_eq!(usage(none), None, "{none}");
        }
    }

    #[test]
    fn cpu_of_this_process_is_known() {
        assert!(Cpu::now(&[]).percent_until_now(&[]).is_some());
        assert!(of_process(u32::MAX).is_none());
    }
}
