//! The bytes of what a client sends.

use bytes::BytesMut;

/// Asks for messages of a subject, under a number of the client's.
pub fn subscribe(out: &mut BytesMut, subject: &str, sid: u64) {
    line(out, &[b"SUB ", subject.as_bytes(), b" ", sid.to_string().as_bytes()]);
}

/// Ends a subscription.
pub fn unsubscribe(out: &mut BytesMut, sid: u64) {
    line(out, &[b"UNSUB ", sid.to_string().as_bytes()]);
}

/// Publishes; `reply` is where an answer is expected.
pub fn publish(out: &mut BytesMut, subject: &[u8], reply: Option<&str>, payload: &[u8]) {
    let (space, reply) = reply.map_or((&b""[..], ""), |reply| (b" ", reply));
    let len = payload.len().to_string();
    line(out, &[b"PUB ", subject, space, reply.as_bytes(), b" ", len.as_bytes()]);
    line(out, &[payload]);
}

/// Introduces the client; `options` is the JSON of CONNECT.
pub fn connect(out: &mut BytesMut, options: &[u8]) {
    line(out, &[b"CONNECT ", options]);
}

/// Wants a pong.
pub fn ping(out: &mut BytesMut) {
    line(out, &[b"PING"]);
}

/// Answers a ping.
pub fn pong(out: &mut BytesMut) {
    line(out, &[b"PONG"]);
}

fn line(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts.iter().chain([&&b"\r\n"[..]]) {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lines() {
        let mut out = BytesMut::new();
        subscribe(&mut out, "a.>", 3);
        publish(&mut out, b"a", None, b"hi");
        publish(&mut out, b"a", Some("r"), b"");
        unsubscribe(&mut out, 3);
        connect(&mut out, b"{}");
        ping(&mut out);
        pong(&mut out);
        let expected = "SUB a.> 3\r\nPUB a 2\r\nhi\r\nPUB a r 0\r\n\r\nUNSUB 3\r\nCONNECT {}\r\nPING\r\nPONG\r\n";
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }
}
