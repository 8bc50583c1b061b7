//! The table of attacks as Markdown, and its place in a document.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::{Behaviour, Measured};

const BEGIN: &str = "<!-- attacks: begin -->";
const END: &str = "<!-- attacks: end -->";

/// The lines of a table; `quiet` is the neighbour without an attack.
#[must_use]
pub fn rows(quiet: &Measured, all: &[(&Behaviour, Measured)]) -> String {
    let mut text = String::from(
        "| Attack | What it does | Promise | Outcome | Stopped after | Memory | p50 | p99 |\n\
         |---|---|---|---|---:|---:|---:|---:|\n",
    );
    let quiet_waits = format!("{} | {}", ms(quiet.waits.p50), ms(quiet.waits.p99));
    // Writing to a string does not fail.
    let _ = writeln!(text, "| – | nothing: the neighbour alone | | | | | {quiet_waits} |");
    for (behaviour, measured) in all {
        let Measured { seen, growth_bytes, waits } = measured;
        let outcome = match &seen.wrong {
            None => seen.outcome.clone(),
            Some(wrong) => format!("**not as promised**: {}", cell(wrong)),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {outcome} | {} | {:.1} MiB | {} | {} |",
            behaviour.name,
            cell(&behaviour.does()),
            behaviour.promise,
            ms(seen.stopped_after),
            *growth_bytes as f64 / f64::from(1 << 20),
            ms(waits.p50),
            ms(waits.p99),
        );
    }
    text
}

fn ms(time: std::time::Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// Text that stays within its cell.
fn cell(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect::<String>().replace('|', "\\|")
}

/// `document` with `text` between its markers.
pub fn replace_between_markers(document: &str, text: &str) -> Result<String> {
    let missing = || format!("the document has no `{BEGIN}` and `{END}`");
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let replaced = replace_between_markers(&document, "new\n").ok();
        assert_eq!(replaced, Some(format!("a\n{BEGIN}\nnew\n{END}\nb\n")));
        assert!(replace_between_markers("no markers", "new").is_err());
    }

    #[test]
    fn a_cell_has_one_line_and_no_bars() {
        assert_eq!(cell("a|b\nc\u{1b}"), "a\\|bc");
    }
}
