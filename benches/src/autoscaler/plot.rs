//! A run as a picture: three panels over one time, each change of concurrency marked by the
//! signal that caused it. Numbers have few digits, so that the same run is the same bytes.

use std::fmt::Write as _;

use bulkhead_core::Signal;

use crate::plant::{Moment, Phase};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 58.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 34.0;
const INK: &str = "#1f2933";
const FAINT: &str = "#9aa5b1";

/// A line over time.
struct Curve<'a> {
    name: &'a str,
    colour: &'a str,
    is_stepped: bool,
    values: Vec<f64>,
}

fn colour(signal: Signal) -> &'static str {
    match signal {
        Signal::QueuePressure => "#0b7285",
        Signal::Utilisation => "#5f3dc4",
        Signal::TaskCost => "#d9480f",
        Signal::ErrorRate => "#c92a2a",
        Signal::Memory => "#2b8a3e",
    }
}

/// The picture, as SVG.
pub(crate) fn draw(moments: &[Moment], phases: &[Phase]) -> String {
    let end_ms = moments.last().map_or(1, |last| last.at_ms) as f64;
    let x = |at_ms: f64| LEFT + at_ms / end_ms * (WIDTH - LEFT - RIGHT);
    let height = TOP + 3.0 * (PANEL + GAP) + 22.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"A simulated run of the autoscaler: load, concurrency and backlog over time\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    shade(&mut svg, phases, &x);
    legend(&mut svg);
    let of = |value: fn(&Moment) -> f64| moments.iter().map(value).collect::<Vec<f64>>();
    let panels: [(&str, Vec<Curve<'_>>); 3] = [
        (
            "tasks a second",
            vec![
                Curve {
                    name: "offered",
                    colour: FAINT,
                    is_stepped: false,
                    values: of(|m| m.offered),
                },
                Curve {
                    name: "done",
                    colour: "#1864ab",
                    is_stepped: false,
                    values: of(|m| m.served),
                },
            ],
        ),
        (
            "attempts at once",
            vec![
                Curve {
                    name: "running",
                    colour: FAINT,
                    is_stepped: false,
                    values: of(|m| f64::from(m.in_flight)),
                },
                Curve {
                    name: "allowed",
                    colour: INK,
                    is_stepped: true,
                    values: of(|m| f64::from(m.verdict.to)),
                },
            ],
        ),
        (
            "tasks that wait (square root)",
            vec![Curve {
                name: "waiting",
                colour: "#862e9c",
                is_stepped: false,
                values: of(|m| m.backlog.max(0.0).sqrt()),
            }],
        ),
    ];
    for (number, (title, curves)) in panels.iter().enumerate() {
        let top = TOP + number as f64 * (PANEL + GAP);
        let most = curves.iter().flat_map(|curve| &curve.values).fold(1.0, |a: f64, b| a.max(*b));
        let y = |value: f64| top + PANEL - value / most * PANEL;
        frame(&mut svg, title, top, most, curves);
        for curve in curves {
            line(&mut svg, moments, curve, &x, &y);
        }
        if number == 1 {
            for moment in moments.iter().filter(|moment| moment.verdict.is_change()) {
                let (cx, cy) = (x(moment.at_ms as f64), y(f64::from(moment.verdict.to)));
                let fill = colour(moment.verdict.reason.signal());
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\" fill=\"{fill}\"><title>{}</title></circle>",
                    moment.verdict
                );
            }
        }
    }
    let bottom = height - 8.0;
    for minute in (0..=(end_ms / 60_000.0) as u64).step_by(5) {
        let at = x(minute as f64 * 60_000.0);
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{bottom:.1}\" fill=\"{INK}\" text-anchor=\"middle\">{minute} min</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The phases, every other one shaded, with their names above.
fn shade(svg: &mut String, phases: &[Phase], x: &impl Fn(f64) -> f64) {
    let mut from_ms = 0.0;
    let height = 3.0 * (PANEL + GAP) - GAP;
    for (number, phase) in phases.iter().enumerate() {
        let to_ms = from_ms + phase.seconds as f64 * 1_000.0;
        let (from, to) = (x(from_ms), x(to_ms));
        let fill = if number % 2 == 0 { "#f1f3f5" } else { "#ffffff" };
        let (width, middle) = (to - from, (from + to) / 2.0);
        // Long names take two lines.
        let words: Vec<&str> = phase.name.split(' ').collect();
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{TOP:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
        );
        for (at, word) in words.iter().rev().enumerate() {
            let y = TOP - 6.0 - at as f64 * 13.0;
            let _ = writeln!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{y:.1}\" fill=\"{INK}\" text-anchor=\"middle\" font-weight=\"600\">{word}</text>"
            );
        }
        from_ms = to_ms;
    }
}

/// Which colour a change has.
fn legend(svg: &mut String) {
    let mut x = LEFT;
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"18\" fill=\"{INK}\">changed by</text>");
    x += 84.0;
    for signal in Signal::ALL {
        let name = signal.as_str().replace('_', " ");
        let fill = colour(signal);
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"14\" r=\"3.5\" fill=\"{fill}\"/><text x=\"{:.1}\" y=\"18\" fill=\"{INK}\">{name}</text>",
            x + 8.0
        );
        x += 34.0 + name.len() as f64 * 6.6;
    }
}

/// A panel's frame, title, scale and the names of its curves.
fn frame(svg: &mut String, title: &str, top: f64, most: f64, curves: &[Curve<'_>]) {
    let (bottom, right) = (top + PANEL, WIDTH - RIGHT);
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT:.1} {top:.1}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"{FAINT}\"/>\n\
         <text x=\"{LEFT:.1}\" y=\"{:.1}\" fill=\"{INK}\">{title}</text>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{INK}\" text-anchor=\"end\">{most:.0}</text>\n\
         <text x=\"{:.1}\" y=\"{bottom:.1}\" fill=\"{INK}\" text-anchor=\"end\">0</text>",
        bottom + 16.0,
        LEFT - 6.0,
        top + 10.0,
        LEFT - 6.0,
    );
    let mut x = LEFT + 220.0;
    for curve in curves {
        let (y, colour) = (bottom + 12.0, curve.colour);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {y:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"{INK}\">{}</text>",
            x + 23.0,
            y + 4.0,
            curve.name
        );
        x += 90.0;
    }
}

fn line(
    svg: &mut String,
    moments: &[Moment],
    curve: &Curve<'_>,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) {
    let mut path = String::new();
    for (moment, value) in moments.iter().zip(&curve.values) {
        let (x, y) = (x(moment.at_ms as f64), y(*value));
        // Writing to a string does not fail.
        let _ = match (path.is_empty(), curve.is_stepped) {
            (true, _) => write!(path, "M{x:.1} {y:.1}"),
            (false, true) => write!(path, "H{x:.1}V{y:.1}"),
            (false, false) => write!(path, "L{x:.1} {y:.1}"),
        };
    }
    let colour = curve.colour;
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/>"
    );
}
