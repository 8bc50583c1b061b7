//! What is on display and what keys do to it: no terminal and no broker is known here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bulkhead::core::{QueueName, State, UnixMs};
use bulkhead_api::document::{Overview, QueueNow};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::looks::{Beyond, Seen, Wanted};
use super::panes;
use super::sheet::{Sheet, Sorting};

/// Looks whose throughput is drawn.
const HISTORY: usize = 300;
/// What counts as the interval at least when a look is late.
const LOOKS: Duration = Duration::from_secs(5);
/// Characters of a filter.
const FILTER: usize = 100;

/// What there is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tab {
    Queues,
    Types,
    Hosts,
    Tenants,
    Dead,
}

impl Tab {
    pub(super) const ALL: [Self; 5] =
        [Self::Queues, Self::Types, Self::Hosts, Self::Tenants, Self::Dead];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queues => "Queues",
            Self::Types => "Types",
            Self::Hosts => "Hosts",
            Self::Tenants => "Tenants",
            Self::Dead => "Dead",
        }
    }
}

/// The states whose tasks a queue shows.
pub(super) const STATES: [State; 5] =
    [State::Running, State::Pending, State::Failed, State::Scheduled, State::Blocked];

/// Where a person is: a tab, or the tasks of one queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pane {
    Tab(Tab),
    Queue(QueueName, usize),
}

/// What lies over the pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    Help,
    /// All of the selected row.
    Row,
}

/// What is to be done after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    Go,
    Quit,
}

/// The display.
pub(super) struct Board {
    /// Nothing new for so long is worth saying.
    pub(super) late_ms: u64,
    /// Where the broker is, without its password.
    pub(super) place: String,
    pub(super) pane: Pane,
    pub(super) over: Over,
    /// What rows must have in them.
    pub(super) filter: String,
    /// Whether keys go to the filter.
    pub(super) typing: bool,
    pub(super) frozen: bool,
    pub(super) seen: Option<Box<Seen>>,
    /// Since when the broker is away, and what it said.
    pub(super) away: Option<(UnixMs, String)>,
    /// Completions a second at each look, oldest first.
    pub(super) throughput: VecDeque<f64>,
    /// Rows that are in sight, as of the last drawing.
    pub(super) in_sight: usize,
    sorting: BTreeMap<&'static str, Sorting>,
    /// The selected row's key in each pane, and where it was.
    selected: BTreeMap<Pane, (String, usize)>,
}

impl Board {
    pub(super) fn new(place: String, interval: Duration) -> Self {
        let late = 2 * interval.max(LOOKS);
        Self {
            late_ms: u64::try_from(late.as_millis()).unwrap_or(u64::MAX),
            place,
            pane: Pane::Tab(Tab::Queues),
            over: Over::Nothing,
            filter: String::new(),
            typing: false,
            frozen: false,
            seen: None,
            away: None,
            throughput: VecDeque::new(),
            in_sight: 1,
            sorting: BTreeMap::new(),
            selected: BTreeMap::new(),
        }
    }

    /// What has to be read for what is on display.
    pub(super) fn wanted(&self) -> Wanted {
        let beyond = match &self.pane {
            Pane::Tab(Tab::Tenants) => Beyond::Policies,
            Pane::Tab(Tab::Dead) => Beyond::Dead,
            Pane::Tab(_) => Beyond::Nothing,
            Pane::Queue(queue, state) => Beyond::Tasks(queue.clone(), STATES[*state]),
        };
        Wanted { beyond, frozen: self.frozen }
    }

    /// Take what was seen, or why nothing was.
    pub(super) fn take(&mut self, news: Result<Box<Seen>, String>, now: UnixMs) {
        // A look that was under way when the display was stopped.
        if self.frozen {
            return;
        }
        let seen = match news {
            Ok(seen) => seen,
            Err(why) => {
                let since = self.away.as_ref().map_or(now, |(since, _)| *since);
                self.away = Some((since, why));
                return;
            }
        };
        self.away = None;
        let is_new = self.seen.as_ref().is_none_or(|known| known.overview.at != seen.overview.at);
        if is_new && has_rates(&seen.overview) {
            self.throughput.push_back(rate(&seen.overview, &["completed"]));
            if self.throughput.len() > HISTORY {
                self.throughput.pop_front();
            }
        }
        self.seen = Some(seen);
    }

    /// The pane's table as it is shown.
    pub(super) fn sheet(&self, now: UnixMs) -> Sheet {
        let mut sheet = panes::sheet(self, now);
        sheet.arrange(&self.filter, self.sorting());
        sheet
    }

    /// How the pane is sorted.
    pub(super) fn sorting(&self) -> Sorting {
        self.sorting.get(self.kind()).copied().unwrap_or_default()
    }

    /// Where the selected row is among these; one that is gone leaves its place to another.
    pub(super) fn selection(&self, sheet: &Sheet) -> usize {
        let Some((key, place)) = self.selected.get(&self.pane) else { return 0 };
        let found = sheet.rows.iter().position(|row| row.key == *key);
        found.unwrap_or(*place).min(sheet.rows.len().saturating_sub(1))
    }

    /// Panes of one kind are sorted alike.
    fn kind(&self) -> &'static str {
        match &self.pane {
            Pane::Tab(tab) => tab.name(),
            Pane::Queue(..) => "tasks",
        }
    }

    /// Do what a key says.
    pub(super) fn key(&mut self, key: KeyEvent, now: UnixMs) -> After {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => After::Quit,
                _ => After::Go,
            };
        }
        if self.typing {
            self.type_filter(key.code);
            return After::Go;
        }
        if self.over != Over::Nothing {
            match key.code {
                KeyCode::Char('q') if self.over == Over::Row => self.over = Over::Nothing,
                KeyCode::Char('q') => return After::Quit,
                _ => self.over = Over::Nothing,
            }
            return After::Go;
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc => return self.leave(),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => self.turn(1),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => self.turn(-1),
            KeyCode::Char(digit @ '1'..='5') => {
                let at = digit as usize - '1' as usize;
                self.pane = Pane::Tab(Tab::ALL[at]);
            }
            KeyCode::Char('s') => self.sort(now, |sorting, columns| Sorting {
                column: (sorting.column + 1) % columns,
                reversed: false,
            }),
            KeyCode::Char('S') => {
                self.sort(now, |sorting, _| Sorting { reversed: !sorting.reversed, ..sorting });
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p') => self.frozen = !self.frozen,
            KeyCode::Char('?') => self.over = Over::Help,
            KeyCode::Enter => self.enter(now),
            code => self.go(code, now),
        }
        After::Go
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER => {
                self.filter.push(c);
            }
            _ => {}
        }
    }

    /// Esc undoes the last thing that can be undone, and then quits.
    fn leave(&mut self) -> After {
        if !self.filter.is_empty() {
            self.filter.clear();
        } else if let Pane::Queue(..) = self.pane {
            self.pane = Pane::Tab(Tab::Queues);
        } else {
            return After::Quit;
        }
        After::Go
    }

    fn turn(&mut self, by: isize) {
        let next = |at: usize, of: usize| at.wrapping_add_signed(by).wrapping_add(of) % of;
        self.pane = match &self.pane {
            Pane::Tab(tab) => {
                let at = Tab::ALL.iter().position(|other| other == tab).unwrap_or(0);
                Pane::Tab(Tab::ALL[next(at, Tab::ALL.len())])
            }
            Pane::Queue(queue, state) => Pane::Queue(queue.clone(), next(*state, STATES.len())),
        };
    }

    fn sort(&mut self, now: UnixMs, change: impl Fn(Sorting, usize) -> Sorting) {
        let columns = panes::sheet(self, now).columns.len();
        let changed = change(self.sorting(), columns.max(1));
        self.sorting.insert(self.kind(), changed);
    }

    fn enter(&mut self, now: UnixMs) {
        let sheet = self.sheet(now);
        let Some(row) = sheet.rows.get(self.selection(&sheet)) else { return };
        match &self.pane {
            Pane::Tab(Tab::Queues) => {
                if let Ok(queue) = QueueName::new(&row.key) {
                    self.pane = Pane::Queue(queue, 0);
                    self.filter.clear();
                }
            }
            _ => self.over = Over::Row,
        }
    }

    fn go(&mut self, code: KeyCode, now: UnixMs) {
        let sheet = self.sheet(now);
        let (at, page) = (self.selection(&sheet), self.in_sight.max(1));
        let to = match code {
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::PageDown => at + page,
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return,
        };
        let to = to.min(sheet.rows.len().saturating_sub(1));
        if let Some(row) = sheet.rows.get(to) {
            self.selected.insert(self.pane.clone(), (row.key.clone(), to));
        }
    }
}

/// The sum over all queues of some totals a second.
pub(super) fn rate(overview: &Overview, totals: &[&str]) -> f64 {
    overview.queues.iter().map(|queue: &QueueNow| queue.rate(totals)).sum()
}

/// Whether this was not the first look.
pub(super) fn has_rates(overview: &Overview) -> bool {
    overview.queues.iter().any(|queue| !queue.rates.is_empty())
}
