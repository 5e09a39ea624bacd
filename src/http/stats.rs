//! What happened lately, for charts.

use super::Shared;
use super::extract::Query;
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::limits::Span;
use crate::store::{Measure, Step, Stretch};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Up to this window the answer goes by minutes, beyond by hours.
const BY_MINUTES: Span = Span::from_secs(24 * 3600);
const WINDOW_MAX: Span = Span::from_secs(30 * 24 * 3600);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wish {
    /// How far back, 1m to 30d. Default: 1h.
    #[serde(default = "hour")]
    window: Span,
}

fn hour() -> Span {
    Span::from_secs(3600)
}

/// The history of all workers.
// Under a name of its own: a job has `Stats` as well.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub struct Stats {
    /// Seconds that one point sums up: 60 for windows of up to a day, 3600 beyond.
    step_s: i64,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Oldest first; a stretch in which no worker ran has none.
    points: Vec<Point>,
}

/// One minute, or one hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct Point {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Share of the hosts' processors in use, 0 to 1; null when no worker told.
    cpu: Option<f64>,
    /// By queue; a measure that is not there is 0. Those that end in `_s` are seconds: waited before attempts, run by attempts,
    /// and slots used and open times the time they were.
    queues: BTreeMap<String, BTreeMap<Measure, f64>>,
}

impl Point {
    fn of(stretch: Stretch) -> Point {
        let mut queues = stretch.sums;
        let host = queues.remove("").unwrap_or_default();
        let measured_s = host.get(&Measure::MeasuredS).copied().filter(|s| *s > 0.0);
        let cpu = measured_s.map(|measured_s| (host.get(&Measure::BusyS).copied().unwrap_or(0.0) / measured_s).clamp(0.0, 1.0));
        Point { at: stretch.start, cpu, queues }
    }
}

/// Attempts, waits, slots and processors over time.
#[utoipa::path(get, path = "/v1/stats", tag = "service", params(Wish), responses((status = 200, body = Stats), Problem))]
pub async fn read(State(service): State<Shared>, Query(wish): Query<Wish>) -> Result<Json<Stats>, Problem> {
    if wish.window < Span::from_secs(60) || wish.window > WINDOW_MAX {
        let refusal = Refusal::new(RefusalKind::InvalidOption, "The window must be 1 minute to 30 days.");
        return Err(Problem(refusal.field("window").given(wish.window.to_string())));
    }
    let step = if wish.window <= BY_MINUTES { Step::Minute } else { Step::Hour };
    let to = service.clock.now();
    let from = step.start(to.saturating_sub(wish.window.duration()).unwrap_or(to));
    let stretches = service.intake.store.history(step, from, to).await.map_err(store)?;
    Ok(Json(Stats { step_s: step.length().as_secs(), from, to, points: stretches.into_iter().map(Point::of).collect() }))
}
