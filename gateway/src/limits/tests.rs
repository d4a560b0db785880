//! The limits without sockets.

use std::time::Duration;

use wsgateway_config::AcceptRate;

use super::*;

const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

fn of(change: impl FnOnce(&mut Accepts)) -> Limits {
    let mut accepts = Accepts::default();
    change(&mut accepts);
    Limits::new(&accepts)
}

fn refused(limits: &Limits, address: IpAddr, now: Instant) -> Limited {
    limits.enter(address, now).unwrap_err()
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let limits = of(|_| ());
    assert!(limits.enter(ONE, Instant::now()).unwrap().is_none());
    assert!(limits.state().held.is_empty() && limits.state().per_address.is_none());
}

#[test]
fn an_address_has_so_many_connections_at_a_time_and_the_drop_of_one_makes_room() {
    let (limits, now) = (of(|accepts| accepts.connections_per_address = 2), Instant::now());
    let held = [limits.enter(ONE, now).unwrap(), limits.enter(ONE, now).unwrap()];
    assert_eq!(refused(&limits, ONE, now), Limited::Connections);
    let other = limits.enter(TWO, now).unwrap();
    drop(held);
    assert!(limits.enter(ONE, now).is_ok());
    drop(other);
    assert!(limits.state().held.is_empty(), "no entry is left for whoever has left");
}

#[test]
fn hosts_of_one_ipv6_network_share_their_limit() {
    let (limits, now) = (of(|accepts| accepts.connections_per_address = 1), Instant::now());
    let _one = limits.enter("2001:db8::1".parse().unwrap(), now).unwrap();
    let same: IpAddr = "2001:db8::ffff:0:0:2".parse().unwrap();
    assert_eq!(refused(&limits, same, now), Limited::Connections);
    assert!(limits.enter("2001:db8:0:1::1".parse().unwrap(), now).is_ok());
}

#[test]
fn each_address_has_a_rate_of_its_own_and_is_told_how_long_to_wait() {
    let rate = AcceptRate { per_second: 10, burst: 2 };
    let (limits, now) = (of(|accepts| accepts.per_address = rate), Instant::now());
    assert!([0, 1].map(|_| limits.enter(ONE, now)).iter().all(Result::is_ok));
    assert_eq!(refused(&limits, ONE, now), Limited::AddressRate { wait_ms: 100 });
    assert!(limits.enter(TWO, now).is_ok());
    assert!(limits.enter(ONE, now + Duration::from_millis(100)).is_ok());
}

#[test]
fn who_is_refused_by_the_rate_of_all_has_spent_nothing_of_the_own_one() {
    let limits = of(|accepts| {
        accepts.all = AcceptRate { per_second: 1, burst: 1 };
        accepts.per_address = AcceptRate { per_second: 1, burst: 1 };
    });
    let now = Instant::now();
    assert!(limits.enter(ONE, now).is_ok());
    assert_eq!(refused(&limits, TWO, now), Limited::Rate { wait_ms: 1_000 });
    assert!(limits.enter(TWO, now + Duration::from_secs(1)).is_ok());
}

#[test]
fn fifty_thousand_clients_of_an_exempt_network_come_at_once() {
    let limits = of(|accepts| {
        accepts.connections_per_address = 3;
        accepts.per_address = AcceptRate { per_second: 1, burst: 3 };
        accepts.exempt_networks = vec!["192.0.2.1/32".parse().unwrap()];
    });
    let now = Instant::now();
    let held: Vec<_> = (0..50_000).map(|_| limits.enter(ONE, now).unwrap()).collect();
    assert!(limits.state().held.is_empty());
    let others: Vec<_> = (0..3).map(|_| limits.enter(TWO, now).unwrap()).collect();
    assert_eq!(refused(&limits, TWO, now), Limited::Connections);
    drop((held, others));
}

#[test]
fn other_limits_hold_from_now_on_and_who_is_there_is_still_counted() {
    let accepts = |most| Accepts { connections_per_address: most, ..Accepts::default() };
    let (limits, now) = (Limits::new(&accepts(2)), Instant::now());
    let held = [limits.enter(ONE, now).unwrap(), limits.enter(ONE, now).unwrap()];
    limits.configure(&accepts(1));
    assert_eq!(refused(&limits, ONE, now), Limited::Connections);
    limits.configure(&accepts(0));
    assert!(limits.enter(ONE, now).unwrap().is_none());
    limits.configure(&accepts(3));
    assert!(limits.enter(ONE, now).is_ok());
    drop(held);
    assert!(limits.state().held.is_empty());
}
