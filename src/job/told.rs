//! Who is told of a job, and of what.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What can be told of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    Queued,
    Started,
    /// Each tenth that is done.
    Progress,
    /// One of its outputs can be downloaded; the others may still be made.
    OutputReady,
    Succeeded,
    Failed,
    /// An attempt has failed, another one will follow.
    Retrying,
    Cancelled,
}

impl Occasion {
    pub const ALL: [Occasion; 8] = [
        Occasion::Queued,
        Occasion::Started,
        Occasion::Progress,
        Occasion::OutputReady,
        Occasion::Succeeded,
        Occasion::Failed,
        Occasion::Retrying,
        Occasion::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Occasion::Queued => "queued",
            Occasion::Started => "started",
            Occasion::Progress => "progress",
            Occasion::OutputReady => "output_ready",
            Occasion::Succeeded => "succeeded",
            Occasion::Failed => "failed",
            Occasion::Retrying => "retrying",
            Occasion::Cancelled => "cancelled",
        }
    }

    /// By the kind of an event; the engine's other events are its own business.
    pub fn of(kind: &str) -> Option<Occasion> {
        Occasion::ALL.into_iter().find(|occasion| occasion.as_str() == kind)
    }

    /// The job has ended.
    pub fn is_last(self) -> bool {
        matches!(self, Occasion::Succeeded | Occasion::Failed | Occasion::Cancelled)
    }
}

/// A client's address that is told of its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub url: String,
    /// None: how it ended.
    #[serde(default)]
    pub events: Vec<Occasion>,
}

impl Webhook {
    pub fn wants(&self, occasion: Occasion) -> bool {
        if self.events.is_empty() { occasion.is_last() } else { self.events.contains(&occasion) }
    }
}

/// A queue's own hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    OnSuccess,
    OnFailure,
    OnRetry,
    /// However the job ended.
    AfterReturn,
}

impl HookKind {
    pub const ALL: [HookKind; 4] = [HookKind::OnSuccess, HookKind::OnFailure, HookKind::OnRetry, HookKind::AfterReturn];

    pub fn as_str(self) -> &'static str {
        match self {
            HookKind::OnSuccess => "on_success",
            HookKind::OnFailure => "on_failure",
            HookKind::OnRetry => "on_retry",
            HookKind::AfterReturn => "after_return",
        }
    }

    pub fn wants(self, occasion: Occasion) -> bool {
        match self {
            HookKind::OnSuccess => occasion == Occasion::Succeeded,
            HookKind::OnFailure => occasion == Occasion::Failed,
            HookKind::OnRetry => occasion == Occasion::Retrying,
            HookKind::AfterReturn => occasion.is_last(),
        }
    }
}

/// Whom a job concerns beside its client, as the site's configuration was when it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Site {
    pub hooks: Vec<HookKind>,
    /// The site's admins get a mail when it fails.
    pub admins: bool,
}
