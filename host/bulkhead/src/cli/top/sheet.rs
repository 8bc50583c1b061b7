//! A table as any pane has it: which columns fit into a width, which rows a filter leaves, and
//! in which order.

use std::cmp::Ordering;

use super::text::{pad, width};

/// Columns between two columns.
const GAP: usize = 2;

/// A column. Where there is no room the one with the lowest `rank` goes first; the first column
/// stays.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) rank: u8,
    /// Numbers stand to the right.
    pub(super) right: bool,
    /// It is cut before another column goes, down to this width.
    pub(super) least: usize,
}

/// A column of text.
pub(super) const fn text(name: &'static str, rank: u8, least: usize) -> Column {
    Column { name, rank, right: false, least }
}

/// A column of numbers.
pub(super) const fn number(name: &'static str, rank: u8) -> Column {
    Column { name, rank, right: true, least: usize::MAX }
}

/// How a cell is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

/// A cell, and by what it is sorted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) by: Option<f64>,
    pub(super) tone: Tone,
}

impl Cell {
    /// A text that is harmless already.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), by: None, tone: Tone::Plain }
    }

    /// A number in words.
    pub(super) fn number(text: impl Into<String>, by: f64) -> Self {
        Self { text: text.into(), by: Some(by), tone: Tone::Plain }
    }

    /// The same, meant so.
    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A row; its key is the same at the next look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
}

/// A table.
pub(super) struct Sheet {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
    /// What is said if there is no row.
    pub(super) nothing: String,
}

/// By which column rows are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sorting {
    pub(super) column: usize,
    pub(super) reversed: bool,
}

impl Sheet {
    /// Leave only rows with this text in a cell, whatever its case, in this order: numbers with
    /// the largest first, unless reversed.
    pub(super) fn arrange(&mut self, filter: &str, sorting: Sorting) {
        let wanted = filter.to_lowercase();
        self.rows
            .retain(|row| row.cells.iter().any(|cell| cell.text.to_lowercase().contains(&wanted)));
        self.rows.sort_by(|a, b| {
            let order = match (a.cells.get(sorting.column), b.cells.get(sorting.column)) {
                (Some(a), Some(b)) => compared(a, b),
                _ => Ordering::Equal,
            };
            let order = if sorting.reversed { order.reverse() } else { order };
            order.then_with(|| a.key.cmp(&b.key))
        });
    }

    /// The columns that fit, and how wide each is. One that says nothing in any row is left out.
    pub(super) fn fitting(&self, columns: usize, sorting: Sorting) -> Vec<(usize, usize)> {
        let natural = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(at));
            let widest = cells.map(|cell| width(&cell.text)).max().unwrap_or(0);
            let mark = usize::from(at == sorting.column);
            (widest > 0 || at == 0).then(|| (at, widest.max(width(self.columns[at].name) + mark)))
        };
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len()).filter_map(natural).collect();
        loop {
            let total = shown.iter().map(|(_, wide)| wide + GAP).sum::<usize>();
            let over = total.saturating_sub(GAP).saturating_sub(columns);
            if over == 0 {
                return shown;
            }
            // What can be cut is cut first, the widest before all others.
            let spare = |(at, wide): &(usize, usize)| wide.saturating_sub(self.columns[*at].least);
            let spares: usize = shown.iter().map(spare).sum();
            if spares >= over {
                if let Some(widest) = shown.iter_mut().max_by_key(|column| spare(column)) {
                    widest.1 -= spare(widest).min(over.div_ceil(2)).max(1);
                }
                continue;
            }
            let others = shown.iter().enumerate().skip(1);
            match others.min_by_key(|(_, (at, _))| self.columns[*at].rank) {
                Some((gone, _)) => drop(shown.remove(gone)),
                None => {
                    shown[0].1 = columns;
                    return shown;
                }
            }
        }
    }

    /// The header for these columns.
    pub(super) fn header(&self, shown: &[(usize, usize)], sorting: Sorting) -> String {
        let names = shown.iter().map(|(at, wide)| {
            let column = &self.columns[*at];
            let mark = match (*at == sorting.column, sorting.reversed) {
                (false, _) => "",
                (true, false) => "▾",
                (true, true) => "▴",
            };
            pad(&format!("{}{mark}", column.name), *wide, column.right)
        });
        names.collect::<Vec<_>>().join(&" ".repeat(GAP))
    }

    /// The cells of a row in these columns, each with the gap behind it.
    pub(super) fn cells<'a>(
        &'a self,
        row: &'a Row,
        shown: &'a [(usize, usize)],
    ) -> impl Iterator<Item = (String, Tone)> + 'a {
        shown.iter().enumerate().filter_map(move |(nth, (at, wide))| {
            let cell = row.cells.get(*at)?;
            let text = pad(&cell.text, *wide, self.columns[*at].right);
            let gap = if nth + 1 < shown.len() { GAP } else { 0 };
            Some((text + &" ".repeat(gap), cell.tone))
        })
    }

    /// All of it as lines.
    pub(super) fn lines(&self, columns: usize) -> Vec<String> {
        if self.rows.is_empty() {
            return vec![self.nothing.clone()];
        }
        let shown = self.fitting(columns, Sorting::default());
        let names = shown.iter().map(|(at, wide)| {
            let column = &self.columns[*at];
            pad(column.name, *wide, column.right)
        });
        let header = names.collect::<Vec<_>>().join(&" ".repeat(GAP));
        let rows = self.rows.iter().map(|row| self.cells(row, &shown).map(|(text, _)| text));
        let rows = rows.map(|cells| cells.collect::<String>());
        std::iter::once(header).chain(rows).map(|line| line.trim_end().to_owned()).collect()
    }
}

fn compared(a: &Cell, b: &Cell) -> Ordering {
    match (a.by, b.by) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.text.cmp(&b.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[text("NAME", 9, 4), number("LOW", 1), number("HIGH", 8)];

    fn sheet() -> Sheet {
        let row = |name: &str, low: u32, high: u32| Row {
            key: name.to_owned(),
            cells: vec![
                Cell::text(name),
                Cell::number(low.to_string(), low.into()),
                Cell::number(high.to_string(), high.into()),
            ],
        };
        let rows = vec![row("beta", 9, 10), row("alphabetical", 30, 2), row("gamma", 4, 100)];
        Sheet { columns: COLUMNS, rows, nothing: "nothing".into() }
    }

    #[test]
    fn columns_are_cut_then_left_out_and_the_first_one_stays() {
        let fitting = |columns| sheet().fitting(columns, Sorting { column: 2, reversed: false });
        assert_eq!(fitting(80), [(0, 12), (1, 3), (2, 5)]);
        assert_eq!(fitting(19), [(0, 7), (1, 3), (2, 5)]);
        assert_eq!(fitting(14).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(fitting(3), [(0, 3)]);
        assert_eq!(fitting(0), [(0, 0)]);
        let mut silent = sheet();
        silent.rows.iter_mut().for_each(|row| row.cells[1].text.clear());
        assert_eq!(silent.fitting(80, Sorting::default()), [(0, 12), (2, 4)]);
    }

    #[test]
    fn numbers_are_sorted_from_the_largest_and_a_filter_knows_no_case() {
        let names = |filter: &str, column, reversed| {
            let mut sheet = sheet();
            sheet.arrange(filter, Sorting { column, reversed });
            sheet.rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
        };
        assert_eq!(names("", 0, false), ["alphabetical", "beta", "gamma"]);
        assert_eq!(names("", 2, false), ["gamma", "beta", "alphabetical"]);
        assert_eq!(names("", 2, true), ["alphabetical", "beta", "gamma"]);
        assert_eq!(names("BET", 0, false), ["alphabetical", "beta"]);
        assert_eq!(names("none", 0, false), [""; 0]);
    }
}
