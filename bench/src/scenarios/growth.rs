//! P12: how cost grows with connections and with subscriptions. Linear, or the curve shows it.

use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::load::Subscriptions;

/// Connections of the curve over subscriptions: 125 each make a million.
const SPREAD_OVER: usize = 8_000;

/// Of which so many get what is published.
const RECEIVERS: usize = 1_000;

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let most = bench.scale.most_connections;
    for connections in [100, 300, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000] {
        if connections <= most {
            for who in [Contestant::Floor, Contestant::Gateway] {
                over_connections(bench, &who, connections)?;
            }
        }
    }
    let most = bench.scale.most_subscriptions;
    for others in [1, 1_000, 10_000, 100_000, 250_000, 500_000, 750_000, 1_000_000] {
        if others <= most {
            over_subscriptions(bench, others)?;
        }
    }
    Ok(())
}

fn over_connections(bench: &mut Bench, who: &Contestant, count: usize) -> Result<(), Error> {
    let messages = (bench.scale.curve_deliveries / count).max(10) as u64;
    let job = Job::new(count, vec![bench.window(messages, 1)]);
    let Some(outcome) = bench.session("p12", who, &job)? else { return Ok(()) };
    let Some(measured) = outcome.phases.first() else { return Ok(()) };
    let user_mb = outcome.connected.user_bytes * count as f64 / 1e6;
    let figures = [
        ("cpuUsPerDelivery", measured.us_per_delivery()),
        ("cpuMsPerMessage", measured.cpu_ns as f64 / measured.messages.max(1) as f64 / 1e6),
        ("userMb", user_mb),
    ];
    bench.samples.push(("p12-connections", &count.to_string()), who.name(), 0, &figures);
    bench.say(&format!(
        "P12 {count} connections, {}: {:.2} µs per delivery, {user_mb:.1} MB",
        who.name(),
        measured.us_per_delivery()
    ));
    Ok(())
}

fn over_subscriptions(bench: &mut Bench, others: u64) -> Result<(), Error> {
    let quick = bench.scale.most_connections < SPREAD_OVER;
    let connections = if quick { RECEIVERS } else { SPREAD_OVER };
    let messages = (bench.scale.curve_deliveries / RECEIVERS) as u64;
    let subscriptions = Subscriptions::Spread { receivers: RECEIVERS, others };
    let job = Job { subscriptions, ..Job::new(connections, vec![bench.window(messages, 1)]) };
    let Some(outcome) = bench.session("p12", &Contestant::Gateway, &job)? else { return Ok(()) };
    let Some(measured) = outcome.phases.first() else { return Ok(()) };
    let user_mb = outcome.connected.user_bytes * connections as f64 / 1e6;
    let figures = [("cpuUsPerDelivery", measured.us_per_delivery()), ("userMb", user_mb)];
    bench.samples.push(("p12-subscriptions", &others.to_string()), "wsgateway", 0, &figures);
    bench.say(&format!(
        "P12 {others} further subscriptions over {connections} connections: {:.2} µs per delivery, {user_mb:.1} MB",
        measured.us_per_delivery()
    ));
    Ok(())
}
