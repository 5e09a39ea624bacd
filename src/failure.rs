//! What went wrong, in two texts: public words for the client, the cause for the log.
//!
//! [`Failure`] is the verdict on an attempt (or on one of its outputs); [`Refusal`] is a request that
//! never became a job. Both carry a stable [`Code`] or name that scripts may branch on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why an attempt ended badly. A closed list: clients branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    CorruptInput,
    UnsupportedFormat,
    UnsupportedConversion,
    InvalidOption,
    PasswordRequired,
    WrongPassword,
    LimitExceeded,
    SoftTimeLimit,
    HardTimeLimit,
    OutOfMemory,
    PolicyViolation,
    ToolFailed,
    Crashed,
    WorkerLost,
    Cancelled,
    InputUnavailable,
    DependencyFailed,
    Expired,
    Internal,
}

/// Whether asking again can help, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retryable {
    /// The same request will fail the same way.
    Never,
    /// The same request may succeed later.
    Later,
    /// It may succeed once the request or the site's settings are changed.
    AfterFix,
}

/// How often the engine itself tries again after a failure of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPolicy {
    Never,
    Once,
    UntilMaxAttempts,
}

impl Code {
    pub const ALL: [Code; 19] = [
        Code::CorruptInput,
        Code::UnsupportedFormat,
        Code::UnsupportedConversion,
        Code::InvalidOption,
        Code::PasswordRequired,
        Code::WrongPassword,
        Code::LimitExceeded,
        Code::SoftTimeLimit,
        Code::HardTimeLimit,
        Code::OutOfMemory,
        Code::PolicyViolation,
        Code::ToolFailed,
        Code::Crashed,
        Code::WorkerLost,
        Code::Cancelled,
        Code::InputUnavailable,
        Code::DependencyFailed,
        Code::Expired,
        Code::Internal,
    ];

    /// The stable name, as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::CorruptInput => "corrupt_input",
            Code::UnsupportedFormat => "unsupported_format",
            Code::UnsupportedConversion => "unsupported_conversion",
            Code::InvalidOption => "invalid_option",
            Code::PasswordRequired => "password_required",
            Code::WrongPassword => "wrong_password",
            Code::LimitExceeded => "limit_exceeded",
            Code::SoftTimeLimit => "soft_time_limit",
            Code::HardTimeLimit => "hard_time_limit",
            Code::OutOfMemory => "out_of_memory",
            Code::PolicyViolation => "policy_violation",
            Code::ToolFailed => "tool_failed",
            Code::Crashed => "crashed",
            Code::WorkerLost => "worker_lost",
            Code::Cancelled => "cancelled",
            Code::InputUnavailable => "input_unavailable",
            Code::DependencyFailed => "dependency_failed",
            Code::Expired => "expired",
            Code::Internal => "internal",
        }
    }

    /// What the client may do about it, what the engine does about it, and a hint when nothing better is known:
    /// the one place where failure kinds are decided.
    fn verdict(self) -> (Retryable, RetryPolicy, &'static str) {
        use RetryPolicy::{Never as NoRetry, Once, UntilMaxAttempts};
        use Retryable::{AfterFix, Later, Never};
        match self {
            Code::CorruptInput => (Never, NoRetry, "Check that the file opens elsewhere and was uploaded completely."),
            Code::UnsupportedFormat => (Never, NoRetry, "See /v1/formats for what can be read."),
            Code::UnsupportedConversion => (AfterFix, NoRetry, "See /v1/formats for what this file can become."),
            Code::InvalidOption => (AfterFix, NoRetry, "Correct the option and submit again."),
            Code::PasswordRequired => (AfterFix, NoRetry, "Give the file's password in the option `password`."),
            Code::WrongPassword => (AfterFix, NoRetry, "Give the right password in the option `password`."),
            Code::LimitExceeded => (AfterFix, NoRetry, "Use a smaller file or ask the site to raise the queue's limit."),
            Code::SoftTimeLimit | Code::HardTimeLimit => (AfterFix, Once, "Choose a faster setting or a longer time limit."),
            Code::OutOfMemory => (AfterFix, Once, "Choose a smaller output or raise the queue's memory_max."),
            Code::PolicyViolation => (Never, NoRetry, "The file tried something a conversion may not do."),
            Code::ToolFailed => (Never, NoRetry, "The job's log has the details."),
            Code::Crashed | Code::Internal => (Later, UntilMaxAttempts, "The job's log has the details."),
            Code::WorkerLost => (Later, UntilMaxAttempts, "The worker stopped answering; its host may need a look."),
            Code::InputUnavailable => (Later, UntilMaxAttempts, "The stored input could not be read."),
            Code::Cancelled => (AfterFix, NoRetry, "Submit or retry the job to run it again."),
            Code::DependencyFailed => (AfterFix, NoRetry, "Look at the job this one waited for."),
            Code::Expired => (AfterFix, NoRetry, "Submit again with a later expires_at."),
        }
    }

    pub fn retryable(self) -> Retryable {
        self.verdict().0
    }

    pub fn retry_policy(self) -> RetryPolicy {
        self.verdict().1
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verdict on a failed attempt or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    pub code: Code,
    /// Fit to be shown to the site's own user.
    pub message: String,
    /// What to try.
    pub hint: String,
    /// For the log and the admin: the library's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where in the line it happened: `intake`, `open`, `decode`, `encode`, `verify`, `publish` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    pub retryable: Retryable,
    /// The attempt that failed; 0 before the first one.
    #[serde(default)]
    pub attempt: u32,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (retryable, _, hint) = code.verdict();
        Failure { code, message: message.into(), hint: hint.into(), detail: None, stage: None, retryable, attempt: 0 }
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Failure::new(Code::CorruptInput, message)
    }

    pub fn limit(message: impl Into<String>) -> Self {
        Failure::new(Code::LimitExceeded, message)
    }

    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Failure::new(Code::Internal, "Something went wrong on our side.").detail(cause)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The cause, for the log. Cut at 2,000 bytes: it may come out of the jail.
    pub fn detail(mut self, cause: impl std::fmt::Display) -> Self {
        let mut text = cause.to_string();
        if text.len() > 2000 {
            let end = (0..=2000).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
            text.truncate(end);
        }
        self.detail = Some(text);
        self
    }

    pub fn stage(mut self, stage: &str) -> Self {
        self.stage.get_or_insert_with(|| stage.to_owned());
        self
    }
}

/// A request that is not accepted: which field, what was given, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    /// Path of the offending field, as `options.video.crf`.
    pub field: Option<String>,
    pub given: Option<String>,
    pub allowed: Vec<String>,
}

/// The kinds a client can tell apart; each has a stable name and an HTTP status at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    InvalidRequest,
    InvalidOption,
    UnsupportedFormat,
    UnsupportedConversion,
    NotFound,
    Conflict,
    IdempotencyMismatch,
    TooLarge,
    TooMany,
    QueueClosed,
    Unauthorized,
    Forbidden,
    /// Another request holds it at the moment.
    Locked,
    UnsupportedVersion,
    UnsupportedChecksum,
    ChecksumMismatch,
    /// What a URL leads to could not be had.
    InputUnavailable,
    InsufficientStorage,
    Unavailable,
    MethodNotAllowed,
    Internal,
}

impl Refusal {
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Refusal { kind, message: message.into(), field: None, given: None, allowed: Vec::new() }
    }

    pub fn field(mut self, path: impl Into<String>) -> Self {
        self.field = Some(path.into());
        self
    }

    pub fn given(mut self, given: impl std::fmt::Display) -> Self {
        self.given = Some(given.to_string());
        self
    }

    pub fn allowed<S: Into<String>>(mut self, allowed: impl IntoIterator<Item = S>) -> Self {
        self.allowed = allowed.into_iter().map(Into::into).collect();
        self
    }
}
