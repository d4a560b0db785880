//! A program on a terminal of its own: what a person sees there, and what they press.
//!
//! In: a program, its arguments, and the size of the terminal. Out: the screen as an emulator draws it, and how the program
//! ended. The program leads a session whose controlling terminal this is, so that Ctrl-C is a signal as for a person.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::wait_until;

/// How long anything may take on a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(60);
/// Bytes that are kept of what a program writes; a screen that is drawn every second takes an hour for them.
const MOST_BYTES: usize = 16 << 20;

/// A running program. Dropping it kills it.
pub struct OnTerminal {
    child: Child,
    keys: OwnedWritePty,
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

/// What was shown, after the end.
#[derive(Debug)]
pub struct Shown {
    /// The exit code; None after a signal.
    pub code: Option<i32>,
    /// What is left on the terminal: all that was not written to the other screen.
    pub left: String,
    /// Whether the terminal is as it was: not the other screen, and with its cursor.
    pub is_restored: bool,
}

struct Seen {
    terminal: vt100::Parser,
    /// Written while the other screen was not shown.
    left: Vec<u8>,
    wrapped: Option<String>,
}

impl OnTerminal {
    /// Starts a program on a terminal of so many columns and rows.
    ///
    /// # Errors
    /// When there is no terminal, or no such program.
    pub fn start(command: Command, (columns, rows): (u16, u16)) -> Result<Self> {
        let (pty, pts) = pty_process::open()?;
        pty.resize(Size::new(rows, columns))?;
        let command = pty_process::Command::from(command).env("TERM", "xterm-256color");
        let child = command.kill_on_drop(true).spawn(pts)?;
        let side = |count| NonZeroU16::new(count).context("a terminal without room");
        let terminal = vt100::Parser::new(side(rows)?, side(columns)?, 0);
        let seen = Arc::new(Mutex::new(Seen { terminal, left: Vec::new(), wrapped: None }));
        let (output, keys) = pty.into_split();
        let reader = tokio::spawn(read(output, Arc::clone(&seen)));
        Ok(Self { child, keys, seen, reader })
    }

    /// What the terminal shows now, a row a line.
    #[must_use]
    pub fn screen(&self) -> String {
        lock(&self.seen).terminal.screen().contents()
    }

    /// The first row of the other screen, until now, whose text went on in the next row: the program did not know its width.
    #[must_use]
    pub fn wrapped(&self) -> Option<String> {
        lock(&self.seen).wrapped.clone()
    }

    /// Waits until the terminal shows this text.
    ///
    /// # Errors
    /// When it does not; the error has what it shows instead.
    pub async fn shows(&self, text: &str) -> Result<()> {
        wait_until(SOON, &format!("{text:?} on the terminal"), async || {
            self.screen().contains(text)
        })
        .await
        .with_context(|| format!("it shows:\n{}", self.screen()))
    }

    /// Makes the terminal larger or smaller.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resize(&self, (columns, rows): (u16, u16)) -> Result<()> {
        let side = |count| NonZeroU16::new(count).context("a terminal without room");
        lock(&self.seen).terminal.set_size(side(rows)?, side(columns)?);
        Ok(self.keys.resize(Size::new(rows, columns))?)
    }

    /// Presses Ctrl-C.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub async fn interrupt(&mut self) -> Result<()> {
        Ok(self.keys.write_all(b"\x03").await?)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(mut self) -> Result<Shown> {
        let status = tokio::time::timeout(SOON, self.child.wait())
            .await
            .with_context(|| format!("it does not end and shows:\n{}", self.screen()))??;
        // Until the terminal has no other end any more.
        tokio::time::timeout(SOON, self.reader).await.context("somebody keeps the terminal")??;
        let seen = lock(&self.seen);
        let screen = seen.terminal.screen();
        Ok(Shown {
            code: status.code(),
            left: text(&seen.left),
            is_restored: !screen.alternate_screen() && !screen.hide_cursor(),
        })
    }
}

impl Seen {
    fn enter(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let was_there = self.terminal.screen().alternate_screen();
            self.terminal.process(&[*byte]);
            let screen = self.terminal.screen();
            let is_there = screen.alternate_screen();
            if !was_there && !is_there && self.left.len() < MOST_BYTES {
                self.left.push(*byte);
            }
            if is_there && matches!(byte, b'\n' | b'\x1b') && self.wrapped.is_none() {
                let (rows, columns) = screen.size();
                let texts = screen.rows(0, columns.get());
                let row = (0..rows.get()).zip(texts).find(|(row, _)| screen.row_wrapped(*row));
                self.wrapped = row.map(|(_, text)| text);
            }
        }
    }
}

async fn read(mut output: OwnedReadPty, seen: Arc<Mutex<Seen>>) {
    let mut piece = [0; 8 << 10];
    // An error (EIO) is how the other end of a terminal is closed.
    while let Ok(count @ 1..) = output.read(&mut piece).await {
        lock(&seen).enter(&piece[..count]);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without what commands the terminal.
fn text(bytes: &[u8]) -> String {
    let mut in_sequence = false;
    let is_text = |c: &char| {
        let was_in = in_sequence;
        in_sequence = *c == '\x1b' || (was_in && !c.is_ascii_alphabetic());
        !in_sequence && !was_in && *c != '\r'
    };
    String::from_utf8_lossy(bytes).chars().filter(is_text).collect()
}
