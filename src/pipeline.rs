//! Pipelines: jobs with edges.
//!
//! A pipeline is a document of steps. A step becomes jobs once the steps it reads or comes after are over: one job, or one for each
//! file that another step has made (`foreach`). Whoever sees that (a service's [`Driver`], or the call that submits) moves the
//! document from one version to the next and inserts the jobs in the same transaction, so each step is taken once, however many
//! look and whenever one of them is killed. The jobs' own `after` is not used for it: how many jobs a step has, and what they read,
//! is known only when its time has come, and with `on_failure: continue` it may come although a job before has failed.

mod advance;
mod driver;
mod next;
mod parts;
mod request;
mod retry;
mod view;
mod work;

pub use advance::advance;
pub use driver::Driver;
pub use parts::Parts;
pub use request::{OnFailure, PipelineRequest, StepRequest, Where};
pub use retry::retry;
pub use view::{PipelineError, PipelineStats, PipelineView, StepState, StepView};

use crate::failure::{Failure, Refusal, RefusalKind};
use crate::intake::{InputRef, Intake, Owner, idempotency, store as refusal};
use crate::job::{CancelMode, ItemError, PipelineId, State};
use crate::probe::Prober;
use crate::store::{PipelineFilter, PipelineRow, StepCounts, StoreError};
use crate::trace;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tracing::Span;

/// How long an upload waits for the step that reads it.
const UPLOADS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Errors kept of items that never became jobs.
const ERRORS_MAX: usize = 100;

/// A pipeline as it is kept.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub row: PipelineRow,
    pub document: Document,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    request: PipelineRequest,
    /// The token that sent it; its jobs are that one's.
    #[serde(default)]
    owner: Option<Owner>,
    /// How far each step has become jobs.
    steps: BTreeMap<String, Taken>,
    /// Somebody has asked for its end.
    cancel: Option<CancelMode>,
    /// It succeeded although something failed.
    partial: bool,
    /// Its jobs as it ended: their records may go one after the other.
    counts: Option<StepCounts>,
    /// What is still to be done before it goes on, as it was ordered by a retry.
    #[serde(default)]
    redo: Option<Redo>,
}

/// A pipeline is to run again where it has failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Redo {
    /// Steps whose failed and cancelled jobs are queued again.
    again: BTreeSet<String>,
    /// Steps that have read what is made anew: their jobs go, and they begin from nothing.
    anew: BTreeSet<String>,
    /// Jobs made since then are not meant.
    at: Timestamp,
}

/// How far a step has become jobs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Taken {
    /// Jobs inserted or refused, in the order of the items.
    items: usize,
    /// There are no further ones.
    all: bool,
    /// Items that could not become jobs, by their place.
    lost: BTreeSet<usize>,
    /// The first of them.
    errors: Vec<ItemError>,
    /// Items that could not become jobs and are to be tried once more.
    again: BTreeSet<usize>,
}

/// A pipeline on its way in.
pub struct Submission {
    pub request: PipelineRequest,
    /// The token that sends it.
    pub owner: Option<Owner>,
    pub idempotency_key: Option<String>,
}

/// A pipeline that is there; whether it is new, or the one that a key stands for.
pub struct Accepted {
    pub pipeline: PipelineView,
    pub is_new: bool,
}

impl Pipeline {
    fn read(row: PipelineRow) -> Result<Pipeline, StoreError> {
        let document = serde_json::from_str(&row.document).map_err(|e| StoreError::Unavailable(format!("a pipeline cannot be read: {e}")))?;
        Ok(Pipeline { row, document })
    }

    pub async fn find(intake: &Intake, id: PipelineId) -> Result<Pipeline, StoreError> {
        Pipeline::read(intake.store.pipeline(id).await?)
    }

    /// The row of its next version.
    fn next_row(&self) -> Result<PipelineRow, StoreError> {
        let document = serde_json::to_string(&self.document).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        Ok(PipelineRow { version: self.row.version + 1, document, ..self.row.clone() })
    }

    fn taken(&self, step: &str) -> Option<&Taken> {
        self.document.steps.get(step)
    }
}

impl Taken {
    /// The item at this place was looked at.
    fn take(&mut self, place: usize) {
        self.again.remove(&place);
        self.items = self.items.max(place + 1);
    }

    fn refuse(&mut self, place: usize, item: &str, error: Failure) {
        self.lost.insert(place);
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(ItemError { item: item.to_owned(), error });
        }
    }
}

/// Accepts a pipeline and begins the steps that wait for nothing, or says what is wrong with it.
/// `prober` looks at films that are to be encoded in parts of some length.
pub async fn submit(intake: &Intake, prober: Option<&Prober>, submission: Submission, now: Timestamp) -> Result<Accepted, Refusal> {
    let Submission { mut request, owner, idempotency_key } = submission;
    request.check(now)?;
    request.webhook.as_ref().map_or(Ok(()), |webhook| intake.telling.check_webhook(webhook))?;
    let idempotency = idempotency_key.map(|key| idempotency(owner.as_ref(), &key, &request));
    for (name, step) in &mut request.steps {
        if let Some(InputRef::Url(url)) = &step.input {
            let within = |refusal: Refusal| refusal.field(format!("steps.{name}.input.url"));
            step.input = Some(InputRef::Upload(intake.fetch(url, owner.as_ref(), now).await.map_err(within)?.id));
        }
    }
    parts::expand(intake, prober, &mut request, owner.as_ref(), now).await?;
    for (name, step) in &request.steps {
        check_step(intake, &request, owner.as_ref(), name, step, now).await?;
    }
    if let Some(name) = trace::name(&Span::current()) {
        request.context.insert(trace::TRACEPARENT.into(), name.into());
    }
    let steps = request.steps.keys().map(|name| (name.clone(), Taken::default())).collect();
    let (new, token) = (PipelineId::new(), owner.as_ref().map(|owner| owner.token.clone()));
    let document = Document { request, owner, steps, cancel: None, partial: false, counts: None, redo: None };
    let blank = PipelineRow { id: new, version: 0, state: State::Running, created_at: now, finished_at: None, owner: token, document: String::new() };
    let row = Pipeline { row: blank, document }.next_row().map_err(refusal)?;
    let id = intake.store.begin_pipeline(row, idempotency, now).await.map_err(refusal)?;
    advance(intake, id, now).await.map_err(refusal)?;
    Ok(Accepted { pipeline: view::read(intake, id).await.map_err(refusal)?, is_new: id == new })
}

/// What can be told of a step before its time: its names, and all of it when it reads an input of its own.
async fn check_step(
    intake: &Intake,
    request: &PipelineRequest,
    owner: Option<&Owner>,
    name: &str,
    step: &StepRequest,
    now: Timestamp,
) -> Result<(), Refusal> {
    let name = parts::known_as(name, step);
    let within = |refusal: Refusal| {
        let field = refusal.field.clone().unwrap_or_default();
        if refusal.kind == RefusalKind::TooMany {
            return refusal;
        }
        refusal.field(format!("steps.{name}.{field}").trim_end_matches('.'))
    };
    let own = match &step.input {
        Some(input) if !matches!(input, InputRef::Step { .. }) => input,
        _ => return intake.check_names(&step.job(request, owner)).map_err(within),
    };
    let asked = if step.parts.is_some() { step.with_part("rest") } else { step.clone() };
    intake.plan(asked.job(request, owner), now).await.map_err(within)?;
    if let InputRef::Upload(id) = own {
        let mut upload = intake.store.upload(id).await.map_err(refusal)?;
        let kept = now.saturating_add(UPLOADS_KEPT).unwrap_or(Timestamp::MAX);
        if upload.expires_at < kept {
            upload.expires_at = kept;
            intake.store.put_upload(upload).await.map_err(refusal)?;
        }
    }
    Ok(())
}

/// Asks for the end of a pipeline: nothing further begins, what waits is cancelled, what runs is asked to stop (or killed).
pub async fn cancel(intake: &Intake, id: PipelineId, mode: CancelMode, now: Timestamp) -> Result<PipelineView, Refusal> {
    loop {
        let mut pipeline = Pipeline::find(intake, id).await.map_err(refusal)?;
        let asked = pipeline.document.cancel;
        if pipeline.row.state.is_terminal() || asked == Some(CancelMode::Kill) || asked == Some(mode) {
            break;
        }
        pipeline.document.cancel = Some(mode);
        let row = pipeline.next_row().map_err(refusal)?;
        if intake.store.put_pipeline(row, Vec::new(), None, now).await.map_err(refusal)? {
            break;
        }
    }
    advance(intake, id, now).await.map_err(refusal)?;
    view::read(intake, id).await.map_err(refusal)
}

/// A pipeline as it stands.
pub async fn show(intake: &Intake, id: PipelineId) -> Result<PipelineView, Refusal> {
    view::read(intake, id).await.map_err(refusal)
}

/// Pipelines, newest first.
pub async fn list(intake: &Intake, filter: PipelineFilter) -> Result<Vec<PipelineView>, Refusal> {
    let rows = intake.store.pipelines(filter).await.map_err(refusal)?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        views.push(view::brief(intake, Pipeline::read(row).map_err(refusal)?).await.map_err(refusal)?);
    }
    Ok(views)
}

/// Whether a job is still needed by a pipeline that has not ended.
pub async fn needs(intake: &Intake, id: PipelineId) -> Result<bool, Refusal> {
    match intake.store.pipeline(id).await {
        Ok(row) => Ok(!row.state.is_terminal()),
        Err(StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(refusal(error)),
    }
}
