//! Looks at a file without converting it: what it holds, measured in the same jail as a conversion.

use crate::blobs::{Blobs, Staging};
use crate::convert::Depth;
use crate::converters;
use crate::failure::{Code, Failure, Refusal};
use crate::fetch::fetch;
use crate::intake::{Intake, Plan, Request};
use crate::job::{Input, Media, Source, StreamPlan};
use crate::limits::{Limits, Span};
use crate::queue::Queues;
use crate::sandbox::{InputOrder, Launcher, Order, OutputOrder, Report, Work};
use jiff::Timestamp;
use std::sync::Arc;

/// A look takes milliseconds; what takes longer than this is no look.
const LOOK_LIMIT: Span = Span::from_secs(30);

pub struct Prober {
    pub launcher: Arc<dyn Launcher>,
    pub blobs: Arc<dyn Blobs>,
    pub staging: Staging,
    pub queues: Arc<Queues>,
    /// Threads a probe may start.
    pub threads: usize,
}

impl Prober {
    /// What a request would come to: planned, its input looked at, and what jobs like it took.
    pub async fn plan(&self, intake: &Intake, request: Request, now: Timestamp) -> Result<Plan, Refusal> {
        let (mut plan, source) = intake.dry_run(request, now).await?;
        if let Some(source) = source {
            self.look_ahead(&mut plan, &source).await;
        }
        intake.predicted(plan).await
    }

    /// Has the input measured, as far as it can be, and every stream's fate told.
    async fn look_ahead(&self, plan: &mut Plan, source: &Source) {
        let can_tell = |converter: &str| converters::by_id(converter).is_some_and(|(_, c)| c.plan.is_some());
        let orders = plan.outputs.iter().enumerate().filter(|(_, output)| can_tell(&output.converter)).map(|(index, output)| OutputOrder {
            index,
            converter: output.converter.clone(),
            options: output.options.clone(),
            to: output.to,
            name: output.name.clone(),
        });
        let orders: Vec<OutputOrder> = orders.collect();
        let work = if orders.is_empty() { Work::Probe(Depth::Header) } else { Work::Plan(orders) };
        let Ok(Found { media, planned }) = self.find(&plan.input, source, work).await else { return };
        if let Some(Ok(media)) = media {
            plan.input.media = media;
        }
        for (index, result) in planned {
            let Some(output) = plan.outputs.get_mut(index) else { continue };
            match result {
                Ok(StreamPlan { streams, left_out }) => {
                    output.streams = streams;
                    output.warnings.extend(left_out);
                }
                Err(failure) => output.error = Some(failure),
            }
        }
    }

    /// What an input holds, from its headers.
    pub async fn look(&self, input: &Input, source: &Source) -> Result<Media, Failure> {
        self.find(input, source, Work::Probe(Depth::Header)).await?.media()
    }

    async fn find(&self, input: &Input, source: &Source, work: Work) -> Result<Found, Failure> {
        let id = format!("probe-{}", uuid::Uuid::now_v7().simple());
        let staging = self.staging.for_upload(&id).map_err(|e| Failure::internal(e).stage("staging"))?;
        let fetched = fetch(&*self.blobs, Some(source), staging.path()).await?;
        let family = converters::family(input.format.family());
        let limits = self.queues.get(family.family.as_str()).map(|q| q.limits.clone()).unwrap_or_default();
        let order = Order {
            zygote: family.zygote,
            work,
            input: InputOrder { path: fetched.path().to_owned(), format: input.format, name: input.name.clone(), size_bytes: input.size_bytes },
            staging: staging.path().to_owned(),
            limits: Limits { soft_time_limit: LOOK_LIMIT, hard_time_limit: LOOK_LIMIT, ..limits },
            threads: self.threads,
        };
        heard_in_time(&*self.launcher, order).await.map_err(|f| f.stage("probe"))
    }
}

/// What a child that looks has told; untrusted.
#[derive(Default)]
struct Found {
    media: Option<Result<Media, Failure>>,
    /// By output.
    planned: Vec<(usize, Result<StreamPlan, Failure>)>,
}

impl Found {
    fn media(self) -> Result<Media, Failure> {
        self.media.unwrap_or_else(|| Err(Failure::internal("the probe gave no answer")))
    }
}

/// Has a fresh jailed child measure a file; it is killed at its hard limit.
pub async fn run(launcher: &dyn Launcher, order: Order) -> Result<Media, Failure> {
    heard_in_time(launcher, order).await?.media()
}

async fn heard_in_time(launcher: &dyn Launcher, order: Order) -> Result<Found, Failure> {
    let limit = order.limits.hard_time_limit.duration();
    let heard = tokio::time::timeout(limit, hear(launcher, order)).await;
    heard.unwrap_or_else(|_| Err(Failure::new(Code::HardTimeLimit, "Measuring the file took too long.")))
}

async fn hear(launcher: &dyn Launcher, order: Order) -> Result<Found, Failure> {
    let most = if let Work::Plan(outputs) = &order.work { outputs.len() } else { 0 };
    let mut child = launcher.launch(order).await.map_err(Failure::internal)?;
    let mut found = Found::default();
    while let Some(report) = child.reports.recv().await {
        match report {
            Report::Probed(result) => found.media = Some(result),
            Report::Planned { output, result } if found.planned.len() < most => found.planned.push((output, result)),
            _ => {}
        }
    }
    let exit = (&mut child.exit).await.map_err(Failure::internal)?;
    exit.failure().map_or(Ok(found), Err)
}
