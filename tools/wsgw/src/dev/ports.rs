//! Ports that can be had.

use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::error::Error;

/// How many ports are tried from the default one on: more than the servers of any laptop.
const TRIES: u16 = 100;

/// The port that was asked for, if it is free; without a wish the first free one from `default` on, but not `other`.
pub(super) fn choose(
    host: IpAddr,
    wish: Option<u16>,
    default: u16,
    other: u16,
    flag: &'static str,
) -> Result<u16, Error> {
    // Port 0 is asked first: an address that is not of this machine has no free port either.
    try_bind(host, 0).map_err(|source| Error::Host { host, source })?;
    if let Some(port) = wish {
        return try_bind(host, port).map(|()| port).map_err(|source| {
            let address = SocketAddr::new(host, port);
            Error::Port { address, flag, source }
        });
    }
    let last = default.saturating_add(TRIES - 1);
    (default..=last)
        .find(|port| *port != other && try_bind(host, *port).is_ok())
        .ok_or(Error::NoPort { first: default, last, flag })
}

/// The gateway binds again a moment later; should somebody else be faster, its own error says so.
fn try_bind(host: IpAddr, port: u16) -> std::io::Result<()> {
    TcpListener::bind((host, port)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_taken_port_is_an_error_that_names_the_flag() {
        let taken = TcpListener::bind((HOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose(HOST, Some(port), 8080, 0, "--port").unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_an_error_that_names_the_flag() {
        // A network for documentation (RFC 5737).
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        for wish in [None, Some(0)] {
            let error = choose(elsewhere, wish, 8080, 0, "--port").unwrap_err().to_string();
            assert!(error.contains("192.0.2.1") && error.contains("--host"), "{error}");
        }
    }

    #[test]
    fn without_a_wish_a_taken_port_is_passed_over() {
        let taken = TcpListener::bind((HOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let chosen = choose(HOST, None, port, 0, "--port").unwrap();
        assert!(chosen > port, "{chosen} after {port}");
    }

    #[test]
    fn both_ports_of_a_gateway_differ() {
        let first = choose(HOST, None, 41_000, 0, "--port").unwrap();
        assert_ne!(choose(HOST, None, first, first, "--admin-port").unwrap(), first);
    }
}
