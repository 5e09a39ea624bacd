//! Result documents as Celery's Redis backend writes them, and failures as exceptions that Python can raise.

use super::tasks::Wrong;
use super::wire::Message;
use crate::failure::{Code, Failure, Refusal, RefusalKind};
use crate::progress::Progress;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

/// An exception, as the wire has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exception {
    exc_type: String,
    exc_message: Vec<Value>,
    exc_module: &'static str,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Success(Value),
    Failure { exception: Exception, traceback: Option<String> },
    Revoked { reason: &'static str, terminated: bool, expired: bool },
}

/// The order of fields is that of Celery; `status` comes first, by which result.lua knows a SUCCESS.
#[derive(Serialize)]
struct Document<'a> {
    status: &'a str,
    result: Value,
    traceback: Option<&'a str>,
    children: &'a [Value],
    date_done: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    task_id: &'a str,
}

impl Outcome {
    pub fn state(&self) -> &'static str {
        match self {
            Outcome::Success(_) => "SUCCESS",
            Outcome::Failure { .. } => "FAILURE",
            Outcome::Revoked { .. } => "REVOKED",
        }
    }

    /// What stands in `result`.
    pub fn result(&self) -> Value {
        match self {
            Outcome::Success(value) => value.clone(),
            Outcome::Failure { exception, .. } => json!(exception),
            Outcome::Revoked { reason, .. } => json!(Exception::new("TaskRevokedError", "celery.exceptions", *reason)),
        }
    }

    fn traceback(&self) -> Option<&str> {
        match self {
            Outcome::Failure { traceback, .. } => traceback.as_deref(),
            Outcome::Success(_) | Outcome::Revoked { .. } => None,
        }
    }

    pub fn wrong(wrong: &Wrong) -> Outcome {
        Outcome::Failure { exception: Exception::new(wrong.class, "builtins", wrong.message.as_str()), traceback: None }
    }
}

impl Exception {
    pub fn new(class: impl Into<String>, module: &'static str, message: impl Into<Value>) -> Exception {
        Exception { exc_type: class.into(), exc_message: vec![message.into()], exc_module: module }
    }

    pub fn repr(&self) -> String {
        let args: Vec<String> = self.exc_message.iter().map(super::repr::repr).collect();
        format!("{}({})", self.exc_type, args.join(", "))
    }
}

/// A failed job. Classes of Celery where it has one for it; else one of `millrace.errors`, which Python makes up when it needs it.
pub fn failed(failure: &Failure, hard_limit_s: u64) -> Outcome {
    let message = failure.message.as_str();
    let exception = match failure.code {
        Code::SoftTimeLimit => Exception::new("SoftTimeLimitExceeded", "billiard.exceptions", message),
        Code::HardTimeLimit => Exception::new("TimeLimitExceeded", "billiard.exceptions", hard_limit_s),
        Code::WorkerLost | Code::Crashed => Exception::new("WorkerLostError", "billiard.exceptions", message),
        Code::OutOfMemory => Exception::new("MemoryError", "builtins", message),
        Code::InputUnavailable => Exception::new("FileNotFoundError", "builtins", message),
        Code::InvalidOption => Exception::new("ValueError", "builtins", message),
        code => Exception::new(camel(code.as_str()), "millrace.errors", message),
    };
    let stage = failure.stage.as_deref().unwrap_or("run");
    let detail = failure.detail.as_deref().map(|d| format!("\n{d}")).unwrap_or_default();
    let traceback = format!("{} in stage {stage}, attempt {}: {message}\n{}{detail}", failure.code, failure.attempt, failure.hint);
    Outcome::Failure { exception, traceback: Some(traceback) }
}

/// A request that the intake refused.
pub fn refused(refusal: &Refusal) -> Outcome {
    let field = refusal.field.as_deref().map(|f| format!(" ({f})")).unwrap_or_default();
    let allowed = if refusal.allowed.is_empty() { String::new() } else { format!(" Allowed: {}.", refusal.allowed.join(", ")) };
    let message = format!("{}{field}{allowed}", refusal.message);
    let exception = match refusal.kind {
        RefusalKind::NotFound => Exception::new("FileNotFoundError", "builtins", message),
        RefusalKind::UnsupportedFormat => Exception::new("UnsupportedFormat", "millrace.errors", message),
        RefusalKind::UnsupportedConversion => Exception::new("UnsupportedConversion", "millrace.errors", message),
        RefusalKind::TooLarge => Exception::new("LimitExceeded", "millrace.errors", message),
        _ => Exception::new("ValueError", "builtins", message),
    };
    Outcome::Failure { exception, traceback: None }
}

fn camel(name: &str) -> String {
    let capital = |word: &str| word.chars().enumerate().map(|(n, c)| if n == 0 { c.to_ascii_uppercase() } else { c }).collect::<String>();
    name.split('_').map(capital).collect()
}

/// The document of a task that has ended.
pub fn ended(message: &Message, outcome: &Outcome, children: &[Value], now: Timestamp) -> String {
    let date_done = Some(now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string());
    document(message, Document { status: outcome.state(), result: outcome.result(), traceback: outcome.traceback(), children, date_done, ..blank() })
}

/// The document of a task that is tried again, with what went wrong.
pub fn retrying(message: &Message, outcome: &Outcome) -> String {
    document(message, Document { status: "RETRY", result: outcome.result(), traceback: outcome.traceback(), ..blank() })
}

/// The document of a task that goes on: STARTED, PROGRESS.
pub fn going(message: &Message, status: &str, result: Value) -> String {
    document(message, Document { status, result, ..blank() })
}

/// `meta` of PROGRESS, with the words that progress bars for Celery look for.
pub fn progress(progress: &Progress) -> Value {
    let (current, total) = if progress.total == 0 { (json!(progress.percent), json!(100)) } else { (json!(progress.current), json!(progress.total)) };
    let status = if progress.message.is_empty() { &progress.stage } else { &progress.message };
    json!({"current": current, "total": total, "percent": progress.percent, "status": status, "stage": progress.stage, "unit": progress.unit, "eta_s": progress.eta_s})
}

fn blank() -> Document<'static> {
    Document { status: "", result: Value::Null, traceback: None, children: &[], date_done: None, group_id: None, parent_id: None, task_id: "" }
}

fn document<'a>(message: &'a Message, document: Document<'a>) -> String {
    let document = Document { group_id: message.group.as_deref(), parent_id: message.parent_id.as_deref(), task_id: &message.id, ..document };
    serde_json::to_string(&document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_exceptions_that_celery_has() {
        let exception = |code| failed(&Failure::new(code, "m"), 9).result();
        assert_eq!(
            exception(Code::SoftTimeLimit),
            json!({"exc_type": "SoftTimeLimitExceeded", "exc_message": ["m"], "exc_module": "billiard.exceptions"})
        );
        assert_eq!(exception(Code::HardTimeLimit)["exc_message"], json!([9]));
        assert_eq!(exception(Code::CorruptInput)["exc_type"], "CorruptInput");
        assert_eq!(Exception::new("E", "builtins", "it's").repr(), "E(\"it's\")");
    }

    #[test]
    fn a_document_is_celerys() {
        let message = Message { id: "i".into(), group: Some("g".into()), ..Message::default() };
        let text = ended(&message, &Outcome::Success(json!(5)), &[], Timestamp::UNIX_EPOCH);
        assert_eq!(
            text,
            r#"{"status":"SUCCESS","result":5,"traceback":null,"children":[],"date_done":"1970-01-01T00:00:00.000000+00:00","group_id":"g","task_id":"i"}"#
        );
    }
}
