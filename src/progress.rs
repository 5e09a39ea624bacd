//! How far an attempt has come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A step on the way. `current` and `total` are in `unit` (`ms`, `pages`, `entries`, `bytes`, `frames`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Progress {
    /// 0 to 100.
    pub percent: f64,
    /// What is being done: `open`, `decode`, `encode`, `verify`, `publish` ...
    pub stage: String,
    pub current: u64,
    pub total: u64,
    pub unit: String,
    pub message: String,
    /// Seconds to go, once it can be told.
    pub eta_s: Option<f64>,
}

impl Progress {
    /// A step whose percentage follows from `current` of `total`; an unknown total (0) stays at 0 percent.
    pub fn step(stage: &str, current: u64, total: u64, unit: &str) -> Self {
        let percent = if total == 0 { 0.0 } else { (current as f64 / total as f64 * 100.0).clamp(0.0, 100.0) };
        Progress { percent, stage: stage.into(), current, total, unit: unit.into(), ..Progress::default() }
    }

    /// Makes a value that came out of the jail safe to keep: finite, in range, texts short.
    pub fn tamed(mut self) -> Self {
        self.percent = if self.percent.is_finite() { self.percent.clamp(0.0, 100.0) } else { 0.0 };
        for text in [&mut self.stage, &mut self.unit, &mut self.message] {
            *text = text.chars().filter(|c| !c.is_control()).take(200).collect();
        }
        self
    }
}
