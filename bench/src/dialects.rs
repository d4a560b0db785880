//! The wires of the peers, as far as the clients must understand them.

use wsgateway_client::{Dialect, Heard};

use crate::plan::Wire;

/// How a wire is heard; none for `wsgateway.v1`, which the clients know by themselves.
pub(crate) fn dialect(wire: Wire) -> Option<Box<dyn Dialect>> {
    match wire {
        Wire::V1 => None,
        Wire::Odin => Some(Box::new(Odin)),
        Wire::Plain => Some(Box::new(Plain)),
        Wire::Nats => Some(Box::new(Nats)),
        Wire::SocketIo => Some(Box::new(SocketIo)),
    }
}

/// Path of the upgrade.
pub(crate) fn path(wire: Wire) -> &'static str {
    match wire {
        Wire::V1 | Wire::Odin | Wire::Plain => "/ws",
        Wire::Nats => "/",
        Wire::SocketIo => "/socket.io/?EIO=4&transport=websocket",
    }
}

/// The subprotocol that is asked for.
pub(crate) fn protocol(wire: Wire) -> Option<String> {
    match wire {
        Wire::V1 => Some(wsgateway_proto::v1::PROTOCOL.to_owned()),
        Wire::Odin => Some(wsgateway_proto::odin::PROTOCOL.to_owned()),
        Wire::Plain | Wire::Nats | Wire::SocketIo => None,
    }
}

/// What a connection says first to subscribe to these channels.
pub(crate) fn opening(wire: Wire, channels: &[String]) -> Vec<String> {
    match wire {
        Wire::V1 => Vec::new(),
        Wire::Odin | Wire::Plain => {
            vec![serde_json::json!({ "type": "subscribe", "channels": channels }).to_string()]
        }
        Wire::Nats => {
            let mut text = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_owned();
            for (number, channel) in channels.iter().enumerate() {
                text += &format!("SUB {channel} {}\r\n", number + 1);
            }
            vec![text + "PING\r\n"]
        }
        Wire::SocketIo => vec!["40".to_owned()],
    }
}

/// Our gateway's other protocol: whoever counts deliveries here leaves the numbers to the tests.
struct Odin;

impl Dialect for Odin {
    fn acknowledgements(&self) -> u64 {
        1
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        match bytes {
            data if data.starts_with(b"{\"seq\":") => heard.delivery(data),
            ack if ack.starts_with(b"{\"type\":\"subscription_ack\"") => heard.acknowledgement(),
            error if error.starts_with(b"{\"type\":\"error\"") => heard.error(),
            _ => heard.other(),
        }
        bytes.len()
    }
}

/// Our own peers: a greeting, an acknowledgement of the subscriptions, then payloads.
struct Plain;

impl Dialect for Plain {
    fn acknowledgements(&self) -> u64 {
        1
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        match bytes {
            greeting if greeting.starts_with(b"{\"type\":\"connection:established\"") => {
                heard.other()
            }
            ack if ack.starts_with(b"{\"type\":\"subscription_ack\"") => heard.acknowledgement(),
            payload => heard.delivery(payload),
        }
        bytes.len()
    }
}

/// NATS: a stream of lines and payloads, cut into frames anywhere.
struct Nats;

impl Dialect for Nats {
    fn acknowledgements(&self) -> u64 {
        1
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..)
            && let Some(end) = rest.windows(2).position(|two| two == b"\r\n")
        {
            let (line, behind) = rest.split_at(end + 2);
            if line.starts_with(b"MSG ") {
                let Some(length) = last_number(line) else { return bytes.len() };
                let Some(payload) = behind.get(..length) else { break };
                if behind.len() < length + 2 {
                    break;
                }
                heard.delivery(payload);
                done += length + 2;
            } else {
                match line {
                    b"PONG\r\n" => heard.acknowledgement(),
                    b"PING\r\n" => heard.answer("PONG\r\n"),
                    line if line.starts_with(b"-ERR") => heard.error(),
                    _ => heard.other(),
                }
            }
            done += line.len();
        }
        done
    }
}

fn last_number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.trim_end().rsplit(' ').next()?.parse().ok()
}

/// Socket.IO 4: `0` opens, `2` pings, `42[event, data]` is an event.
struct SocketIo;

impl Dialect for SocketIo {
    fn acknowledgements(&self) -> u64 {
        1
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        match bytes {
            b"2" => heard.answer("3"),
            b"42[\"ready\"]" => heard.acknowledgement(),
            event if event.starts_with(b"42[\"price\"") => heard.delivery(event),
            _ => heard.other(),
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use wsgateway_client::{Counters, Swarm, SwarmOptions};
    use wsgateway_proto::frame::{self, Opcode};
    use wsgateway_proto::handshake::accept_key;

    use super::*;

    /// What a swarm of one counts when a server says this, cut into frames.
    fn heard(wire: Wire, frames: &[&[u8]]) -> Counters {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut out = Vec::new();
        frames.iter().for_each(|bytes| frame::write(&mut out, Opcode::Binary, bytes));
        frame::close(&mut out, 1000, "");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let key = |line: &str| Some(line.split_once("Sec-WebSocket-Key: ")?.1.to_owned());
            let key = head.lines().find_map(key).unwrap();
            let accept = accept_key(&key);
            write!(
                stream,
                "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .unwrap();
            stream.write_all(&out).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        });
        let options = SwarmOptions { dialect: dialect(wire), ..SwarmOptions::default() };
        let mut swarm = Swarm::connect(address, options).unwrap();
        swarm.run_until(|c| c.closed() == 1, Duration::from_secs(60)).unwrap();
        swarm.counters().clone()
    }

    #[test]
    fn nats_is_understood_wherever_it_is_cut() {
        let text =
            b"INFO {}\r\nPONG\r\nMSG a 1 5\r\nfirst\r\nPING\r\nMSG a 1 2\r\n\r\n\r\n-ERR 'x'\r\n";
        for at in 0..text.len() {
            let (head, tail) = text.split_at(at);
            let counters = heard(Wire::Nats, &[head, tail]);
            let got = (counters.messages, counters.acks, counters.errors, counters.other);
            assert_eq!(got, (2, 1, 1, 1), "cut at {at}");
        }
    }

    #[test]
    fn socket_io_and_plain_servers_are_understood() {
        let frames: [&[u8]; 5] =
            [b"0{}", b"40{}", b"42[\"ready\"]", b"2", b"42[\"price\",{\"t\":1}]"];
        let counters = heard(Wire::SocketIo, &frames);
        assert_eq!((counters.messages, counters.acks, counters.other), (1, 1, 2));
        let frames: [&[u8]; 4] = [
            b"{\"type\":\"connection:established\"}",
            b"{\"type\":\"subscription_ack\"}",
            b"{}",
            b"{}",
        ];
        let counters = heard(Wire::Plain, &frames);
        assert_eq!((counters.messages, counters.acks, counters.other), (2, 1, 1));
    }
}
