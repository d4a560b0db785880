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
    match bind_one(address, &set) {
        Err(error) if address.ip() == IpAddr::V6(ANY_V6) && is_without_ipv6(&error) => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            tracing::debug!(%error, "no IPv6 here");
            bind_one(v4, &set)
        }
        bound => bound,
    }
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
    fn only_the_want_of_ipv6_is_taken_as_such() {
        let error = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(is_without_ipv6(&error(rustix::io::Errno::AFNOSUPPORT)));
        assert!(!is_without_ipv6(&error(rustix::io::Errno::ADDRINUSE)));
    }
}
