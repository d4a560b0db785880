//! What a Redis server says, read from bytes as they come: RESP2, as far as a subscriber meets it.
//!
//! Sans-io and bounded: a string longer than asked for is passed over while it arrives, never held. A subscriber gets flat
//! lists of strings and numbers, and single answers to what it asked before.
//!
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use bytes::{Buf as _, Bytes, BytesMut};

/// Longest line: a type, a number, or an error message.
const LONGEST_LINE: usize = 4 << 10;
/// Most items of a list: a delivery has four.
const MOST_ITEMS: u64 = 8;

/// One thing that the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A list, such as a delivery or a confirmation.
    List(Vec<Item>),
    /// An answer by itself.
    Single(Item),
    /// A refusal, such as `WRONGPASS invalid username-password pair`.
    Error(String),
}

/// A string or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Bytes; empty for "none".
    Text(Bytes),
    /// A string of this many bytes, more than were asked for.
    TooLarge(u64),
    /// A number.
    Number(i64),
}

/// Not RESP2 as a subscriber meets it: whatever listens there, this connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbled {
    #[error("a line longer than {LONGEST_LINE} bytes")]
    Line,
    #[error("a list of more than {MOST_ITEMS} items, or within a list")]
    List,
    #[error("a number or the end of a line where none may be")]
    Number,
    #[error("a type that RESP2 does not know: {0:?}")]
    Kind(char),
}

/// Reads replies out of a buffer.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Longest string held.
    longest: u64,
    /// Items of the list under way.
    items: Vec<Item>,
    /// How many of it are still to come.
    missing: u64,
    /// Bytes of a string that is too large, still to be passed over.
    skip: u64,
}

impl Decoder {
    pub(super) fn new(longest: u32) -> Self {
        Self { longest: longest.into(), items: Vec::new(), missing: 0, skip: 0 }
    }

    /// The next reply, taken out of the buffer; None: more bytes are needed. After an error the rest means nothing.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, Garbled> {
        loop {
            let passed = self.skip.min(buffer.len() as u64);
            buffer.advance(passed as usize);
            self.skip -= passed;
            if self.skip > 0 {
                return Ok(None);
            }
            // What was too large counts as read only when all of it has passed.
            if self.missing == 0 && !self.items.is_empty() {
                return Ok(Some(Reply::List(std::mem::take(&mut self.items))));
            }
            let Some(end) = end_of_line(buffer)? else { return Ok(None) };
            let kind = buffer[0];
            let line = &buffer[1..end];
            let item = match kind {
                b'*' => {
                    let count = number(line)?;
                    let fits = u64::try_from(count).ok().filter(|n| (1..=MOST_ITEMS).contains(n));
                    match fits {
                        Some(count) if self.missing == 0 => self.missing = count,
                        _ => return Err(Garbled::List),
                    }
                    buffer.advance(end + 2);
                    continue;
                }
                b'$' => {
                    let length = number(line)?;
                    match self.text(length, end + 2, buffer)? {
                        Some(item) => item,
                        None => return Ok(None),
                    }
                }
                b':' => Item::Number(number(line)?).after(buffer, end + 2),
                b'+' => Item::Text(Bytes::copy_from_slice(line)).after(buffer, end + 2),
                b'-' if self.missing == 0 => {
                    let message = String::from_utf8_lossy(line).into_owned();
                    buffer.advance(end + 2);
                    return Ok(Some(Reply::Error(message)));
                }
                b'-' => return Err(Garbled::List),
                other => return Err(Garbled::Kind(other.into())),
            };
            if self.missing == 0 {
                return Ok(Some(Reply::Single(item)));
            }
            self.missing -= 1;
            self.items.push(item);
        }
    }

    /// A string of `length` bytes that begins at `start`; None: not all of it is there.
    fn text(
        &mut self,
        length: i64,
        start: usize,
        buffer: &mut BytesMut,
    ) -> Result<Option<Item>, Garbled> {
        if length == -1 {
            return Ok(Some(Item::Text(Bytes::new()).after(buffer, start)));
        }
        let length = u64::try_from(length).map_err(|_| Garbled::Number)?;
        if length > self.longest {
            self.skip = length.saturating_add(2);
            return Ok(Some(Item::TooLarge(length).after(buffer, start)));
        }
        // At most `longest`, which is 32 bits.
        let end = start + length as usize;
        if buffer.len() < end + 2 {
            return Ok(None);
        }
        if buffer[end..end + 2] != *b"\r\n" {
            return Err(Garbled::Number);
        }
        buffer.advance(start);
        let text = buffer.split_to(length as usize).freeze();
        buffer.advance(2);
        Ok(Some(Item::Text(text)))
    }
}

impl Item {
    /// This, with so many bytes taken out of the buffer.
    fn after(self, buffer: &mut BytesMut, bytes: usize) -> Self {
        buffer.advance(bytes);
        self
    }
}

/// Where the first line ends, before its CRLF.
fn end_of_line(buffer: &BytesMut) -> Result<Option<usize>, Garbled> {
    let within = &buffer[..buffer.len().min(LONGEST_LINE)];
    match within.windows(2).position(|pair| pair == b"\r\n") {
        Some(0) => Err(Garbled::Number),
        Some(end) => Ok(Some(end)),
        None if within.len() == LONGEST_LINE => Err(Garbled::Line),
        None => Ok(None),
    }
}

fn number(digits: &[u8]) -> Result<i64, Garbled> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(Garbled::Number)
}

/// A command, as it is sent.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests;
