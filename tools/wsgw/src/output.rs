//! Standard output: pages for people, documents for programs, and screens that are drawn again.

use std::io::Write as _;

use serde::Serialize;
use wsgateway_config::yaml;

use crate::cli::{Format, Show};
use crate::error::Error;
use crate::screen::Terminal;

/// The other screen of the terminal, so that what was there before is there afterwards; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left, and what is left of the screen is emptied.
const HOME: &str = "\x1b[H";
const REST: &str = "\x1b[J";
/// What is left of a line.
const LINE: &str = "\x1b[K\n";

/// A list of things, as `-o json` and `-o yaml` have it.
#[derive(Serialize)]
pub(crate) struct Items<'a, T> {
    pub(crate) items: &'a [T],
}

/// Writes at once.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough: wsgw status | head
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => Ok(outcome?),
    }
}

/// Things as a document for programs. `follow`: further documents follow this one.
pub(crate) fn document<T: Serialize>(
    items: &[T],
    format: Format,
    follow: bool,
) -> Result<String, Error> {
    let items = Items { items };
    let json = |error: serde_json::Error| Error::Write(error.into());
    Ok(match (format, follow) {
        (Format::Yaml, true) => format!("---\n{}", yaml::to_string(&items)?),
        (Format::Yaml, false) => yaml::to_string(&items)?,
        (_, true) => format!("{}\n", serde_json::to_string(&items).map_err(json)?),
        (_, false) => format!("{}\n", serde_json::to_string_pretty(&items).map_err(json)?),
    })
}

/// Where something is shown again and again: drawn over on a terminal, one after the other elsewhere.
pub(crate) struct Redraw {
    show: Show,
    is_open: bool,
}

impl Redraw {
    pub(crate) fn new(show: Show) -> Self {
        Self { show, is_open: false }
    }

    /// Shows the next state.
    pub(crate) fn draw(&mut self, text: &str) -> Result<(), Error> {
        let terminal = Terminal::new(self.show.color);
        if !terminal.can_redraw(self.show) {
            return print(text);
        }
        let mut screen = String::new();
        if !self.is_open {
            screen.push_str(ENTER);
            self.is_open = true;
        }
        screen.push_str(HOME);
        screen.push_str(&fitted(text, terminal.height));
        screen.push_str(REST);
        print(&screen)
    }
}

impl Drop for Redraw {
    fn drop(&mut self) {
        if self.is_open {
            drop(print(LEAVE));
        }
    }
}

/// As many lines as the terminal has; more would move all of them up.
fn fitted(text: &str, height: Option<usize>) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.unwrap_or(usize::MAX).saturating_sub(1).max(1);
    let mut out = String::new();
    if lines.len() <= room {
        lines.iter().for_each(|line| out.extend([line, LINE]));
        return out;
    }
    lines.iter().take(room - 1).for_each(|line| out.extend([line, LINE]));
    out.push_str(&format!("and {} more lines", lines.len() + 1 - room));
    out.push_str(LINE);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_as_many_lines_as_the_terminal() {
        assert_eq!(fitted("a\nb\n", Some(3)), format!("a{LINE}b{LINE}"));
        assert_eq!(
            fitted("a\nb\nc\nd\n", Some(4)),
            format!("a{LINE}b{LINE}and 2 more lines{LINE}")
        );
        assert_eq!(fitted("a\nb\n", None).lines().count(), 2);
    }

    #[test]
    fn documents_for_programs_are_lists_even_of_nothing() {
        let none: [u32; 0] = [];
        assert_eq!(document(&none, Format::Json, true).unwrap(), "{\"items\":[]}\n");
        assert_eq!(document(&[1], Format::Yaml, true).unwrap(), "---\nitems:\n- 1\n");
    }
}
