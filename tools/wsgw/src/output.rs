//! Standard output: pages for people, documents for programs, and screens that are drawn again.

use std::io::Write as _;

use serde::Serialize;
use wsgateway_config::yaml;

use crate::cli::{Format, Show};
use crate::error::Error;
use crate::screen::{Terminal, cut_painted, room};

/// The other screen of the terminal, so that what was there before is there afterwards; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left, and what is left of the screen is emptied.
const HOME: &str = "\x1b[H";
const REST: &str = "\x1b[J";
/// Empties a line before it is written: after a text that ends at the right edge this would take its last character.
const EMPTY: &str = "\x1b[K";

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
        screen.push_str(&fitted(text, room()));
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

/// As many lines, and as much of each, as a terminal of so many columns and rows has room for: more would move all of them up.
fn fitted(text: &str, (columns, rows): (usize, usize)) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let left_out = match lines.len().saturating_sub(rows) {
        // Of a single row the first line says more than a count.
        more if more > 0 && rows > 1 => Some(format!("and {} more lines", more + 1)),
        _ => None,
    };
    let shown = lines.iter().copied().take(rows.saturating_sub(usize::from(left_out.is_some())));
    let shown = shown.chain(left_out.as_deref()).map(|line| cut_painted(line, columns));
    let out = shown.map(|line| format!("{EMPTY}{line}")).collect::<Vec<_>>().join("\n");
    if lines.len() < rows { format!("{out}\n{REST}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_as_many_lines_as_the_terminal() {
        let lines = |text, rows| fitted(text, (80, rows)).replace(EMPTY, "").replace(REST, "");
        assert_eq!(lines("a\nb\n", 3), "a\nb\n");
        assert_eq!(lines("a\nb\nc\n", 3), "a\nb\nc", "a line break at the end moves all up");
        assert_eq!(lines("a\nb\nc\nd\n", 3), "a\nb\nand 2 more lines");
        assert_eq!(lines("a\nb\nc\nd\n", 1), "a");
        assert_eq!(lines("a\nb\n", usize::MAX).lines().count(), 2);
    }

    #[test]
    fn a_screen_has_as_many_columns_as_the_terminal_and_keeps_its_colours() {
        let text = "\x1b[31mabc\x1b[0m\nwsgw\n";
        assert_eq!(fitted(text, (2, 2)), format!("{EMPTY}\x1b[31mab\x1b[0m\n{EMPTY}ws"));
        assert_eq!(fitted(text, (9, 2)), format!("{EMPTY}\x1b[31mabc\x1b[0m\n{EMPTY}wsgw"));
    }

    #[test]
    fn documents_for_programs_are_lists_even_of_nothing() {
        let none: [u32; 0] = [];
        assert_eq!(document(&none, Format::Json, true).unwrap(), "{\"items\":[]}\n");
        assert_eq!(document(&[1], Format::Yaml, true).unwrap(), "---\nitems:\n- 1\n");
    }
}
