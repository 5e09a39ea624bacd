//! What the jobs of a step read: an input of its own, a file of another step, or several as a bundle.

use super::{Parts, Pipeline, StepRequest, Where};
use crate::failure::{Code, Failure, Refusal, RefusalKind};
use crate::format::Format;
use crate::intake::{Found, InputRef, Intake, store as refusal, unused_name};
use crate::job::{Input, JobId, Media, Member, Output, Record, Source, State};
use crate::store::Filter;
use globset::{Glob, GlobMatcher};
use jiff::Timestamp;
use std::collections::HashSet;

/// Files of one step that another one reads, at most.
const ITEMS_MAX: usize = 10_000;
/// Records read at once.
const PAGE: usize = 200;

/// What one job is to read, by the name an error has for it.
#[derive(Clone)]
pub struct Work {
    pub name: String,
    pub found: Result<Found, Failure>,
    /// Which part of a film it is to make.
    pub part: Option<String>,
}

/// A file that a step has made.
struct Item {
    found: Found,
    group: String,
}

/// All work of a step, in an order that never changes.
pub async fn of(intake: &Intake, pipeline: &Pipeline, name: &str, step: &StepRequest, now: Timestamp) -> Result<Vec<Work>, Refusal> {
    let read = inputs(intake, pipeline, name, step, now).await?;
    let Some(count) = step.part_count() else { return Ok(read) };
    let each = |work: Work| Parts::names(count).map(move |part| Work { name: format!("{} ({part})", work.name), part: Some(part), ..work.clone() });
    Ok(read.into_iter().flat_map(each).collect())
}

/// What a step reads, for each of its jobs.
async fn inputs(intake: &Intake, pipeline: &Pipeline, name: &str, step: &StepRequest, now: Timestamp) -> Result<Vec<Work>, Refusal> {
    let alone = |found: Result<Found, Failure>| vec![Work { name: name.to_owned(), found, part: None }];
    let Some(source) = step.source() else {
        let Some(input) = &step.input else { return Ok(Vec::new()) };
        return match intake.find(input, pipeline.document.owner.as_ref(), step.from, now).await {
            Ok(found) => Ok(alone(Ok(found))),
            Err(refusal) if refusal.kind == RefusalKind::Unavailable => Err(refusal),
            Err(refusal) => Ok(alone(Err(failure(refusal)))),
        };
    };
    let mut items = items(intake, pipeline, source).await?;
    if let Some(InputRef::Step { output: Some(group), .. }) = &step.input {
        items.retain(|item| item.group == *group || item.found.input.name == *group);
    }
    if let Some(wanted) = &step.r#where {
        let wanted = Wanted::new(wanted)?;
        items.retain(|item| wanted.fits(&item.found.input));
    }
    if let Some(from) = step.from {
        items.iter_mut().for_each(|item| item.found.input.format = from);
    }
    if items.len() > ITEMS_MAX {
        let text = format!("The step `{source}` has made {} files; {ITEMS_MAX} can be read on.", items.len());
        return Ok(alone(Err(Failure::limit(text))));
    }
    let each = |found: Found| Work { name: found.input.name.clone(), found: Ok(found), part: None };
    let bundled = |name: String, items: &[Item]| Work { found: bundle(&name, items), name, part: None };
    match (&step.foreach, step.chunk.unwrap_or(1)) {
        (Some(_), 1) => Ok(items.into_iter().map(|item| each(item.found)).collect()),
        (Some(_), chunk) => {
            let chunks = items.chunks(chunk).enumerate();
            Ok(chunks.map(|(n, items)| bundled(format!("{name}-{}", n + 1), items)).collect())
        }
        (None, _) => {
            let read = pipeline.document.request.steps.get(source);
            let is_many = read.is_some_and(|step| step.foreach.is_some() || step.parts.is_some());
            // A film that is joined has its own name.
            let own = items.first().filter(|_| read.is_some_and(|step| step.parts.is_some())).map(|item| stem(&item.found.input));
            Ok(match &items[..] {
                [] => alone(Err(Failure::new(Code::InputUnavailable, format!("The step `{source}` has made nothing to read.")))),
                [only] if !is_many => vec![each(only.found.clone())],
                items => vec![bundled(own.unwrap_or(name.to_owned()), items)],
            })
        }
    }
}

/// What a step has made, oldest job first.
async fn items(intake: &Intake, pipeline: &Pipeline, step: &str) -> Result<Vec<Item>, Refusal> {
    let (mut jobs, mut before) = (Vec::<JobId>::new(), None);
    loop {
        let filter = Filter {
            pipeline: Some(pipeline.row.id),
            step: Some(step.to_owned()),
            state: Some(State::Succeeded),
            before,
            limit: PAGE,
            ..Filter::default()
        };
        let page = intake.store.list(filter).await.map_err(refusal)?;
        jobs.extend(page.iter().map(|job| job.id));
        before = jobs.last().copied();
        if page.len() < PAGE {
            break;
        }
    }
    jobs.reverse();
    let mut items = Vec::new();
    for id in jobs {
        let record: Record = intake.store.get(id).await.map_err(refusal)?;
        let made = record.job.outputs.iter().filter(|output: &&Output| output.state == State::Succeeded);
        items.extend(made.filter_map(|output| Some(Item { found: Found::output(&record, output)?, group: output.group.clone() })));
    }
    Ok(items)
}

/// A file's name without its extension.
fn stem(input: &Input) -> String {
    input.name.rsplit_once('.').map_or(input.name.as_str(), |(stem, _)| stem).to_owned()
}

/// Several files as one input; the zip is made when its job runs.
fn bundle(name: &str, items: &[Item]) -> Result<Found, Failure> {
    let mut taken = HashSet::new();
    let mut members = Vec::with_capacity(items.len());
    for Item { found, .. } in items {
        let Source::Blob(key) = &found.source else { continue };
        let name = unused_name(&found.input.name, |name| taken.contains(name));
        taken.insert(name.clone());
        members.push(Member { name, format: found.input.format, key: key.clone() });
    }
    let zip = Format::parse("zip").ok_or_else(|| Failure::internal("the format `zip` is gone"))?;
    let size_bytes = items.iter().map(|item| item.found.input.size_bytes).sum();
    let input = Input { name: format!("{name}.zip"), size_bytes, sha256: String::new(), format: zip, media: Media::default() };
    Ok(Found { input, source: Source::Bundle(members), upload: None, claimed: None })
}

/// A [`Where`], ready to be asked.
struct Wanted<'w> {
    wanted: &'w Where,
    name: Option<GlobMatcher>,
}

impl Wanted<'_> {
    fn new(wanted: &Where) -> Result<Wanted<'_>, Refusal> {
        let glob = |text: &String| Glob::new(text).map(|glob| glob.compile_matcher());
        let unreadable = |e: globset::Error| Refusal::new(RefusalKind::InvalidRequest, e.to_string());
        Ok(Wanted { wanted, name: wanted.name.as_ref().map(glob).transpose().map_err(unreadable)? })
    }

    fn fits(&self, input: &Input) -> bool {
        self.wanted.family.is_none_or(|family| input.format.family() == family)
            && self.wanted.format.is_none_or(|format| input.format == format)
            && self.name.as_ref().is_none_or(|name| name.is_match(&input.name))
    }
}

/// What kept an item from becoming a job.
pub fn failure(refusal: Refusal) -> Failure {
    let code = match refusal.kind {
        RefusalKind::InvalidRequest | RefusalKind::InvalidOption => Code::InvalidOption,
        RefusalKind::UnsupportedFormat => Code::UnsupportedFormat,
        RefusalKind::UnsupportedConversion => Code::UnsupportedConversion,
        RefusalKind::TooLarge => Code::LimitExceeded,
        RefusalKind::NotFound => Code::InputUnavailable,
        _ => Code::Internal,
    };
    Failure::new(code, refusal.message).stage("intake")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> Item {
        let input =
            Input { name: name.into(), size_bytes: 2, sha256: String::new(), format: Format::from_file_name(name).unwrap(), media: Media::default() };
        let found = Found { input, source: Source::Blob(format!("jobs/{name}")), upload: None, claimed: None };
        Item { found, group: name.into() }
    }

    #[test]
    fn a_bundle_has_every_file_under_a_name_of_its_own() {
        let found = bundle("pack", &[item("a.png"), item("x/a.png"), item("a.png")]).unwrap();
        let Source::Bundle(members) = &found.source else { panic!("{found:?}") };
        assert_eq!(members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["a.png", "x/a.png", "a (2).png"]);
        assert_eq!((found.input.name.as_str(), found.input.size_bytes, found.input.format.id()), ("pack.zip", 6, "zip"));
    }

    #[test]
    fn each_word_of_where_narrows() {
        let fits = |wanted: Where, name: &str| Wanted::new(&wanted).unwrap().fits(&item(name).found.input);
        let family = |family| Where { family: Some(family), ..Where::default() };
        let name = |name: &str| Where { name: Some(name.into()), ..Where::default() };
        assert!(fits(family(crate::format::Family::Image), "a.png") && !fits(family(crate::format::Family::Video), "a.png"));
        assert!(fits(name("*.png"), "x/a.png") && fits(name("x/**"), "x/y/a.png") && !fits(name("x/**"), "y/a.png"));
        assert!(!fits(Where { format: Format::parse("webp"), ..name("*.png") }, "a.png"));
    }
}
