//! The display drawn into a frame of any size. Where there is little room, the lines that matter
//! least go first; the table's first line stays longest.

use bulkhead::core::UnixMs;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear};

use super::board::{Board, Over, Pane, STATES, Tab};
use super::head::{self, Standing};
use super::sheet::{Sheet, Tone};
use super::text::{cut, joined, pad, safe, width, wrapped};
use crate::cli::figures;

const HELP: &[(&str, &str)] = &[
    ("Tab → l, ← h", "next and previous pane"),
    ("1 to 5", "this pane"),
    ("↓ j, ↑ k, PgDn, PgUp, g, G", "rows"),
    ("Enter", "a queue's tasks; all of a row"),
    ("s, S", "sort by the next column; the other way"),
    ("/", "only rows with a text; Esc: all"),
    ("p", "stop and go on"),
    ("q, Esc", "back; quit"),
];

/// Colours, if they are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub(super) colors: bool,
}

impl Palette {
    fn tone(self, tone: Tone) -> Style {
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => self.color(Color::Green),
            Tone::Doubtful => self.color(Color::Yellow),
            Tone::Bad => self.color(Color::Red),
        }
    }

    fn color(self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draw all of it.
pub(super) fn draw(frame: &mut Frame<'_>, board: &mut Board, palette: Palette, now: UnixMs) {
    let area = frame.area();
    let (columns, height) = (usize::from(area.width), area.height);
    if area.is_empty() {
        return;
    }
    // The table gets three lines before anything else gets one.
    let spare = height.saturating_sub(3);
    let mut lines = Vec::new();
    if spare >= 2 {
        lines.push(title(board, columns, palette, now));
    }
    if spare >= 4 {
        lines.extend(head::lines(board, columns, now).map(Line::from));
    }
    if spare >= 1 {
        lines.push(tabs(board, columns, palette));
    }
    let foot = u16::from(spare >= 3);
    let top = u16::try_from(lines.len()).unwrap_or(height).min(height);
    for (y, line) in (area.y..).zip(&lines) {
        frame.buffer_mut().set_line(area.x, y, line, area.width);
    }
    let middle = Rect { y: area.y + top, height: height.saturating_sub(top + foot), ..area };
    let sheet = board.sheet(now);
    table(frame, board, &sheet, middle, palette);
    if foot > 0 {
        let line = footer(board, &sheet, columns);
        frame.buffer_mut().set_line(area.x, area.y + height - 1, &line, area.width);
    }
    match board.over {
        Over::Nothing => {}
        Over::Help => help(frame, middle),
        Over::Row => whole_row(frame, board, &sheet, middle),
    }
}

fn title(board: &Board, columns: usize, palette: Palette, now: UnixMs) -> Line<'static> {
    let (shown, style) = match head::standing(board, now) {
        Standing::Looking => ("looking".to_owned(), palette.tone(Tone::Doubtful)),
        Standing::Live => ("live".to_owned(), palette.tone(Tone::Good)),
        Standing::Frozen => ("stopped, p goes on".to_owned(), palette.tone(Tone::Doubtful)),
        Standing::Away(why) => (why, palette.tone(Tone::Bad).patch(BOLD)),
    };
    let shown = cut(&shown, columns);
    let left = columns.saturating_sub(width(&shown));
    let name = joined(&["bulkhead top".into(), safe(&board.place)], left.saturating_sub(1));
    Line::from(vec![Span::styled(pad(&name, left, false), BOLD), Span::styled(shown, style)])
}

fn tabs(board: &Board, columns: usize, palette: Palette) -> Line<'static> {
    let (lead, names, at): (String, Vec<String>, usize) = match &board.pane {
        Pane::Tab(here) => {
            let names = Tab::ALL.iter().zip(1..).map(|(tab, n)| format!("{n} {}", tab.name()));
            let at = Tab::ALL.iter().position(|tab| tab == here).unwrap_or(0);
            (String::new(), names.collect(), at)
        }
        Pane::Queue(queue, at) => {
            (format!("{}: ", safe(queue.as_str())), STATES.map(|s| s.to_string()).to_vec(), *at)
        }
    };
    let room = columns.saturating_sub(width(&lead));
    let total = |names: &[String]| names.iter().map(|name| width(name) + 1).sum::<usize>();
    let names = match &board.pane {
        Pane::Tab(_) if total(&names) > room => Tab::ALL.map(|tab| tab.name().to_owned()).to_vec(),
        _ => names,
    };
    let selected = palette.color(Color::Cyan).patch(REVERSED);
    let mut spans = vec![Span::styled(lead, BOLD)];
    if total(&names) > room {
        // No room for all: the one that is shown, and that there are others.
        spans.push(Span::styled(format!("‹{}›", names[at]), selected));
        spans.push(Span::raw(format!(" {}/{}", at + 1, names.len())));
    } else {
        for (nth, name) in names.into_iter().enumerate() {
            let style = if nth == at { selected } else { Style::new() };
            spans.extend([Span::styled(name, style), Span::raw(" ")]);
        }
    }
    Line::from(spans)
}

fn table(frame: &mut Frame<'_>, board: &mut Board, sheet: &Sheet, area: Rect, palette: Palette) {
    if area.is_empty() {
        return;
    }
    if sheet.rows.is_empty() {
        let nothing = match board.filter.is_empty() {
            true => sheet.nothing.clone(),
            false => "no row has this text".to_owned(),
        };
        frame.buffer_mut().set_line(area.x, area.y, &Line::from(nothing), area.width);
        return;
    }
    let shown = sheet.fitting(usize::from(area.width), board.sorting());
    let header = sheet.header(&shown, board.sorting());
    frame.buffer_mut().set_line(area.x, area.y, &Line::styled(header, BOLD), area.width);
    let in_sight = usize::from(area.height) - 1;
    board.in_sight = in_sight;
    let selected = board.selection(sheet);
    let first = selected.saturating_sub(in_sight.saturating_sub(1));
    for (y, (at, row)) in (area.y + 1..area.bottom()).zip(sheet.rows.iter().enumerate().skip(first))
    {
        let mut line: Vec<Span<'_>> = sheet
            .cells(row, &shown)
            .map(|(text, tone)| Span::styled(text, palette.tone(tone)))
            .collect();
        if at == selected {
            let gap = usize::from(area.width).saturating_sub(line.iter().map(Span::width).sum());
            line.push(Span::raw(" ".repeat(gap)));
            line.iter_mut().for_each(|span| span.style = span.style.patch(REVERSED));
        }
        frame.buffer_mut().set_line(area.x, y, &Line::from(line), area.width);
    }
}

fn footer(board: &Board, sheet: &Sheet, columns: usize) -> Line<'static> {
    if board.typing {
        let typed = format!("/{}▏", safe(&board.filter));
        return Line::from(cut(&typed, columns));
    }
    let mut parts = Vec::new();
    if !board.filter.is_empty() {
        parts.push(format!("/{} ({} rows)", safe(&board.filter), sheet.rows.len()));
    }
    parts.extend(
        ["? help", "q quit", "Tab pane", "Enter look", "s sort", "/ filter", "p stop"]
            .map(str::to_owned),
    );
    Line::from(joined(&parts, columns))
}

/// Lines in a frame in the middle of an area, as many as fit.
fn over(frame: &mut Frame<'_>, area: Rect, title: &str, lines: &[Line<'_>]) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(width(title));
    let wide = u16::try_from(widest + 2).unwrap_or(u16::MAX).min(area.width);
    let high = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect {
        x: area.x + (area.width - wide) / 2,
        y: area.y + (area.height - high) / 2,
        width: wide,
        height: high,
    };
    let block = Block::bordered().title(title.to_owned());
    let inner = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    for (y, line) in (inner.y..inner.bottom()).zip(lines) {
        frame.buffer_mut().set_line(inner.x, y, line, inner.width);
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines = HELP.iter().map(|(keys, what)| {
        Line::from(vec![Span::styled(format!("{keys}  "), BOLD), Span::raw(*what)])
    });
    over(frame, area, "Keys", &lines.collect::<Vec<_>>());
}

/// All cells of the selected row, those too that have no room in the table.
fn whole_row(frame: &mut Frame<'_>, board: &Board, sheet: &Sheet, area: Rect) {
    let Some(row) = sheet.rows.get(board.selection(sheet)) else { return };
    let room = usize::from(area.width.saturating_sub(2));
    let mut lines = Vec::new();
    let mut cells: Vec<_> = sheet.columns.iter().zip(&row.cells).collect();
    // What has no room is what tells least.
    cells.sort_by_key(|(column, _)| std::cmp::Reverse(column.rank));
    for (column, cell) in cells {
        let name = format!("{}  ", column.name);
        let text = if cell.text.is_empty() { "-" } else { &cell.text };
        let left = usize::from(area.height);
        let mut parts = wrapped(text, room.saturating_sub(width(&name)), left).into_iter();
        let indent = " ".repeat(width(&name));
        let first = parts.next().unwrap_or_default();
        lines.push(Line::from(vec![Span::styled(name, BOLD), Span::raw(first)]));
        lines.extend(parts.map(|part| Line::from(format!("{indent}{part}"))));
    }
    over(frame, area, "Enter closes", &lines);
}

/// A frame of plain text: the figures, then every pane's table, nothing left out.
pub(super) fn plain(seen: &super::looks::Seen, columns: usize, now: UnixMs) -> String {
    let mut text = format!("{}\n{}", figures::time(now), head::plain(seen, now));
    for tab in Tab::ALL {
        text.push_str(&format!("\n{}\n", tab.name()));
        let mut sheet = super::panes::of(tab, seen, now);
        sheet.arrange("", super::sheet::Sorting::default());
        for line in sheet.lines(columns) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}
