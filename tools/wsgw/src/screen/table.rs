//! Tables as kubectl writes them, which fit the terminal: columns of names and texts give way first, and where even those are
//! too little each row becomes a few lines.

use unicode_width::UnicodeWidthStr as _;

use super::{Terminal, Tone, clean, cut};

/// Between two columns.
const GAP: usize = 2;
/// A text that gives way keeps so many columns, or it says nothing.
const LEAST: usize = 10;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// Whether it gives way where the terminal is narrow.
    flexible: bool,
}

impl Column {
    pub(crate) const fn text(title: &'static str) -> Self {
        Self { title, right: false, flexible: false }
    }

    pub(crate) const fn number(title: &'static str) -> Self {
        Self { title, right: true, flexible: false }
    }

    pub(crate) const fn flexible(title: &'static str) -> Self {
        Self { title, right: false, flexible: true }
    }
}

/// A table that grows by rows.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing are empty. An empty cell is shown as a dash.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let mut cells: Vec<_> = cells.into_iter().collect();
        cells.resize_with(self.columns.len(), Default::default);
        for (text, tone) in &mut cells {
            *text = clean(text);
            if text.is_empty() {
                (*text, *tone) = ("-".to_owned(), Tone::Dim);
            }
        }
        self.rows.push(cells);
    }

    /// Leaves out the columns for which `keeps` says no.
    pub(crate) fn only(mut self, keeps: impl Fn(&str) -> bool) -> Self {
        let kept: Vec<bool> = self.columns.iter().map(|column| keeps(column.title)).collect();
        let mut at = 0..kept.len();
        self.columns.retain(|_| at.next().is_some_and(|at| kept[at]));
        for row in &mut self.rows {
            let mut at = 0..kept.len();
            row.retain(|_| at.next().is_some_and(|at| kept[at]));
        }
        self
    }

    /// The text, with a line break at the end of each line.
    pub(crate) fn render(&self, terminal: Terminal) -> String {
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width(at)).collect();
        if let Some(room) = terminal.width
            && !self.fit(&mut widths, room)
        {
            return self.records(terminal);
        }
        let titles = self.columns.iter().map(|column| (column.title.to_owned(), Tone::Bold));
        let titles: Vec<_> = titles.collect();
        let rows = std::iter::once(&titles).chain(&self.rows);
        rows.map(|row| self.line(row, &widths, terminal)).collect()
    }

    fn width(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|(text, _)| text.width());
        cells.chain([self.columns[at].title.width()]).max().unwrap_or_default()
    }

    /// Takes from the widest of the columns that may give way, until the table fits.
    fn fit(&self, widths: &mut [usize], room: usize) -> bool {
        loop {
            let used = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
            if used <= room {
                return true;
            }
            let gives = |(at, width): &(usize, usize)| self.columns[*at].flexible && *width > LEAST;
            let columns = widths.iter().copied().enumerate();
            let Some((at, _)) = columns.filter(gives).max_by_key(|(_, width)| *width) else {
                return false;
            };
            widths[at] -= 1;
        }
    }

    fn line(&self, row: &[(String, Tone)], widths: &[usize], terminal: Terminal) -> String {
        let mut line = String::new();
        let last = row.len().saturating_sub(1);
        for (at, ((text, tone), (column, width))) in
            row.iter().zip(self.columns.iter().zip(widths)).enumerate()
        {
            let text = cut(text, *width);
            let blank = " ".repeat(width - text.width());
            let painted = terminal.paint(*tone, &text);
            match (column.right, at == last) {
                (true, _) => line.extend([blank, painted]),
                (false, true) => line.push_str(&painted),
                (false, false) => line.extend([painted, blank]),
            }
            line.push_str(if at == last { "\n" } else { "  " });
        }
        line
    }

    /// One line a cell.
    fn records(&self, terminal: Terminal) -> String {
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                out.push('\n');
            }
            for (column, (text, tone)) in self.columns.iter().zip(row) {
                let title = format!("{}: ", column.title);
                let wrapped = terminal.wrap(text, title.width(), 2);
                // Each line is painted by itself: what follows the table is not.
                let lines: Vec<String> =
                    wrapped.split('\n').map(|line| terminal.paint(*tone, line)).collect();
                out.push_str(&terminal.paint(Tone::Bold, &title));
                out.push_str(&lines.join("\n"));
                out.push('\n');
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::flexible("NAME"), Column::number("CLIENTS"), Column::text("STATE")];

    fn table() -> Table {
        let mut table = Table::new(&COLUMNS);
        let plain = |text: &str| (text.to_owned(), Tone::Plain);
        table.row([
            plain("odin-gateway-5d4f9c7b6d-x2x7k"),
            plain("12,000"),
            ("Serving".to_owned(), Tone::Good),
        ]);
        table.row([plain("a"), plain("7")]);
        table
    }

    fn render(width: Option<usize>) -> String {
        table().render(Terminal { width, height: None, color: false })
    }

    #[test]
    fn a_pipe_gets_everything_and_a_terminal_what_fits() {
        insta::assert_snapshot!(render(None), @r"
        NAME                           CLIENTS  STATE
        odin-gateway-5d4f9c7b6d-x2x7k   12,000  Serving
        a                                    7  -
        ");
        insta::assert_snapshot!(render(Some(32)), @r"
        NAME            CLIENTS  STATE
        odin-gateway-…   12,000  Serving
        a                     7  -
        ");
        for width in 20..60 {
            assert!(render(Some(width)).lines().all(|line| line.width() <= width), "{width}");
        }
    }

    #[test]
    fn a_row_becomes_lines_where_columns_do_not_fit() {
        insta::assert_snapshot!(render(Some(20)), @r"
        NAME: 
          odin-gateway-5d4f9
          c7b6d-x2x7k
        CLIENTS: 12,000
        STATE: Serving

        NAME: a
        CLIENTS: 7
        STATE: -
        ");
    }

    #[test]
    fn columns_can_be_left_out_and_colours_take_no_room() {
        let narrow = table().only(|title| title != "CLIENTS");
        let text = narrow.render(Terminal { width: None, height: None, color: true });
        assert!(!text.contains("CLIENTS") && text.contains("\x1b[32mServing\x1b[0m"), "{text}");
    }
}
