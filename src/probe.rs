//! Looks at a file without converting it: what it holds, measured in the same jail as a conversion.

use crate::blobs::{Blobs, Staging};
use crate::convert::Depth;
use crate::converters;
use crate::failure::{Code, Failure};
use crate::fetch::fetch;
use crate::intake::Plan;
use crate::job::{Input, Media, Source};
use crate::limits::{Limits, Span};
use crate::queue::Queues;
use crate::sandbox::{InputOrder, Launcher, Order, Report, Work};
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
    /// A plan whose input has been measured, as far as it can be.
    pub async fn measured(&self, mut plan: Plan, source: Option<Source>) -> Plan {
        if let Some(source) = source
            && let Ok(media) = self.look(&plan.input, &source).await
        {
            plan.input.media = media;
        }
        plan
    }

    /// What an input holds, from its headers.
    pub async fn look(&self, input: &Input, source: &Source) -> Result<Media, Failure> {
        let id = format!("probe-{}", uuid::Uuid::now_v7().simple());
        let staging = self.staging.for_upload(&id).map_err(|e| Failure::internal(e).stage("staging"))?;
        let fetched = fetch(&*self.blobs, Some(source), staging.path()).await?;
        let family = converters::family(input.format.family());
        let limits = self.queues.get(family.family.as_str()).map(|q| q.limits.clone()).unwrap_or_default();
        let order = Order {
            zygote: family.zygote,
            work: Work::Probe(Depth::Header),
            input: InputOrder { path: fetched.path().to_owned(), format: input.format, name: input.name.clone(), size_bytes: input.size_bytes },
            staging: staging.path().to_owned(),
            limits: Limits { soft_time_limit: LOOK_LIMIT, hard_time_limit: LOOK_LIMIT, ..limits },
            threads: self.threads,
        };
        run(&*self.launcher, order).await.map_err(|f| f.stage("probe"))
    }
}

/// Has a fresh jailed child measure a file; it is killed at its hard limit.
pub async fn run(launcher: &dyn Launcher, order: Order) -> Result<Media, Failure> {
    let limit = order.limits.hard_time_limit.duration();
    let measured = tokio::time::timeout(limit, measure(launcher, order)).await;
    measured.unwrap_or_else(|_| Err(Failure::new(Code::HardTimeLimit, "Measuring the file took too long.")))
}

async fn measure(launcher: &dyn Launcher, order: Order) -> Result<Media, Failure> {
    let mut child = launcher.launch(order).await.map_err(Failure::internal)?;
    let mut answer = None;
    while let Some(report) = child.reports.recv().await {
        if let Report::Probed(result) = report {
            answer = Some(result);
        }
    }
    let exit = (&mut child.exit).await.map_err(Failure::internal)?;
    match exit.failure() {
        Some(failure) => Err(failure),
        None => answer.unwrap_or_else(|| Err(Failure::internal("the probe gave no answer"))),
    }
}
