//! How a table of the protocol is checked: each line says what is sent and what exactly comes back.
//!
//! Every case is run as one piece, then one byte at a time, then in random pieces: the answer must be the same. It is
//! compared frame by frame to the end of the stream, so that nothing else can come.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::servers;
use super::wire::{BINARY, CLOSE, Connection, Frame, PONG, TEXT, close, frame, random};

/// Cases up to here are also sent one byte at a time: a system call each.
const BYTE_BY_BYTE: usize = 4_000;
/// Cases up to here are also sent in random pieces.
const IN_PIECES: usize = 300_000;
/// Above, at once: what a client with a large message writes.
const LARGE_PIECE: usize = 1 << 20;
/// Sequences of random pieces for each case.
const SEQUENCES: u64 = 3;

/// A frame that is expected.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    first: u8,
    payload: Vec<u8>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Compressed,
    Either,
}

/// How the server ends the connection.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// It does not: the client closes with 1000 and gets that back.
    Client,
    /// It answers the close frame that was sent, with this code and no reason.
    Answer(u16),
    /// It closes with this code and a reason.
    Failure(u16),
}

/// A line of a table.
#[derive(Clone, Debug)]
pub(super) struct Case {
    name: String,
    sent: Vec<u8>,
    answers: Vec<Answer>,
    ending: Ending,
}

fn answer(first: u8, payload: impl AsRef<[u8]>, form: Form) -> Answer {
    Answer { first, payload: payload.as_ref().to_vec(), form }
}

pub(super) fn text(payload: impl AsRef<[u8]>) -> Answer {
    answer(TEXT, payload, Form::Plain)
}

pub(super) fn binary(payload: impl AsRef<[u8]>) -> Answer {
    answer(BINARY, payload, Form::Plain)
}

pub(super) fn pong(payload: impl AsRef<[u8]>) -> Answer {
    answer(PONG, payload, Form::Plain)
}

/// A text message that comes compressed.
pub(super) fn small(payload: impl AsRef<[u8]>) -> Answer {
    answer(TEXT, payload, Form::Compressed)
}

/// A message that comes compressed if that pays, which is not said here.
pub(super) fn either(first: u8, payload: impl AsRef<[u8]>) -> Answer {
    answer(first, payload, Form::Either)
}

fn case(
    name: impl Into<String>,
    sent: impl AsRef<[Vec<u8>]>,
    answers: impl Into<Vec<Answer>>,
    ending: Ending,
) -> Case {
    Case { name: name.into(), sent: sent.as_ref().concat(), answers: answers.into(), ending }
}

/// These frames get these answers, and the connection goes on.
pub(super) fn good(
    name: impl Into<String>,
    sent: impl AsRef<[Vec<u8>]>,
    answers: impl Into<Vec<Answer>>,
) -> Case {
    case(name, sent, answers, Ending::Client)
}

/// One message in one frame comes back as it is.
pub(super) fn echo(name: impl Into<String>, first: u8, payload: impl AsRef<[u8]>) -> Case {
    let answers = [answer(first, &payload, Form::Plain)];
    good(name, [frame(first, payload)], answers)
}

/// These frames get these answers; among them is a close frame, which is answered with this code.
pub(super) fn closed(
    name: impl Into<String>,
    sent: impl AsRef<[Vec<u8>]>,
    answers: impl Into<Vec<Answer>>,
    code: u16,
) -> Case {
    case(name, sent, answers, Ending::Answer(code))
}

/// These frames get these answers, then the server closes with this code.
pub(super) fn fails(
    name: impl Into<String>,
    sent: impl AsRef<[Vec<u8>]>,
    answers: impl Into<Vec<Answer>>,
    code: u16,
) -> Case {
    case(name, sent, answers, Ending::Failure(code))
}

/// Runs every case on a server of their own, with header lines for each connection.
pub(super) fn check(headers: &str, cases: &[Case]) -> Result<()> {
    let server = servers::echo()?;
    ensure!(!cases.is_empty(), "an empty table");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| case.check(server.client_addr, headers).err())
        .map(|error| format!("{error:#}"))
        .collect();
    ensure!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

impl Case {
    fn check(&self, address: SocketAddr, headers: &str) -> Result<()> {
        let run = |how: &str, sizes: &mut dyn Iterator<Item = usize>| {
            self.run(address, headers, sizes).with_context(|| format!("{}, {how}", self.name))
        };
        run("whole", &mut std::iter::repeat(LARGE_PIECE))?;
        if self.sent.len() <= BYTE_BY_BYTE {
            run("byte by byte", &mut std::iter::repeat(1))?;
        }
        if self.sent.len() <= IN_PIECES {
            for seed in 1..=SEQUENCES {
                run(&format!("pieces {seed}"), &mut pieces(seed))?;
            }
        }
        Ok(())
    }

    fn run(
        &self,
        address: SocketAddr,
        headers: &str,
        sizes: &mut dyn Iterator<Item = usize>,
    ) -> Result<()> {
        let mut connection = Connection::open(address, headers)?;
        connection.write_in(&self.sent, sizes);
        for (place, answer) in self.answers.iter().enumerate() {
            let frame = connection.frame()?.with_context(|| format!("no answer {place}"))?;
            answer.is(&frame).with_context(|| format!("answer {place}"))?;
        }
        if matches!(self.ending, Ending::Client) {
            connection.write(&close(1000, ""))?;
        }
        let last = connection.frame()?.context("no close frame")?;
        self.ending.is(&last)?;
        let more = connection.frame()?;
        ensure!(more.is_none(), "{more:?} behind the close frame");
        connection.hang_up();
        Ok(())
    }
}

impl Answer {
    fn is(&self, frame: &Frame) -> Result<()> {
        let compressed = match self.form {
            Form::Plain => false,
            Form::Compressed => true,
            Form::Either => frame.first & super::wire::DEFLATED != 0,
        };
        ensure!(
            frame.is(self.first, &self.payload, compressed)?,
            "{} instead of {} {:?}",
            brief(frame.first, &frame.payload),
            brief(self.first, &self.payload),
            self.form,
        );
        Ok(())
    }
}

impl Ending {
    fn is(self, frame: &Frame) -> Result<()> {
        let code = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = frame.payload.get(2..).unwrap_or_default();
        let fits = match self {
            Self::Client => code == Some(1000) && reason.is_empty(),
            Self::Answer(wanted) => code == Some(wanted) && reason.is_empty(),
            Self::Failure(wanted) => {
                let says_why = !reason.is_empty() && frame.payload.len() <= 125;
                code == Some(wanted) && says_why && std::str::from_utf8(reason).is_ok()
            }
        };
        ensure!(
            frame.first == CLOSE && fits,
            "{} instead of {self:?}",
            brief(frame.first, &frame.payload)
        );
        Ok(())
    }
}

/// A frame for an error message.
fn brief(first: u8, payload: &[u8]) -> String {
    let start = payload.get(..40).unwrap_or(payload);
    format!("{first:#04x}, {} bytes \"{}\"", payload.len(), start.escape_ascii())
}

/// Mostly a few bytes, sometimes more than a network packet.
fn pieces(seed: u64) -> impl Iterator<Item = usize> {
    random(seed).map(|number| match number % 4 {
        0 => 1 + number as usize / 4 % 3,
        1 | 2 => 1 + number as usize / 4 % 40,
        _ => 1 + number as usize / 4 % 9_000,
    })
}
