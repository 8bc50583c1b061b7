//! How a host follows its load, and when it takes on no more.

use std::time::Duration;

use bulkhead_core::{AdmissionMarks, DiskMark, Mark, Pace};

use super::{Check, GIB, HOUR, SECOND};
use crate::config::quantity::{Size, Span};
use crate::config::raw::{RawAdmission, RawAutoscale, RawHost};
use crate::options::{AdmissionOptions, AutoscaleOptions};

impl Check<'_> {
    /// Checked whether or not it is enabled, so that enabling it is no surprise.
    pub(super) fn autoscale(&mut self, host: &RawHost) -> Option<AutoscaleOptions> {
        let raw = &host.autoscale;
        let at = |key| ["host", "autoscale", key];
        let RawAutoscale { min, max, up_signals, down_signals, .. } = *raw;
        self.within(&at("min"), min, 1..=host.concurrency.max(1));
        if let Some(max) = max {
            // More would need memory that was not set apart at the start.
            self.within(&at("max"), max, min.min(host.concurrency)..=host.concurrency);
        }
        self.within(&at("up_signals"), up_signals, 1..=1_000);
        self.within(&at("down_signals"), down_signals, 1..=1_000);
        let mut pace = |signals, key, cooldown: Span| {
            let cooldown = self.span(&at(key), cooldown, Duration::ZERO..=HOUR);
            Pace { signals, cooldown_ms: Span(cooldown).as_ms() }
        };
        let up = pace(up_signals, "up_cooldown", raw.up_cooldown);
        let down = pace(down_signals, "down_cooldown", raw.down_cooldown);
        let interval = AutoscaleOptions::LEAST_INTERVAL..=HOUR;
        let options = AutoscaleOptions {
            min,
            max,
            interval: self.span(&at("interval"), raw.interval, interval),
            up,
            down,
            pick_up_target: raw
                .pick_up_target
                .map(|target| self.span(&at("pick_up_target"), target, SECOND / 1_000..=HOUR)),
        };
        raw.enabled.then_some(options)
    }

    pub(super) fn admission(&mut self, raw: &RawAdmission) -> AdmissionOptions {
        let at = |key| ["host", "admission", key];
        let RawAdmission { cpu, cpu_resume, memory, memory_resume, .. } = *raw;
        let marks = AdmissionMarks {
            cpu: self.mark("cpu", cpu, "cpu_resume", cpu_resume),
            memory: self.mark("memory", memory, "memory_resume", memory_resume),
            disk: self.disk_mark(raw),
        };
        let interval = self.span(&at("interval"), raw.interval, SECOND / 10..=HOUR);
        AdmissionOptions { marks, interval, ..AdmissionOptions::default() }
    }

    /// Two marks in percent, the lower one nine tenths of the higher one if it is not said.
    fn mark(
        &mut self,
        high_key: &str,
        high: Option<u32>,
        low_key: &str,
        low: Option<u32>,
    ) -> Option<Mark> {
        let Some(high) = high else {
            if low.is_some() {
                let message = format!("it says nothing without `{high_key}`");
                self.problem(&["host", "admission", low_key], message);
            }
            return None;
        };
        self.within(&["host", "admission", high_key], high, 1..=100);
        if let Some(low) = low {
            self.within(&["host", "admission", low_key], low, 0..=high);
        }
        let share = |percent: u32| f64::from(percent) / 100.0;
        Some(Mark { high: share(high), low: low.map_or(share(high) * 0.9, share) })
    }

    /// What must be free, and when work goes on: a tenth more if that is not said.
    fn disk_mark(&mut self, raw: &RawAdmission) -> Option<DiskMark> {
        let (least, resume) = (raw.disk_free, raw.disk_free_resume);
        let Some(Size(least_bytes)) = least else {
            if resume.is_some() {
                let message = "it says nothing without `disk_free`";
                self.problem(&["host", "admission", "disk_free_resume"], message);
            }
            return None;
        };
        let most = 1024 * 1024 * GIB;
        self.size(&["host", "admission", "disk_free"], Size(least_bytes), 1..=most);
        if let Some(resume) = resume {
            let path = ["host", "admission", "disk_free_resume"];
            self.size(&path, resume, least_bytes..=most.max(least_bytes));
        }
        let resume_bytes = resume.map_or(least_bytes.saturating_add(least_bytes / 10), |r| r.0);
        Some(DiskMark { least_bytes, resume_bytes })
    }
}
