//! Long-polls as the transport of `wsgateway.v1`: the requests, and the pushes in their answers.

use std::borrow::Cow;
use std::str;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::events;
use super::hear::Ear;
use super::observer::{Acknowledgement, Gap};
use super::record::Record;

/// The head of an answer.
const MAX_HEAD: usize = 16 << 10;
/// How long a first request waits on the server, in seconds: it shows whether the connection works.
const FIRST_WAIT: u8 = 1;
/// How long the others wait: as the documentation of the protocol has it.
const WAIT: u8 = 25;

/// A request for what came after a cursor; without one for the cursor of this moment.
pub(super) fn request(
    (host, path): (&str, &str),
    channels: &[String],
    cursor: Option<(&str, u64)>,
    is_first: bool,
) -> Vec<u8> {
    let query = if path.contains('?') { '&' } else { '?' };
    let names: Vec<String> = channels.iter().map(|name| events::escaped(name)).collect();
    let wait = if is_first { FIRST_WAIT } else { WAIT };
    let mut request = format!("GET {path}{query}channels={}&wait={wait}", names.join(","));
    if let Some((epoch, offset)) = cursor {
        request += &format!("&cursor={}:{offset}", events::escaped(epoch));
    }
    (request + &format!(" HTTP/1.1\r\nHost: {host}\r\n\r\n")).into_bytes()
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// Whether the connection ends with it.
    pub(super) is_last: bool,
    pub(super) body: Cow<'a, [u8]>,
    /// Where the next one begins.
    pub(super) end: usize,
}

/// Takes an answer out of what came; `None` while it is incomplete.
///
/// # Errors
/// When it is none, or longer than `most`.
pub(super) fn answer(bytes: &[u8], most: usize) -> Result<Option<Answer<'_>>, &'static str> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err("the head is too long") } else { Ok(None) };
    };
    let text = bytes.get(..head).and_then(|head| str::from_utf8(head).ok());
    let text = text.ok_or("the head cannot be read")?;
    let mut lines = text.split("\r\n");
    let first = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = first.and_then(|line| line.get(2..5)?.parse().ok()).ok_or("no HTTP/1 answer")?;
    let (mut length, mut chunked, mut is_last) = (None, false, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a header is none")?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().map_err(|_| "a length that is none")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            is_last = value.eq_ignore_ascii_case("close");
        }
    }
    let from = head + 4;
    if chunked {
        let whole = chunks(bytes, from, most)?;
        return Ok(whole.map(|(body, end)| Answer { status, is_last, body: body.into(), end }));
    }
    let length = length.ok_or("an answer without a length")?;
    if length > most {
        return Err("an answer is too long");
    }
    let body = bytes.get(from..from + length);
    Ok(body.map(|body| Answer { status, is_last, body: body.into(), end: from + length }))
}

/// A body in pieces, and where it ends.
fn chunks(
    bytes: &[u8],
    mut at: usize,
    most: usize,
) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
            return if rest.len() > MAX_HEAD { Err("a piece without a length") } else { Ok(None) };
        };
        let digits = rest.get(..line).and_then(|line| str::from_utf8(line).ok());
        let digits = digits.and_then(|line| line.split(';').next()).map(str::trim);
        let length = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let length = length.filter(|length| *length <= most).ok_or("a piece without a length")?;
        let from = at + line + 2;
        let Some(piece) = bytes.get(from..from + length + 2) else { return Ok(None) };
        at = from + length + 2;
        if length == 0 {
            return Ok(Some((body, at)));
        }
        body.extend_from_slice(piece.get(..length).unwrap_or_default());
        if body.len() > most {
            return Err("an answer is too long");
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(borrow)]
    cursor: Cow<'a, str>,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    recovered: Option<bool>,
    #[serde(default, borrow)]
    gaps: Vec<Missing<'a>>,
    #[serde(default)]
    rejected: Vec<IgnoredAny>,
    rejected_count: Option<u64>,
}

#[derive(Deserialize)]
struct Missing<'a> {
    #[serde(default, borrow)]
    channel: Cow<'a, str>,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    to: u64,
    #[serde(default, borrow)]
    reason: Cow<'a, str>,
}

/// Counts what an answer holds, and takes the next cursor from it; `channels` are those that were asked for.
pub(super) fn hear(body: &[u8], ear: &mut Ear<'_>, channels: u64, record: &mut Record) {
    let parsed = serde_json::from_slice::<Body<'_>>(body).ok();
    let parsed = parsed.as_ref().and_then(|body| {
        let (epoch, offset) = body.cursor.trim_end_matches('~').rsplit_once(':')?;
        Some((body, epoch, offset.parse::<u64>().ok()?))
    });
    let Some((body, epoch, offset)) = parsed else {
        record.counters.malformed += 1;
        return;
    };
    if ear.tally.acks == 0 {
        let rejected = body.rejected_count.unwrap_or(body.rejected.len() as u64);
        record.counters.acks += 1;
        record.counters.rejected += rejected;
        ear.tally.acks += 1;
        if body.messages.is_empty() {
            ear.ledger.restart(offset);
        }
        if let Some(observer) = &mut record.observer {
            let count = channels.saturating_sub(rejected);
            let recovered = body.recovered;
            let offset = Some(offset);
            observer
                .acknowledged(ear.number, &Acknowledgement { offset, recovered, count, rejected });
        }
    }
    for gap in &body.gaps {
        record.counters.admitted_gaps += 1;
        if let Some(observer) = &mut record.observer {
            let Missing { channel, from, to, reason } = gap;
            observer.gap(ear.number, &Gap { channel, from: *from, to: *to, reason });
        }
    }
    body.messages.iter().for_each(|message| ear.text(message.get(), record));
    ear.place.cursor = record.epochs.number(epoch);
    ear.ledger.acknowledge(offset);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1_000;

    #[test]
    fn a_request_has_its_channels_and_cursor() {
        let channels = ["a.>".to_owned()];
        let text = |cursor, is_first| {
            String::from_utf8(request(("h:1", "/poll"), &channels, cursor, is_first)).unwrap()
        };
        let expected = "GET /poll?channels=a.%3E&wait=1&cursor=e:7 HTTP/1.1\r\nHost: h:1\r\n\r\n";
        assert_eq!(text(Some(("e", 7)), true), expected);
        assert!(text(None, false).starts_with("GET /poll?channels=a.%3E&wait=25 HTTP/1.1\r\n"));
    }

    #[test]
    fn an_answer_is_taken_whole_with_a_length_or_in_pieces() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 ";
        let wanted = Answer { status: 200, is_last: false, body: b"{}".into(), end: 40 };
        assert_eq!(answer(plain, MOST), Ok(Some(wanted)));
        let pieces: &[u8] =
            b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\na;x=1\r\n0123456789\r\n0\r\n\r\n";
        let found = answer(pieces, MOST).unwrap().unwrap();
        assert_eq!((found.status, found.is_last, found.end), (503, true, pieces.len()));
        assert_eq!(&*found.body, b"{}0123456789");
        for end in 0..pieces.len() {
            assert_eq!(answer(&pieces[..end], MOST), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_is_no_answer_or_too_long_is_an_error() {
        for bad in [
            &b"SSH-2.0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            &[b'a'; MAX_HEAD + 1],
        ] {
            assert!(answer(bad, MOST).is_err(), "{bad:?}");
        }
    }
}
