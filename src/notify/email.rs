//! Mails of failed jobs. Those of one window are one mail: a broken disk writes a digest, not a flood.

use super::words::{self, Words};
use super::{End, Tried};
use crate::job::Job;
use crate::limits::Span;
use crate::store::{Due, Target};
use crate::tls;
use jiff::{SignedDuration, Timestamp};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Jobs listed in one mail.
const LISTED_MAX: usize = 50;
const DIGEST_MAX: Span = Span::from_secs(86_400);

/// The section `[email]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// `smtp://host:25`, `smtp://user:password@host:587?tls=required` or `smtps://...`; none: no mails.
    pub smtp: Option<String>,
    pub from: String,
    /// The site's admins: they are told of every job that fails. None: only who is named by a job's `notify_email`.
    pub to: Vec<String>,
    /// The admins' language: en, ru, zh or tr.
    pub locale: String,
    /// Failures within so long are one mail, sent when it is over.
    pub digest: Span,
}

impl Default for MailSettings {
    fn default() -> Self {
        MailSettings { smtp: None, from: "millrace@localhost".into(), to: Vec::new(), locale: "en".into(), digest: Span::from_secs(60) }
    }
}

impl MailSettings {
    pub fn check(&self) -> Result<(), String> {
        for address in self.to.iter().chain([&self.from]) {
            mailbox(address).map_err(|e| format!("email: `{address}`: {e}"))?;
        }
        if let Some(smtp) = &self.smtp {
            // The URL may have a password in it.
            AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp).map_err(|_| "email.smtp is no URL of a mail server, as smtp://localhost:25")?;
        } else if !self.to.is_empty() {
            return Err("email.to needs email.smtp".into());
        }
        if self.digest > DIGEST_MAX {
            return Err("email.digest must be at most 1d".into());
        }
        words::of(&self.locale).map(drop).ok_or_else(|| format!("email.locale: `{}` is none of en, ru, zh, tr", self.locale))
    }
}

pub struct Mail {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    admins: Vec<Mailbox>,
    locale: String,
    window: SignedDuration,
}

impl Mail {
    /// None: no server is configured.
    pub fn new(settings: &MailSettings) -> Result<Option<Mail>, String> {
        let Some(smtp) = &settings.smtp else { return Ok(None) };
        settings.check()?;
        tls::use_ring();
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp).map_err(|e| e.to_string())?.build();
        Ok(Some(Mail {
            server,
            from: mailbox(&settings.from)?,
            admins: settings.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
            locale: settings.locale.clone(),
            window: SignedDuration::from_millis(settings.digest.as_millis().cast_signed()),
        }))
    }

    /// Sends these, which are for one reader, as one mail: when the window of the first of them is over.
    pub async fn send(&self, to: Option<&str>, some: &[Due], now: Timestamp) -> Tried {
        let first = some.iter().map(|due| due.delivery.replayed_at.unwrap_or(due.delivery.at)).min().unwrap_or(now);
        let over = window_end(first, self.window);
        let was_tried = some.iter().any(|due| !due.delivery.tries.is_empty());
        if over > now && !was_tried {
            return Tried { end: End::Postponed(over), status: None, answer: None };
        }
        let message = match self.message(to, some) {
            Ok(message) => message,
            // An address that cannot be written to.
            Err(error) => return Tried { end: End::Hopeless, ..Tried::failed(error) },
        };
        match self.server.send(message).await {
            Ok(answer) => {
                let said = answer.message().collect::<Vec<_>>().join(" ");
                Tried { end: End::Delivered, status: answer.code().to_string().parse().ok(), answer: Some(said) }
            }
            Err(error) => {
                let end = if error.is_permanent() { End::Hopeless } else { End::Failed };
                Tried { end, status: error.status().and_then(|code| code.to_string().parse().ok()), answer: Some(error.to_string()) }
            }
        }
    }

    fn message(&self, to: Option<&str>, some: &[Due]) -> Result<Message, String> {
        let readers = to.map_or_else(|| Ok(self.admins.clone()), |to| mailbox(to).map(|to| vec![to]))?;
        let locale = if to.is_some() { some.first().and_then(locale) } else { Some(self.locale.as_str()) };
        let words = locale.and_then(words::of).unwrap_or(&words::ENGLISH);
        let jobs: Vec<&Job> = some.iter().filter_map(|due| due.told.job()).collect();
        let builder = readers.into_iter().fold(Message::builder().from(self.from.clone()), |builder, reader| builder.to(reader));
        let builder = builder.subject(subject(words, &jobs)).header(ContentType::TEXT_PLAIN);
        builder.body(text(words, &jobs)).map_err(|e| e.to_string())
    }
}

/// The letters of each reader, in each reader's language.
pub fn by_reader(mails: Vec<Due>) -> Vec<Vec<Due>> {
    let mut readers: BTreeMap<(Option<String>, String), Vec<Due>> = BTreeMap::new();
    for due in mails {
        let Target::Email { to } = due.delivery.target.clone() else { continue };
        let language = to.as_ref().and_then(|_| locale(&due)).unwrap_or_default().to_owned();
        readers.entry((to, language)).or_default().push(due);
    }
    readers.into_values().collect()
}

/// The language that the job's client speaks, as `ru` or `zh-Hans`.
fn locale(due: &Due) -> Option<&str> {
    due.told.job()?.context.get("locale").and_then(|locale| locale.as_str())
}

/// Windows follow one another without a gap, so that all letters of one are due at the same moment.
fn window_end(at: Timestamp, window: SignedDuration) -> Timestamp {
    let (at_ms, window_ms) = (at.as_millisecond(), i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
    match window_ms {
        0 => at,
        window_ms => Timestamp::from_millisecond(at_ms - at_ms.rem_euclid(window_ms) + window_ms).unwrap_or(at),
    }
}

pub fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| "this is not an address as `name@example.org`".to_owned())
}

fn subject(words: &Words, jobs: &[&Job]) -> String {
    match jobs {
        [job] => words.one_failed.replace("{name}", &name(job)),
        jobs => words.many_failed.replace("{n}", &jobs.len().to_string()),
    }
}

fn text(words: &Words, jobs: &[&Job]) -> String {
    let mut text = format!("{}\n\n", words.greeting);
    for job in jobs.iter().take(LISTED_MAX) {
        let to = job.to.map_or(String::new(), |to| format!(" → {}", to.id()));
        text += &format!("* {}{to}\n", name(job));
        if let Some(error) = &job.error {
            text += &format!("  {}\n", plain(words.says(error.code).unwrap_or(&error.message)));
            if words.says(error.code).is_some() {
                text += &format!("  ({})\n", plain(&error.message));
            } else {
                text += &format!("  {}\n", plain(&error.hint));
            }
        }
        text += &format!("  {} {}, {} {}\n\n", words.job, job.id, words.queue, job.queue);
    }
    if jobs.len() > LISTED_MAX {
        text += &words.more.replace("{n}", &(jobs.len() - LISTED_MAX).to_string());
        text.push('\n');
    }
    text
}

fn name(job: &Job) -> String {
    plain(job.input.as_ref().map_or(&job.converter, |input| &input.name))
}

/// A client's text on one line, and no longer than one.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_for_all_of_its_letters_at_once() {
        let minute = SignedDuration::from_secs(60);
        let end = |second| window_end(Timestamp::from_second(second).unwrap(), minute).as_second();
        assert_eq!([0, 1, 59, 60, 119].map(end), [60, 60, 60, 120, 120]);
        let at = Timestamp::from_second(7).unwrap();
        assert_eq!(window_end(at, SignedDuration::ZERO), at);
    }

    #[test]
    fn mistakes_are_named_and_passwords_are_not() {
        let settings = |change: fn(&mut MailSettings)| {
            let mut settings = MailSettings { smtp: Some("smtp://localhost:25".into()), ..MailSettings::default() };
            change(&mut settings);
            settings.check()
        };
        assert_eq!(settings(|_| ()), Ok(()));
        for (change, word) in [
            ((|s| s.to = vec!["nobody".into()]) as fn(&mut MailSettings), "nobody"),
            (|s| s.from = "a@b\r\nBcc: c@d".into(), "address"),
            (|s| s.locale = "xx".into(), "xx"),
            (|s| s.digest = Span::from_secs(100_000), "digest"),
            (|s| (s.smtp, s.to) = (None, vec!["a@example.org".into()]), "email.smtp"),
            (|s| s.smtp = Some("ftp://me:hunter2@host".into()), "email.smtp"),
        ] {
            let error = settings(change).unwrap_err();
            assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_text_of_a_client_makes_a_line_of_its_own() {
        assert_eq!(plain("a\r\nBcc: b\u{0}\u{1b}[2J"), "a  Bcc: b  [2J");
    }
}
