//! Which jobs become the same.

use super::request::digest;
use crate::blobs;
use crate::converters;
use crate::job::{Job, Source};
use serde_json::json;

/// The same for all jobs of a queue that read the same bytes as the same format and make the same of them with the same version.
///
/// Names count where a converter lets them reach what it makes: the title of a page, the entry in an archive. None is anybody else's, so
/// no result carries another client's name. Bytes that not only we can change have no key: by the time they are read, they may be others.
pub fn key(job: &Job, source: &Source) -> Option<String> {
    let input = job.input.as_ref().filter(|input| !input.sha256.is_empty())?;
    if !matches!(source, Source::Blob(key) if blobs::is_ours(key)) {
        return None;
    }
    let takes_names = |id: &str, options| converters::by_id(id).is_none_or(|(_, converter)| (converter.takes_names)(options));
    let is_named = job.outputs.iter().any(|o| takes_names(&o.converter, &o.options));
    let outputs: Vec<_> = job
        .outputs
        .iter()
        .map(|o| json!({"converter": o.converter, "to": o.to, "options": o.options, "warnings": o.warnings, "name": is_named.then_some(&o.name)}))
        .collect();
    let name = is_named.then_some(&input.name);
    Some(digest(&json!({
        "version": env!("CARGO_PKG_VERSION"), "queue": job.queue, "sha256": input.sha256, "format": input.format, "name": name, "outputs": outputs,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::intake::{InputRef, Request, blank, outputs};
    use crate::job::{Input, Media};
    use crate::queue::{Queue, Queues};
    use jiff::Timestamp;
    use serde_json::Value;

    fn key_of(source: &Source, name: &str, sha256: &str, from: &str, to: &str, options: &Value) -> Option<String> {
        let format = |id| Format::parse(id).unwrap();
        let input = Input { name: name.into(), size_bytes: 1, sha256: sha256.into(), format: format(from), media: Media::default() };
        let request = Request { options: options.clone(), ..Request::new(InputRef::Upload("u".into()), Some(format(to))) };
        let mut job = blank("image".into(), &Queue::default(), Timestamp::UNIX_EPOCH);
        job.outputs = outputs::plan(&Queues::load(&[]).unwrap(), &request, &input, None).unwrap();
        job.input = Some(input);
        key(&job, source)
    }

    fn upload(name: &str, sha256: &str, from: &str, to: &str, options: &Value) -> String {
        key_of(&Source::Blob("uploads/u".into()), name, sha256, from, to, options).unwrap()
    }

    #[test]
    fn whatever_makes_another_result_makes_another_key() {
        let (none, wide) = (json!({}), json!({"width": 9}));
        let one = upload("a.png", "1", "png", "webp", &none);
        let others = [
            upload("a.png", "2", "png", "webp", &none),
            upload("a.png", "1", "tiff", "webp", &none),
            upload("a.png", "1", "png", "jpeg", &none),
            upload("a.png", "1", "png", "webp", &wide),
        ];
        assert!(others.iter().all(|other| *other != one) && one.len() == 64, "{one} {others:?}");
        assert_eq!(one, upload("a.png", "1", "png", "webp", &Value::Null), "what is said as it is by default is nothing else");
    }

    #[test]
    fn names_count_where_they_reach_the_result() {
        let same =
            |from, to, options: Value| upload(&format!("a.{from}"), "1", from, to, &options) == upload(&format!("b.{from}"), "1", from, to, &options);
        assert!(
            same("png", "webp", json!({"width": 9}))
                && same("mov", "mp4", json!({}))
                && same("wav", "mp3", json!({}))
                && same("docx", "pdf", json!({}))
        );
        assert!(!same("png", "webp", json!({"widths": [9, 8]})) && !same("gz", "zip", json!({})) && !same("md", "pdf", json!({})));
        assert!(!same("mov", "hls", json!({})) && !same("wav", "mp3", json!({"split": "chapters"})));
    }

    #[test]
    fn what_others_can_change_has_none() {
        for source in [Source::Path("/srv/a.png".into()), Source::Blob("incoming/a.png".into()), Source::Bundle(vec![])] {
            assert_eq!(key_of(&source, "a.png", "1", "png", "webp", &json!({})), None);
        }
        assert_eq!(key_of(&Source::Blob("uploads/u".into()), "a.png", "", "png", "webp", &json!({})), None);
    }
}
