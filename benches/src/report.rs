//! Figures, their medians, and how they are shown.

use std::collections::BTreeMap;

/// Figures by name, in the order in which the names first came.
#[derive(Default)]
pub(crate) struct Report {
    order: Vec<String>,
    figures: BTreeMap<String, (Vec<f64>, &'static str)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        if !self.figures.contains_key(name) {
            self.order.push(name.to_owned());
        }
        self.figures.entry(name.to_owned()).or_insert_with(|| (Vec::new(), unit)).0.push(value);
    }

    pub(crate) fn print(&self, json: bool) {
        if !json {
            println!("{:<24} {:>12} {:>12} {:>12}  unit", "bench", "median", "min", "max");
        }
        for name in &self.order {
            let Some((values, unit)) = self.figures.get(name) else { continue };
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
            let median = sorted[sorted.len() / 2];
            if json {
                println!("{}", serde_json::json!({"bench": name, "value": median, "unit": unit}));
            } else {
                println!("{name:<24} {median:>12.3} {min:>12.3} {max:>12.3}  {unit}");
            }
        }
    }
}
