//! Text for people: tones, tables and pages that fit a terminal (pure, but for [`Terminal::new`] and [`room`]).

mod table;

use std::io::IsTerminal as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::cli::{Color, Format, Show};

pub(crate) use table::{Column, Table};

/// Narrower than this is not a terminal that somebody reads.
const NARROWEST: usize = 20;

/// What a text says before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Tone {
    /// SGR parameters of the sixteen colours that every terminal has, in the palette of its owner.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
            Self::Dim => Some("2"),
            Self::Bold => Some("1"),
        }
    }
}

/// What the output goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Columns for text, of which there are some even where the terminal has fewer; `None`: a pipe or a file, whose lines may
    /// have any length.
    pub(crate) width: Option<usize>,
    pub(crate) height: Option<usize>,
    pub(crate) color: bool,
}

impl Terminal {
    /// What standard output goes to now.
    pub(crate) fn new(color: Color) -> Self {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let size = size();
        let allowed = || is_terminal && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let dumb = || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: size.0.map(|width| width.max(NARROWEST)),
            height: size.1,
            color: match color {
                Color::Auto => allowed() && !dumb(),
                Color::Always => true,
                Color::Never => false,
            },
        }
    }

    /// Whether what is shown may be drawn over.
    pub(crate) fn can_redraw(self, show: Show) -> bool {
        self.width.is_some() && matches!(show.output, Format::Table | Format::Wide)
    }

    /// A text in its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        match tone.code().filter(|_| self.color && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }

    /// Lines of a paragraph, broken at spaces where they are too long; all but the first begin with `indent` spaces.
    pub(crate) fn wrap(self, text: &str, first: usize, indent: usize) -> String {
        let Some(width) = self.width else { return text.to_owned() };
        // Too little would be left for words.
        let indent = if indent * 2 > width { 2 } else { indent };
        let (mut out, mut column) = (String::new(), first);
        for word in text.split(' ') {
            let mut word = word;
            if column > indent && column + word.width() > width {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            }
            while column + word.width() > width {
                let (head, tail) = split_at_width(word, width.saturating_sub(column).max(1));
                out.push_str(head);
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                (word, column) = (tail, indent);
            }
            out.push_str(word);
            out.push(' ');
            column += word.width() + 1;
        }
        out.split('\n').map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

/// Columns and rows of the terminal that standard output goes to, as far as they are known.
fn size() -> (Option<usize>, Option<usize>) {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal());
    let some = |size: u16| (size > 0).then_some(usize::from(size));
    (size.and_then(|size| some(size.ws_col)), size.and_then(|size| some(size.ws_row)))
}

/// Columns and rows that a screen has, however few they are.
pub(crate) fn room() -> (usize, usize) {
    let (columns, rows) = size();
    (columns.unwrap_or(usize::MAX), rows.unwrap_or(usize::MAX))
}

/// What comes from a cluster and stands on a screen: one line without control characters, which could move the cursor or set
/// the title of a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As much of a text as fits, with an ellipsis where it ends early.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (head, _) = split_at_width(text, width.saturating_sub(1));
    format!("{head}…")
}

/// So many columns of a line that may be painted.
pub(crate) fn cut_painted(line: &str, columns: usize) -> String {
    let (mut out, mut used, mut in_paint) = (String::new(), 0, false);
    for c in line.chars() {
        if in_paint || c == '\x1b' {
            in_paint = c != 'm';
            out.push(c);
            continue;
        }
        used += c.width().unwrap_or_default();
        if used <= columns {
            out.push(c);
        }
    }
    out
}

fn split_at_width(text: &str, width: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or_default();
        if used > width && at > 0 {
            return text.split_at(at);
        }
    }
    (text, "")
}

/// A count with separators of thousands.
pub(crate) fn count(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a unit.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A time of seconds as kubectl writes ages: 45s, 12m, 3h20m, 9d.
pub(crate) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..120 => format!("{s}s"),
        s @ ..7_200 => format!("{}m", s / 60),
        s @ ..36_000 => format!("{}h{}m", s / 3_600, s % 3_600 / 60),
        s @ ..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Terminal = Terminal { width: Some(20), height: Some(10), color: false };

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!(
            [0, 1_023, 1_024, 5 << 20, 300 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "300 GiB"]
        );
        let ages = [-3, 45, 600, 12_000, 90_000, 800_000].map(age);
        assert_eq!(ages, ["0s", "45s", "10m", "3h20m", "25h", "9d"]);
    }

    #[test]
    fn no_line_of_a_paragraph_is_longer_than_the_terminal() {
        let text = "pods that hand over about 12 clients: averyveryverylongwordwithoutanyspaceinit 短い文字 end";
        for (first, indent) in [(0, 0), (12, 12), (3, 2)] {
            let wrapped = NARROW.wrap(text, first, indent);
            for (at, line) in wrapped.lines().enumerate() {
                let before = if at == 0 { first } else { 0 };
                assert!(before + line.width() <= 20, "{line:?} of {wrapped}");
            }
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&wrapped), words(text), "nothing is left out");
        }
        let pipe = Terminal { width: None, ..NARROW };
        assert_eq!(pipe.wrap(text, 0, 0), text);
    }

    #[test]
    fn what_a_cluster_says_cannot_command_the_terminal() {
        assert_eq!(clean("a\x1b]0;title\x07b\nc"), "a ]0;title b c");
        let colored = Terminal { color: true, ..NARROW };
        assert_eq!(colored.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(NARROW.paint(Tone::Bad, "x"), "x");
        assert_eq!(colored.paint(Tone::Bad, ""), "");
    }
}
