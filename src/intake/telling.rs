//! Who may be told of a job, and who is told of it whoever sent it.

use super::Request;
use crate::failure::{Refusal, RefusalKind};
use crate::job::{HookKind, Site, Webhook};
use crate::notify::{Webhooks, email};
use crate::queue::Queue;
use std::sync::Arc;

const URL_MAX_BYTES: usize = 2048;

fn refuse(field: &str, given: &str, why: &str) -> Refusal {
    Refusal::new(RefusalKind::InvalidRequest, format!("`{field}` cannot be used: {why}.")).field(field).given(given)
}

/// As the service is configured; nobody is told by default.
#[derive(Default)]
pub struct Telling {
    pub webhooks: Option<Arc<Webhooks>>,
    /// A server for mails is configured.
    pub mail: bool,
    /// Admins are to be told of every failure.
    pub admins: bool,
}

impl Telling {
    /// What a client asks to be told can be told.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        request.webhook.as_ref().map_or(Ok(()), |webhook| self.check_webhook(webhook))?;
        if let Some(to) = &request.notify_email {
            let checked = if self.mail { email::mailbox(to).map(drop) } else { Err("no mail is configured here".into()) };
            checked.map_err(|why| refuse("notify_email", to, &why))?;
        }
        Ok(())
    }

    pub fn check_webhook(&self, webhook: &Webhook) -> Result<(), Refusal> {
        let url = &webhook.url;
        if url.len() > URL_MAX_BYTES {
            return Err(refuse("webhook.url", &format!("{} bytes", url.len()), &format!("it is longer than {URL_MAX_BYTES} bytes")));
        }
        let checked = self.webhooks.as_ref().map_or_else(|| Err("nobody is told here".to_owned()), |webhooks| webhooks.check(url));
        checked.map_err(|why| refuse("webhook.url", url, &why))
    }

    /// Whom a job of this queue concerns beside its client.
    pub fn site(&self, queue: &Queue) -> Site {
        let hooks = &queue.settings.hooks;
        Site { hooks: HookKind::ALL.into_iter().filter(|kind| hooks.get(*kind).is_some()).collect(), admins: self.admins }
    }
}
