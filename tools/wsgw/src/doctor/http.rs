//! One request of HTTP/1.1 on a connection of its own, as little as a check needs.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::wire::{Io, Target};

/// Most bytes of an answer that are read.
const LARGEST: usize = 64 << 10;

/// How much of an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its end, or 64 KiB of it.
    End,
    /// The first byte behind its head.
    FirstByte,
}

/// What was answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// From the head to the first byte behind it; `None`: there was none in time.
    pub(super) first_byte: Option<Duration>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    #[cfg(test)]
    pub(super) fn parsed(head: &str) -> Self {
        Self::parse(head.as_bytes()).unwrap().0
    }

    /// The head in these bytes, and its length; `None` while it is incomplete.
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        let headers = lines.filter_map(header).collect();
        Some((Self { status, headers, ..Self::default() }, end + 4))
    }
}

/// Asks, and reads the answer; the words say why there is none.
pub(super) async fn get(
    mut io: Box<dyn Io>,
    target: &Target,
    resource: &str,
    headers: &str,
    (until, within): (Until, Duration),
) -> Result<Answer, String> {
    let request = format!(
        "GET {resource} HTTP/1.1\r\nHost: {}\r\nUser-Agent: wsgw-doctor\r\nConnection: close\r\n{headers}\r\n",
        target.authority
    );
    let sent = async {
        io.write_all(request.as_bytes()).await?;
        io.flush().await
    };
    sent.await.map_err(|error| format!("the request cannot be sent: {error}"))?;
    let begun = Instant::now();
    let mut bytes = Vec::with_capacity(4 << 10);
    let mut head: Option<(Answer, usize, Instant)> = None;
    loop {
        if head.is_none()
            && let Some((answer, length)) = Answer::parse(&bytes)
        {
            head = Some((answer, length, Instant::now()));
        }
        if let Some((answer, length, at)) = &mut head
            && bytes.len() > *length
        {
            answer.first_byte.get_or_insert_with(|| at.elapsed());
            if until == Until::FirstByte {
                break;
            }
        }
        if bytes.len() >= LARGEST {
            break;
        }
        let left = within.saturating_sub(begun.elapsed());
        match timeout(left, io.read_buf(&mut bytes)).await {
            Ok(Ok(0)) | Err(_) => break,
            Ok(Ok(_)) => {}
            Ok(Err(_)) if head.is_some() => break,
            Ok(Err(error)) => return Err(format!("the connection failed: {error}")),
        }
    }
    match head {
        Some((mut answer, length, _)) => {
            answer.body =
                String::from_utf8_lossy(bytes.get(length..).unwrap_or_default()).into_owned();
            Ok(answer)
        }
        None if bytes.is_empty() && begun.elapsed() >= within => {
            Err(format!("there is no answer within {within:?}"))
        }
        None if bytes.is_empty() => Err("the other side hung up without an answer".to_owned()),
        None => Err("the answer is not HTTP".to_owned()),
    }
}
