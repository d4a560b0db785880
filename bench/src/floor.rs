//! The floor: the least that a server can do per delivery, which is one `send` of a frame that is ready.
//!
//! It speaks just enough of the protocol for the same clients: handshake and one acknowledgement. Then it frames each
//! line of its control connection once and sends that to everybody, in a loop, without epoll, index, outbox or NATS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use wsgateway_proto::handshake::accept_key;
use wsgateway_proto::v1;

use crate::error::{Error, io};
use crate::load::CHANNEL;

/// How many connections to wait for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Connections to accept before anything is sent
    #[arg(long)]
    connections: usize,
    /// Lines that make one `send`
    #[arg(long, default_value_t = 1)]
    gather: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(io("cannot listen"));
    let (clients, control) = (bind()?, bind()?);
    let address = |listener: &TcpListener| listener.local_addr().map_err(io("no address"));
    println!("clients {}\ncontrol {}", address(&clients)?, address(&control)?);
    let mut sockets = Vec::with_capacity(arguments.connections);
    for _ in 0..arguments.connections {
        let (socket, _) = clients.accept().map_err(io("cannot accept"))?;
        sockets.push(greet(socket).map_err(io("handshake"))?);
    }
    let (control, _) = control.accept().map_err(io("cannot accept"))?;
    let (mut control, mut line, mut offset) = (BufReader::new(control), Vec::new(), 0);
    let mut frames = Vec::new();
    loop {
        line.clear();
        if control.read_until(b'\n', &mut line).map_err(io("control connection"))? == 0 {
            return Ok(());
        }
        offset += 1;
        let payload = line.strip_suffix(b"\n").unwrap_or(&line);
        let ts = 1_640_995_200_000;
        let prev = offset - 1;
        let message = v1::Message { channel: CHANNEL, offset, prev, ts, payload, deleted: None };
        frames.extend_from_slice(&v1::message(&message));
        if offset % arguments.gather.max(1) != 0 {
            continue;
        }
        for socket in &mut sockets {
            if socket.write(&frames).ok() != Some(frames.len()) {
                return Err(Error::FloorBlocked);
            }
        }
        frames.clear();
    }
}

/// Handshake and acknowledgement, as the gateway would send them.
fn greet(mut socket: TcpStream) -> std::io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    let request = read_until(&mut socket, |bytes| bytes.ends_with(b"\r\n\r\n"))?;
    let request = String::from_utf8_lossy(&request);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    };
    let key = request.lines().find_map(header).unwrap_or_default();
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
        accept_key(&key),
        v1::PROTOCOL
    )?;
    // Whatever it subscribes to, in one masked frame of less than 64 KiB.
    read_until(&mut socket, |bytes| match bytes {
        [_, length, ..] if length & 0x7f < 126 => bytes.len() == 6 + usize::from(length & 0x7f),
        [_, _, high, low, ..] => bytes.len() == 8 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    })?;
    let mut answer = Vec::new();
    let ack = v1::Ack {
        id: None,
        subscribed: &[CHANNEL],
        rejected: &[],
        rejected_count: 0,
        count: 1,
        recovered: None,
        offset: 0,
    };
    v1::subscription_ack(&mut answer, &ack);
    socket.write_all(&answer)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn read_until(socket: &mut TcpStream, done: impl Fn(&[u8]) -> bool) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !done(&bytes) {
        socket.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
    Ok(bytes)
}
