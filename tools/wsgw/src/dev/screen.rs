//! What a person sees: the URL, a few facts, and one line that is kept up to date on a terminal.
//!
//! Written to standard output, failures ignored: a closed pipe must not end the gateway.

use std::fmt::Arguments;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::publish::Counters;
use gateway::app::Traffic;

/// The facts of the first screen.
pub(super) struct Welcome<'a> {
    pub(super) name: &'a str,
    pub(super) client: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) path: &'a str,
    /// Whether clients speak TLS.
    pub(super) secure: bool,
    pub(super) source: String,
    /// Messages a second, if there is a market.
    pub(super) rate: Option<f64>,
    /// Where to publish when there is none.
    pub(super) subjects: &'a [String],
}

pub(super) fn welcome(welcome: &Welcome<'_>) {
    let terminal = std::io::stdout().is_terminal();
    let (bold, plain) = if terminal { ("\x1b[1;36m", "\x1b[0m") } else { ("", "") };
    let client = reachable(welcome.client);
    let (http, ws) = if welcome.secure { ("https", "wss") } else { ("http", "ws") };
    write(format_args!("\n  {bold}{} is live:  {http}://{client}/{plain}\n\n", welcome.name));
    let market = match welcome.rate {
        Some(rate) => format!("simulated, about {} messages a second", rate.round().max(0.1)),
        None => format!("none: publish to {} yourself", welcome.subjects.join(", ")),
    };
    for (label, value) in [
        ("WebSocket", format!("{ws}://{client}{}  (subprotocol wsgateway.v1)", welcome.path)),
        ("Metrics", format!("http://{}/metrics", reachable(welcome.admin))),
        ("Source", welcome.source.clone()),
        ("Market", market),
        ("Stop", "Ctrl-C".to_owned()),
    ] {
        write(format_args!("  {label:<10} {value}\n"));
    }
    write(format_args!("\n"));
}

/// One remark on a line of its own.
pub(super) fn note(text: &str) {
    write(format_args!("wsgw: {text}\n"));
}

pub(super) fn goodbye() {
    write(format_args!(
        "{}wsgw: stopping\n",
        if std::io::stdout().is_terminal() { CLEAR } else { "" }
    ));
}

/// Back to the beginning of the line, and empty it.
const CLEAR: &str = "\r\x1b[2K";

/// The line that is kept up to date.
pub(super) struct Status {
    counters: Arc<Counters>,
    terminal: bool,
    published: u64,
    deliveries: u64,
}

impl Status {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, terminal: std::io::stdout().is_terminal(), published: 0, deliveries: 0 }
    }

    /// Shows what happened in the last `elapsed`. Nothing without a terminal: a log file wants no ticker.
    pub(super) fn show(&mut self, traffic: Traffic, elapsed: Duration) {
        if !self.terminal {
            return;
        }
        let published = self.counters.published.load(Ordering::Relaxed);
        let dropped = self.counters.dropped.load(Ordering::Relaxed);
        let rate =
            |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let line = format!(
            "{} connections · {:.0} messages/s published · {:.0} deliveries/s",
            traffic.connections,
            rate(published, self.published),
            rate(traffic.deliveries, self.deliveries),
        );
        (self.published, self.deliveries) = (published, traffic.deliveries);
        let trouble =
            if dropped > 0 { format!(" · {dropped} not published") } else { String::new() };
        write(format_args!("{CLEAR}  {line}{trouble}"));
    }
}

/// The address as a browser on this machine reaches it.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to stop serving.
    drop(out.write_fmt(text).and_then(|()| out.flush()));
}
