//! `docs/metrics.md`, made of the table.

use std::fmt::Write as _;

use super::classes::{MAX_TYPES, PRIORITIES};
use super::family::{Declared, MAX_SERIES};
use super::{TABLE, TenantClasses};

/// The page as it has to be.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Made by `cargo xtask metrics` of host/bulkhead/src/metrics/table.rs. Do not edit. \
         -->\n\n\
         What a host exposes as OpenMetrics text. [observability.md](observability.md) has how to \
         get at it.\n\n",
    );
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "Labels are bounded: `type` is one of the first {MAX_TYPES} task types that the host met, \
         or `other`; `tenant_class` is the class that the configuration gives a tenant (at most \
         {}), `default` for the tenant of that name, or `other`; `priority` is the level that a \
         task's priority reaches: {}. A metric has at most {MAX_SERIES} series; what is beyond is \
         counted in one whose labels are all `other`.\n\n\
         | Metric | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|\n",
        TenantClasses::MAX,
        PRIORITIES.map(|priority| format!("`{priority}`")).join(", "),
    );
    for Declared { name, kind, unit, help, labels, .. } in TABLE {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let unit = unit.unwrap_or("–");
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    page.push_str("\n## Buckets\n\n| Metric | Upper bounds |\n|---|---|\n");
    for declared in TABLE.iter().filter(|declared| !declared.bounds.is_empty()) {
        let bounds: Vec<String> = declared.shown_bounds().collect();
        let _ = writeln!(page, "| `{}` | {} |", declared.name, bounds.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, super::page(), "docs/metrics.md is stale; run `cargo xtask metrics`");
    }
}
