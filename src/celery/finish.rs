//! The end of a task on the broker and the result backend.
//!
//! Where both are one server (whatever the databases) it is one script: whoever dies has done all of it or nothing. Where they are two
//! servers the result is written first and the message ended after it. Who dies in between leaves the message in `unacked`: it is given
//! back, its job is known and has ended, and the end is told again. That does no harm, for a SUCCESS is never overwritten, a part counts
//! once in its chord, and what follows is sent by the script that ends the message, so never twice. What may be left over are the counts
//! of a chord that nobody sent, and the parts of one whose body was sent: both run out within a day.

use super::broker::{Broker, Chord, FINISH, Part, Push, decode};
use crate::link::{LinkError, Result};

/// What the end of a task leaves.
pub struct Ending {
    pub tag: String,
    pub id: String,
    /// None: nobody wants a result.
    pub document: Option<String>,
    pub part: Option<Part>,
    /// The results of tasks that will not run now, by id.
    pub others: Vec<(String, String)>,
    /// The sizes of chords that begin with this.
    pub chords: Vec<(String, usize)>,
    pub pushes: Vec<Push>,
}

/// What the body of a chord comes to, made of all its parts.
pub struct Body {
    pub made_of: usize,
    pub documents: Vec<(String, String)>,
    pub pushes: Vec<Push>,
}

pub enum Finished {
    Ended,
    /// The message is not ours any more: somebody else ends it.
    Lost,
    /// The chord is complete with this part: to be asked again with the body. Nothing has ended yet.
    Complete(Vec<String>),
    /// The chord is complete, and somebody else is about to send its body. Nothing has ended yet.
    Busy,
    /// The body is not wanted any more. Nothing has ended yet.
    Changed,
}

impl Broker {
    pub async fn finish(&self, ending: &Ending, body: Option<&Body>) -> Result<Finished> {
        match self.one_server {
            Some(databases) => self.finish_at_once(databases, ending, body).await,
            None => self.finish_in_two(ending, body).await,
        }
    }

    async fn finish_at_once(&self, (messages, results): (i64, i64), ending: &Ending, body: Option<&Body>) -> Result<Finished> {
        let keys = &self.keys;
        let documents = || ending.others.iter().chain(body.iter().flat_map(|b| &b.documents));
        let pushes = || ending.pushes.iter().chain(body.iter().flat_map(|b| &b.pushes));
        let mut names = vec![keys.unacked(), keys.unacked_index(), keys.tags(&keys.instance), keys.result(&ending.id)];
        names.extend(ending.part.iter().flat_map(|part| keys.chord(&part.group)));
        names.extend(documents().map(|(id, _)| keys.result(id)));
        for (group, _) in &ending.chords {
            let [.., size, _, claim] = keys.chord(group);
            names.extend([size, claim]);
        }
        names.extend(pushes().map(|push| push.list.clone()));

        let mut call = FINISH.call(&names);
        call.arg(&ending.tag).arg(messages).arg(results).arg(self.kept_s()).arg(ending.document.as_deref().unwrap_or(""));
        call.arg(documents().count()).arg(ending.chords.len()).arg(body.map_or(0, |b| b.made_of));
        match &ending.part {
            Some(part) => call.arg(&part.member).arg(part.score()).arg(&part.part),
            None => call.arg("").arg("").arg(""),
        };
        let sizes: Vec<usize> = ending.chords.iter().map(|(_, size)| *size).collect();
        call.arg(documents().map(|(_, document)| document).collect::<Vec<_>>()).arg(sizes);
        call.arg(pushes().map(|push| &push.message).collect::<Vec<_>>());

        let mut words: Vec<String> = decode(self.messages.ask_one(&call).await?)?;
        let parts = words.split_off(1.min(words.len()));
        match words.first().map(String::as_str) {
            Some("ended") => Ok(Finished::Ended),
            Some("lost") => Ok(Finished::Lost),
            Some("complete") => Ok(Finished::Complete(parts)),
            Some("busy") => Ok(Finished::Busy),
            Some("changed") => Ok(Finished::Changed),
            other => Err(LinkError::Lost(format!("finish.lua answered {other:?}"))),
        }
    }

    async fn finish_in_two(&self, ending: &Ending, body: Option<&Body>) -> Result<Finished> {
        // With a body it is the second time, and the result is told.
        let document = ending.document.as_deref().filter(|_| body.is_none());
        let chord = self.result(&ending.id, document, ending.part.as_ref()).await?;
        let (body, group) = match (chord, body, &ending.part) {
            (Chord::Busy, ..) => return Ok(Finished::Busy),
            (Chord::Mine, None, Some(part)) => return Ok(Finished::Complete(self.chord_parts(&part.group).await?)),
            (Chord::Mine, Some(body), Some(part)) => (Some(body), Some(&part.group)),
            _ => (None, None),
        };
        for (id, document) in ending.others.iter().chain(body.iter().flat_map(|b| &b.documents)) {
            self.result(id, Some(document), None).await?;
        }
        for (group, size) in &ending.chords {
            self.open_chord(group, *size).await?;
        }
        let pushes: Vec<&Push> = ending.pushes.iter().chain(body.iter().flat_map(|b| &b.pushes)).collect();
        let is_ours = self.settle(&ending.tag, &pushes).await?;
        if let Some(group) = group {
            self.close_chord(group).await?;
        }
        Ok(if is_ours { Finished::Ended } else { Finished::Lost })
    }
}
