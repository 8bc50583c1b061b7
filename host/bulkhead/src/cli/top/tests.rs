//! The display as it is drawn, in several sizes and states, and what keys do to it.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::board::{After, Board, Over, Pane, Tab};
use super::draw::{Palette, draw, plain};
use super::looks::Beyond;
use super::sample::{HOSTILE, NOW, board, queue, seen};

fn drawn(board: &mut Board, columns: u16, lines: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(frame, board, Palette { colors: true }, NOW)).unwrap();
    terminal.backend().clone()
}

fn press(board: &mut Board, keys: &str) -> After {
    let keys = keys.split_whitespace().map(|name| match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backtab" => KeyCode::BackTab,
        "down" => KeyCode::Down,
        "end" => KeyCode::End,
        "space" => KeyCode::Char(' '),
        one => KeyCode::Char(one.chars().next().unwrap()),
    });
    let mut after = After::Go;
    for key in keys {
        after = board.key(KeyEvent::new(key, KeyModifiers::NONE), NOW);
    }
    after
}

#[test]
fn every_pane_at_80_by_24() {
    for (key, name) in
        [("1", "queues"), ("2", "types"), ("3", "hosts"), ("4", "tenants"), ("5", "dead")]
    {
        let mut board = board();
        press(&mut board, key);
        insta::assert_snapshot!(format!("{name}_80x24"), drawn(&mut board, 80, 24));
    }
}

#[test]
fn it_shrinks_to_40_by_10_and_grows() {
    for (key, name) in [("1", "queues"), ("3", "hosts"), ("5", "dead")] {
        let mut board = board();
        press(&mut board, key);
        insta::assert_snapshot!(format!("{name}_40x10"), drawn(&mut board, 40, 10));
    }
    let mut wide = board();
    press(&mut wide, "3");
    insta::assert_snapshot!("hosts_200x12", drawn(&mut wide, 200, 12));
}

#[test]
fn what_lies_over_a_pane() {
    let mut board = board();
    press(&mut board, "?");
    insta::assert_snapshot!("help_80x24", drawn(&mut board, 80, 24));
    press(&mut board, "x 5 down enter");
    insta::assert_snapshot!("row_40x14", drawn(&mut board, 40, 14));
}

#[test]
fn what_is_away_or_stopped_or_not_there_yet_is_said() {
    let mut early = Board::new("redis://127.0.0.1:6379".into(), Duration::from_secs(1));
    insta::assert_snapshot!("early_80x8", drawn(&mut early, 80, 8));
    let mut away = board();
    away.take(Err("the broker is unavailable: connection refused".into()), NOW - 9_000);
    away.take(Err("the broker is unavailable: connection refused".into()), NOW);
    insta::assert_snapshot!("away_80x12", drawn(&mut away, 80, 12));
    away.take(Ok(Box::new(seen())), NOW);
    assert!(drawn(&mut away, 80, 12).to_string().contains("live"));
    away.seen.as_mut().unwrap().overview.at -= 11_000;
    assert!(drawn(&mut away, 80, 12).to_string().contains("nothing heard for 11s"));
    away.take(Ok(Box::new(seen())), NOW);
    press(&mut away, "p");
    assert!(drawn(&mut away, 80, 12).to_string().contains("stopped, p goes on"));
    assert!(away.wanted().frozen);
    let mut later = seen();
    later.overview.at += 1;
    later.look.queues.clear();
    away.take(Ok(Box::new(later)), NOW);
    assert_eq!(away.seen.as_ref().unwrap().overview.at, NOW, "nothing moves while it is stopped");
}

#[test]
fn one_plain_frame_has_all_panes_and_no_escapes() {
    let plain = plain(&seen(), 1_000, NOW);
    assert!(!plain.chars().any(|c| c.is_control() && c != '\n'), "{plain}");
    insta::assert_snapshot!("plain", plain);
}

#[test]
fn hostile_text_never_reaches_the_screen_as_it_is() {
    let mut board = board();
    press(&mut board, "5");
    for over in ["", "enter"] {
        press(&mut board, over);
        let screen = drawn(&mut board, 120, 24);
        for cell in screen.buffer().content() {
            let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
            assert!(!cell.symbol().chars().any(steers), "{:?}", cell.symbol());
        }
        assert!(screen.to_string().contains("\\u{1b}[2J"), "{screen}");
    }
    assert!(HOSTILE.contains('\u{1b}'));
}

#[test]
fn colours_are_there_only_if_they_are_wanted() {
    for (colors, any) in [(true, true), (false, false)] {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut board = board();
        terminal.draw(|frame| draw(frame, &mut board, Palette { colors }, NOW)).unwrap();
        let cells = terminal.backend().buffer().content();
        assert_eq!(cells.iter().any(|cell| cell.fg != Color::Reset), any);
    }
}

#[test]
fn keys_move_sort_filter_and_leave() {
    let mut board = board();
    assert_eq!(board.wanted().beyond, Beyond::Nothing);
    press(&mut board, "tab tab tab");
    assert_eq!((&board.pane, board.wanted().beyond), (&Pane::Tab(Tab::Tenants), Beyond::Policies));
    press(&mut board, "tab tab");
    assert_eq!(board.pane, Pane::Tab(Tab::Queues));
    press(&mut board, "backtab");
    assert_eq!(board.wanted().beyond, Beyond::Dead);
    press(&mut board, "1 s");
    let keys =
        |board: &Board| board.sheet(NOW).rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(keys(&board), ["mail", "default"], "the most pending first");
    press(&mut board, "S");
    assert_eq!(keys(&board), ["default", "mail"]);
    press(&mut board, "/ M a I");
    assert_eq!(keys(&board), ["mail"]);
    // What is typed into a filter is no command.
    assert_eq!(press(&mut board, "q"), After::Go);
    assert!(keys(&board).is_empty());
    press(&mut board, "esc");
    assert_eq!((keys(&board).len(), board.typing), (2, false));
    press(&mut board, "down enter");
    let Beyond::Tasks(of, state) = board.wanted().beyond else { panic!("{:?}", board.wanted()) };
    assert_eq!((of, state.to_string()), (queue("mail"), "running".into()));
    press(&mut board, "l l");
    let Beyond::Tasks(_, state) = board.wanted().beyond else { panic!("{:?}", board.wanted()) };
    assert_eq!(state.to_string(), "failed");
    assert_eq!(press(&mut board, "esc"), After::Go);
    assert_eq!(board.pane, Pane::Tab(Tab::Queues));
    assert_eq!(press(&mut board, "?"), After::Go);
    assert_eq!((board.over, press(&mut board, "esc")), (Over::Help, After::Go));
    assert_eq!(press(&mut board, "esc"), After::Quit);
    assert_eq!(press(&mut board, "q"), After::Quit);
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut board, "/");
    assert_eq!(board.key(control, NOW), After::Quit, "even while typing");
}

#[test]
fn the_selected_row_stays_selected_wherever_it_goes() {
    let mut board = board();
    press(&mut board, "end");
    let selected = |board: &Board| {
        let sheet = board.sheet(NOW);
        sheet.rows[board.selection(&sheet)].key.clone()
    };
    assert_eq!(selected(&board), "mail");
    press(&mut board, "s");
    assert_eq!(selected(&board), "mail");
    // A row that is gone leaves its place to another.
    let mut fewer = seen();
    fewer.look.queues.pop();
    fewer.overview.queues.pop();
    board.take(Ok(Box::new(fewer)), NOW);
    assert_eq!(selected(&board), "default");
}

proptest! {
    #[test]
    fn no_size_and_no_keys_are_too_much(
        columns in 0u16..150,
        lines in 0u16..50,
        keys in proptest::collection::vec("[1-5sSp?/ljkgGqx]|enter|esc|tab|end", 0..30),
    ) {
        let mut board = board();
        for key in keys {
            press(&mut board, &key);
            drawn(&mut board, columns, lines);
        }
    }
}
