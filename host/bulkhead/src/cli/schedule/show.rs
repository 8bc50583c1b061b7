//! Schedules as tables and documents.

use anyhow::Result;
use bulkhead::config::quantity::Span;
use bulkhead::core::{QueueName, Timing, UnixMs};
use bulkhead::queue::ScheduleView;
use bulkhead_api::document::ScheduleDocument;

use super::Upcoming;
use crate::cli::exit::Exit;
use crate::cli::session::{Session, queues};
use crate::cli::{escape, figures, output};

/// List the schedules of one queue or all.
pub(super) async fn list(session: &Session, queue: Option<&QueueName>) -> Result<Exit> {
    let broker = session.broker().await?;
    let mut found: Vec<(QueueName, ScheduleView)> = Vec::new();
    for queue in queues(broker.as_ref(), queue).await? {
        let schedules = broker.schedules(&queue).await?;
        found.extend(schedules.into_iter().map(|view| (queue.clone(), view)));
    }
    if session.out.is_json() {
        let documents: Vec<_> =
            found.iter().map(|(queue, view)| ScheduleDocument::new(queue, view)).collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let now = figures::now();
    let header =
        ["NAME", "QUEUE", "TYPE", "WHEN", "STATE", "NEXT", "LAST", "FIRED", "SKIPPED", "FROM"];
    let mut table = output::table(&header);
    for (queue, view) in &found {
        let relative = |at: Option<UnixMs>| at.map(|at| figures::relative(at, now));
        table.add_row(vec![
            output::cell(&view.schedule.name),
            output::cell(queue.as_str()),
            output::cell(view.schedule.task.task_type.as_str()),
            output::cell(&timing(&view.schedule.timing)),
            output::cell(state(view)),
            output::cell(&relative(view.next.filter(|_| !view.paused)).unwrap_or_default()),
            output::cell(&relative(view.last.map(|last| last.at)).unwrap_or_default()),
            output::number(view.fired),
            output::number(view.skipped),
            output::cell(&view.schedule.origin),
        ]);
    }
    session.out.table(table, "no schedules; define one with `bulkhead schedule put`")?;
    Ok(Exit::Done)
}

fn state(view: &ScheduleView) -> &'static str {
    match (view.paused, view.next) {
        (true, _) => "paused",
        (false, Some(_)) => "active",
        (false, None) => "over",
    }
}

fn timing(timing: &Timing) -> String {
    match timing {
        Timing::Once { at } => format!("once at {}", figures::time(*at)),
        Timing::Cron { expression, zone } => format!("{expression} {zone}"),
        Timing::Every { interval_ms, jitter_ms: 0, .. } => {
            format!("every {}", Span::from_ms(*interval_ms))
        }
        Timing::Every { interval_ms, jitter_ms, .. } => {
            let (interval, jitter) = (Span::from_ms(*interval_ms), Span::from_ms(*jitter_ms));
            format!("every {interval}, up to {jitter} late")
        }
    }
}

/// Show one schedule.
pub(super) fn show(session: &Session, queue: &QueueName, view: &ScheduleView) -> Result<Exit> {
    if session.out.is_json() {
        session.out.document(&ScheduleDocument::new(queue, view))?;
        return Ok(Exit::Done);
    }
    let now = figures::now();
    let at = |ms: u64| format!("{} ({})", figures::time(ms), figures::relative(ms, now));
    let schedule = &view.schedule;
    let task = &schedule.task;
    let payload = figures::bytes(task.payload.data.len() as u64);
    let mut rows = vec![
        ("name", schedule.name.clone()),
        ("queue", queue.to_string()),
        ("when", timing(&schedule.timing)),
        ("state", state(view).to_owned()),
        ("next", view.next.filter(|_| !view.paused).map_or("-".to_owned(), at)),
        ("fired", view.fired.to_string()),
        ("skipped", view.skipped.to_string()),
        ("missed", schedule.missed.to_string()),
        ("exclusive", if schedule.exclusive { "yes" } else { "no" }.to_owned()),
        ("from", schedule.origin.clone()),
        ("type", task.task_type.to_string()),
        ("tenant", task.tenant.to_string()),
        ("priority", task.priority.to_string()),
        ("payload", format!("{}, {payload}", task.payload.content_type)),
    ];
    if let Some(last) = view.last {
        rows.insert(5, ("last", format!("{}, task {}", at(last.at), last.task)));
    }
    rows.extend(task.metadata.iter().map(|(key, value)| ("metadata", format!("{key}={value}"))));
    let text: String = rows
        .iter()
        .map(|(label, value)| format!("{label:<11} {}\n", escape::line(value)))
        .collect();
    session.out.text(&text)?;
    Ok(Exit::Done)
}

/// Print the fires to come, by UTC and by the schedule's own zone.
pub(super) fn upcoming(session: &Session, view: &ScheduleView, fires: &[UnixMs]) -> Result<Exit> {
    if session.out.is_json() {
        let documents: Vec<_> = fires.iter().map(|at| Upcoming { at: *at }).collect();
        session.out.document(&documents)?;
        return Ok(Exit::Done);
    }
    let zone = match &view.schedule.timing {
        Timing::Cron { zone, .. } if zone != "UTC" => Some(zone.as_str()),
        _ => None,
    };
    let now = figures::now();
    let mut header = vec!["AT", "FROM NOW"];
    header.extend(zone);
    let mut table = output::table(&header);
    for at in fires {
        let mut row =
            vec![output::cell(&figures::time(*at)), output::cell(&figures::relative(*at, now))];
        row.extend(zone.map(|zone| output::cell(&figures::time_in(*at, zone))));
        table.add_row(row);
    }
    session.out.table(table, "it will not fire again")?;
    Ok(Exit::Done)
}
