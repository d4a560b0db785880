//! The socket of the client port, with what its connections inherit.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use wsgateway_config::GatewayConfig;
use wsgateway_runtime::raw;

use super::StartError;

/// How long the kernel waits for a client that takes nothing.
pub(super) fn patience(config: &GatewayConfig) -> Duration {
    let heartbeat = &config.heartbeat;
    let verdicts = [heartbeat.interval, heartbeat.timeout, config.slow_consumer.grace];
    verdicts.into_iter().map(Duration::from).sum::<Duration>().max(LEAST_PATIENCE)
}

/// Binds the client port. A connection whose peer acknowledges nothing, or takes nothing, for so long is reset by the
/// kernel: an HTTP client that has vanished or does not read is seen by nobody else, and without this stays for many
/// minutes. The verdicts on WebSocket clients come before.
pub(super) fn bind(address: SocketAddr, patience: Duration) -> Result<TcpListener, StartError> {
    let bind = |source| StartError::Bind { address, source };
    // Connections inherit these: three system calls less for each.
    let set = |socket: &socket2::Socket| {
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
        socket.set_tcp_user_timeout(Some(patience))
    };
    let socket = wsgateway_runtime::listen::bind(address, set).map_err(bind)?;
    if let Err(error) = raw::defer_accept(&socket, SILENCE) {
        tracing::debug!(%error, "connections are accepted before their first bytes are here");
    }
    socket.listen(BACKLOG).map_err(bind)?;
    socket.set_nonblocking(true).map_err(bind)?;
    Ok(socket.into())
}

/// Has the kernel wait as long for connections that come from now on.
pub(super) fn set_patience(port: &TcpListener, patience: Duration) -> std::io::Result<()> {
    socket2::SockRef::from(port).set_tcp_user_timeout(Some(patience))
}

/// Patience with short heartbeats: a radio link that comes back within this time lost nothing.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// Unsent bytes that the kernel keeps for a slow client before it says "full": without it, a stalled client hides
/// in 4 MiB of kernel memory for a long time before the outbox sees it.
const NOTSENT_LOWAT: u32 = 16 << 10;

/// Clients speak first, so that a connection is worth a look when its request is here: until then the kernel keeps it, for
/// less than one of ours takes. One that stays silent for so long becomes a pending connection like any other.
const SILENCE: Duration = Duration::from_secs(1);

/// Connections that the kernel completes before we accept them: a pod's clients may all come at once. The system's
/// own limit (net.core.somaxconn, 4,096 by default) applies as well.
const BACKLOG: i32 = 16_384;

#[cfg(test)]
mod tests {
    use wsgateway_config::{MemorySource, Millis, Source};

    use super::*;

    #[test]
    fn the_kernel_waits_longer_than_any_verdict_of_ours() {
        let mut config = GatewayConfig::new("n", Source::Memory(MemorySource {}));
        assert_eq!(patience(&config), Duration::from_secs(25 + 10 + 5));
        config.heartbeat.interval = Millis(100);
        assert_eq!(patience(&config), LEAST_PATIENCE);
    }

    #[test]
    fn accepted_connections_inherit_what_keeps_latency_memory_and_the_dead_low() {
        let patience = Duration::from_secs(40);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), patience).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(patience));
        let longer = Duration::from_secs(400);
        set_patience(&listener.try_clone().unwrap(), longer).unwrap();
        let _later = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(longer));
    }
}
