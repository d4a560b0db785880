//! Listening on IPv4 and IPv6 with one socket, where the host has both.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A TCP socket bound to an address, not listening yet. `set` is called before it is bound. The address `::` takes
/// connections of IPv4 too, and is `0.0.0.0` on a host without IPv6.
///
/// # Errors
/// When the port is taken, or the address is none of this host's.
pub fn bind(address: SocketAddr, set: impl Fn(&Socket) -> io::Result<()>) -> io::Result<Socket> {
    let error = match bind_one(address, &set) {
        Ok(socket) => return Ok(socket),
        Err(error) => error,
    };
    let v4 = instead(address, &error).ok_or(error)?;
    tracing::debug!(%v4, "no IPv6 here");
    bind_one(v4, &set)
}

/// The address to bind instead of one that cannot be bound for this reason: all of IPv4 where all of IPv6 is unavailable.
fn instead(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let any = address.ip() == IpAddr::V6(ANY_V6) && is_without_ipv6(error);
    any.then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}

const ANY_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::UNSPECIFIED;

fn bind_one(address: SocketAddr, set: &impl Fn(&Socket) -> io::Result<()>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A port whose last connections linger can be bound again.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    set(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The kernel has no IPv6, or it is switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn any_address_takes_ipv4_and_ipv6() {
        let socket = bind(SocketAddr::new(ANY_V6.into(), 0), |_| Ok(())).unwrap();
        socket.listen(9).unwrap();
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn without_ipv6_the_same_port_of_ipv4_is_bound_and_for_no_other_reason() {
        use rustix::io::Errno;
        let instead = |address: &str, errno: Errno| {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            instead(address.parse().unwrap(), &error).map(|address| address.to_string())
        };
        for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            assert_eq!(instead("[::]:8080", errno), Some("0.0.0.0:8080".to_owned()));
            // Who names an address gets this one or an error.
            assert_eq!(instead("[::1]:8080", errno), None);
            assert_eq!(instead("192.0.2.1:8080", errno), None);
        }
        assert_eq!(instead("[::]:8080", Errno::ADDRINUSE), None);
        assert_eq!(instead("[::]:80", Errno::ACCESS), None);
    }
}
