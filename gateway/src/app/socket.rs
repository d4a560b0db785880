//! The socket of the client port, with what its connections inherit.

use std::net::{SocketAddr, TcpListener};

use super::StartError;

pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = |source| StartError::Bind { address, source };
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .map_err(bind)?;
    socket.set_reuse_address(true).map_err(bind)?;
    // Connections inherit both: two system calls less for each.
    socket.set_tcp_nodelay(true).map_err(bind)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT).map_err(bind)?;
    socket.bind(&address.into()).map_err(bind)?;
    socket.listen(BACKLOG).map_err(bind)?;
    socket.set_nonblocking(true).map_err(bind)?;
    Ok(socket.into())
}

/// Unsent bytes that the kernel keeps for a slow client before it says "full": without it, a stalled client hides
/// in 4 MiB of kernel memory for a long time before the outbox sees it.
const NOTSENT_LOWAT: u32 = 16 << 10;

/// Connections that the kernel completes before we accept them: a pod's clients may all come at once. The system's
/// own limit (net.core.somaxconn, 4,096 by default) applies as well.
const BACKLOG: i32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_inherit_what_keeps_latency_and_kernel_memory_low() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
    }
}
