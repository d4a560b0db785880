//! Free ports on loopback, for servers that must know theirs before they start.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Result, bail};

/// Below the range from which Linux takes the ports of outgoing connections (32768 on), so that no
/// client's socket takes a port between the moment it is chosen and the moment the server binds it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// How far this process has come in its walk through the range.
static WALK: AtomicU16 = AtomicU16::new(0);

/// A TCP port that nothing listens on, and that this process has not been given before.
///
/// # Errors
/// When a thousand ports in a row are taken.
pub fn free_port() -> Result<u16> {
    // Two test programs at once begin at different places: 97 is prime to COUNT.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..1000 {
        let step = u32::from(WALK.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((start + step) % u32::from(COUNT))?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 from {FIRST} on")
}
