//! Two calls that have no safe form in the crates that we use. Nothing else in the workspace is unsafe.

#![expect(
    unsafe_code,
    reason = "no crate of ours sets TCP_DEFER_ACCEPT, and tokio's registration is unsafe"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

/// Has a listening socket report a connection when its first bytes are here, not when its handshake is complete. One that
/// sends nothing is reported after `patience`, in whole seconds and at least one: the kernel then asks its peer once more.
///
/// # Errors
/// What the system says; the socket works without.
pub fn defer_accept(socket: &impl AsFd, patience: Duration) -> io::Result<()> {
    let seconds = c_int::try_from(patience.as_secs().max(1)).unwrap_or(c_int::MAX);
    let fd = socket.as_fd().as_raw_fd();
    let length = size_of::<c_int>() as libc::socklen_t;
    let value = (&raw const seconds).cast::<c_void>();
    // SAFETY: the descriptor is open while it is borrowed, and `value` points to `length` bytes that live until the end
    // of this function.
    match unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value, length) }
    {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Registers a non-blocking listener with the runtime that this is called in.
///
/// # Errors
/// When the system has no room for it.
///
/// # Panics
/// Outside of a runtime.
pub fn watch(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a listener owns its descriptor, gives the same one every time, and closes it only when it is dropped, which
    // is when the registration has ended.
    Ok(unsafe { AsyncFd::register(listener) }?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_connection_is_accepted_with_its_first_bytes_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        defer_accept(&listener, Duration::from_secs(1)).unwrap();
        let address = listener.local_addr().unwrap();
        let (mut silent, mut talker) =
            (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        talker.write_all(b"GET").unwrap();
        // The one that came later and spoke, then the one that is still silent.
        let first = listener.accept().unwrap();
        assert_eq!(first.1, talker.local_addr().unwrap());
        first.0.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4];
        assert_eq!(io::Read::read(&mut &first.0, &mut bytes).unwrap(), 3);
        let second = listener.accept().unwrap();
        assert_eq!(second.1, silent.local_addr().unwrap());
        silent.write_all(b"late").unwrap();
        io::Read::read_exact(&mut &second.0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"late");
    }
}
