//! `wsgw sub`: hears channels as any client does, line by line, and goes on after a lost connection where it was.
//!
//! The thin shell around [`session::Session`]: sockets, clocks, standard output. Data is on standard output, everything else on
//! standard error.

mod ends;
mod session;

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::cli::{Connect, SubArgs};
use crate::error::Error;
use crate::output::print;
use crate::token::{now_ms, read_token};
use crate::wire::socket::{Asks, Received, Socket, SocketError};
use crate::wire::{Target, WireError, dial};
pub(crate) use ends::Body;
use ends::{Next, after_close, after_upgrade};
use session::{Cursor, Form, Out, Session};

/// Longest time for each step of a connection.
const STEP: Duration = Duration::from_secs(10);

/// Why it ended before it was to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{0}")]
    Refused(String),
    #[error("--timeout is over after {heard} of {wanted} messages")]
    Timeout { heard: u64, wanted: u64 },
    #[error("{0:?} is no cursor: give EPOCH:OFFSET as wsgw sub has printed it")]
    Cursor(String),
    #[error("the token holds characters that no token has: give it alone, without its name")]
    Token,
}

impl SubError {
    /// For scripts.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Timeout { .. } => 3,
            Self::Refused(_) => 4,
            Self::Wire(_) | Self::Cursor(_) | Self::Token => 1,
        }
    }
}

pub(crate) async fn run(options: &SubArgs) -> Result<(), Error> {
    let target = Target::parse(&options.connect.url).map_err(SubError::from)?;
    let form = match (options.raw, options.json) {
        (true, _) => Form::Raw,
        (_, true) => Form::Json,
        _ => Form::Line,
    };
    let cursor = match &options.cursor {
        Some(text) => Some(Cursor::parse(text).ok_or_else(|| SubError::Cursor(text.clone()))?),
        None => None,
    };
    let session = Session::new(options.channels.clone(), form, options.snapshot).from(cursor);
    let mut listener = Listener { options, target, session, heard: 0 };
    let end = async {
        match options.timeout {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        outcome = listener.hear() => outcome,
        () = end => match options.count {
            Some(wanted) => Err(SubError::Timeout { heard: listener.heard, wanted }.into()),
            None => Ok(()),
        },
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if let Some(cursor) = listener.session.cursor() {
        note(&format!("to go on from here: --cursor {cursor}"));
    }
    outcome
}

fn note(text: &str) {
    eprintln!("wsgw: {text}");
}

/// The token of the flags, as it is now.
pub(crate) fn token(connect: &Connect) -> Result<Option<String>, Error> {
    let text = match (&connect.token_file, &connect.token) {
        (Some(file), _) => read_file(file)?,
        (None, Some(token)) => token.clone(),
        (None, None) => return Ok(None),
    };
    let token = text.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    // A line break would end the header, and begin another one.
    let is_plain = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
    if is_plain { Ok(Some(token.to_owned())) } else { Err(SubError::Token.into()) }
}

fn read_file(file: &Path) -> Result<String, Error> {
    let opened = std::fs::File::open(file);
    let name = file.display().to_string();
    read_token(opened.map_err(|source| Error::Read { name, source })?)
}

struct Listener<'a> {
    options: &'a SubArgs,
    target: Target,
    session: Session,
    heard: u64,
}

/// How a connection ended.
enum End {
    /// Everything that was wanted has come.
    Done,
    Next(Next),
}

impl Listener<'_> {
    /// One connection after the other.
    async fn hear(&mut self) -> Result<(), Error> {
        let (mut failures, mut was_open) = (0u32, false);
        loop {
            let next = match self.connect().await {
                Ok(socket) => {
                    if was_open {
                        note("connected again");
                    }
                    (failures, was_open) = (0, true);
                    match self.listen(socket).await? {
                        End::Done => return Ok(()),
                        End::Next(next) => next,
                    }
                }
                // A name or a port that never answered is more likely wrong than down.
                Err(Failed::Wire(error)) if !was_open => return Err(SubError::from(error).into()),
                Err(Failed::Wire(error)) => {
                    Next::Again { why: error.to_string(), after: Duration::ZERO }
                }
                Err(Failed::Socket(error)) => after_upgrade(&error),
                Err(Failed::Other(error)) => return Err(error),
            };
            match next {
                Next::Refused(why) => return Err(SubError::Refused(why).into()),
                Next::Again { why, after } => {
                    let pause = ends::pause(failures, fastrand::f64()).max(after);
                    failures = failures.saturating_add(1);
                    note(&format!("{why}; connecting again in {} ms", pause.as_millis()));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Socket, Failed> {
        let token = token(&self.options.connect).map_err(Failed::Other)?;
        let io = dial(&self.target, self.options.connect.ca.as_deref(), STEP).await?;
        let asks = Asks { token: token.as_deref(), deflate: false };
        let mut socket = Socket::open(io, &self.target, asks, STEP).await?;
        socket.send(&self.session.subscribe()).await.map_err(SocketError::from)?;
        Ok(socket)
    }

    async fn listen(&mut self, mut socket: Socket) -> Result<End, Error> {
        let mut heard_at = Instant::now();
        let mut asked = false;
        loop {
            // A gateway is never silent for longer: it pings, and answers pings.
            let most = Duration::from_millis(self.session.heartbeat_ms());
            let wait = if asked { STEP } else { most };
            let Ok(received) =
                timeout(wait.saturating_sub(heard_at.elapsed()), socket.next()).await
            else {
                if asked {
                    let why = "the gateway does not answer any more".to_owned();
                    return Ok(End::Next(Next::Again { why, after: Duration::ZERO }));
                }
                (asked, heard_at) = (true, Instant::now());
                if socket.send(&ping()).await.is_err() {
                    return Ok(End::Next(after_close(1006, "", true)));
                }
                continue;
            };
            (asked, heard_at) = (false, Instant::now());
            let can_renew = self.options.connect.token_file.is_some();
            match received {
                Ok(Received::Text(text)) => {
                    if let Some(end) = self.take(&text, &mut socket).await? {
                        if matches!(end, End::Done) {
                            socket.close().await;
                        }
                        return Ok(end);
                    }
                }
                // The gateway pings when it has nothing to say: its pong keeps the cursor of quiet channels recent.
                Ok(Received::Ping) => drop(socket.send(&ping()).await),
                Ok(Received::Other) => {}
                Ok(Received::Close(code, reason)) => {
                    return Ok(End::Next(after_close(code, &reason, can_renew)));
                }
                Ok(Received::End) => return Ok(End::Next(after_close(1006, "", can_renew))),
                Err(error) => {
                    let why = error.to_string();
                    return Ok(End::Next(Next::Again { why, after: Duration::ZERO }));
                }
            }
        }
    }

    /// Does what a push asks for.
    async fn take(&mut self, text: &str, socket: &mut Socket) -> Result<Option<End>, Error> {
        for out in self.session.take(text) {
            match out {
                Out::Print(line) => print(&line)?,
                Out::Note(text) => note(&text),
                Out::Counted => {
                    self.heard += 1;
                    if self.options.count.is_some_and(|wanted| self.heard >= wanted) {
                        return Ok(Some(End::Done));
                    }
                }
                Out::Rejected(text) => return Ok(Some(End::Next(Next::Refused(text)))),
                Out::TokenWanted => {
                    if let (Some(_), Ok(Some(token))) =
                        (&self.options.connect.token_file, token(&self.options.connect))
                    {
                        let auth = json!({ "type": "auth", "id": 2, "token": token }).to_string();
                        // A connection that fails here ends with the next read.
                        let _ = socket.send(&auth).await;
                    }
                }
                Out::Reconnect(after) => {
                    let after = Duration::from_millis(after.min(60_000));
                    let why = "the gateway asks to reconnect".to_owned();
                    return Ok(Some(End::Next(Next::Again { why, after })));
                }
            }
        }
        Ok(None)
    }
}

fn ping() -> String {
    json!({ "type": "ping", "timestamp": now_ms() }).to_string()
}

/// Why there is no connection.
enum Failed {
    Wire(WireError),
    Socket(SocketError),
    Other(Error),
}

impl From<WireError> for Failed {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<SocketError> for Failed {
    fn from(error: SocketError) -> Self {
        Self::Socket(error)
    }
}
