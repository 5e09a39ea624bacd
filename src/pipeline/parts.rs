//! A film that many jobs encode: one step becomes two, the film's parts and the film that is joined of them.

use super::request::{NAME_MAX_CHARS, PipelineRequest, StepRequest, refuse, wrong};
use crate::converters;
use crate::failure::{Refusal, RefusalKind};
use crate::format::Format;
use crate::intake::{InputRef, Intake, Owner};
use crate::limits::Span;
use crate::probe::Prober;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{OneOfBuilder, Schema, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A film has at most so many.
const PARTS_MAX: u64 = 200;
/// A part's beginning costs a keyframe and the reading of what is before it.
const LENGTH_MIN: Span = Span::from_secs(1);
/// Of a step's name, the jobs that make the parts.
const SUFFIX: &str = ".parts";
/// Options that are the joined film's own.
const JOINING: [&str; 2] = ["faststart", "metadata"];

/// How many jobs encode the pictures of a film.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// 1 to 200.
    Count(u16),
    /// As many as the film has pieces of this length, 1 s or more.
    Length(Span),
}

impl Parts {
    /// The parts by the names that the converter knows them by. What goes beside the pictures comes first: it cannot be divided.
    pub fn names(count: u16) -> impl Iterator<Item = String> {
        std::iter::once("rest".to_owned()).chain((1..=count).map(move |n| format!("{n}/{count}")))
    }

    fn check(self, at: &str) -> Result<(), Refusal> {
        match self {
            Parts::Count(n) if !(1..=PARTS_MAX).contains(&u64::from(n)) => Err(refuse(at, n, "A film has 1 to 200 parts.")),
            Parts::Length(length) if length < LENGTH_MIN => Err(refuse(at, length, "A part of a film is 1 s long or longer.")),
            _ => Ok(()),
        }
    }
}

impl StepRequest {
    /// How many parts it makes, of a step that does nothing else.
    pub fn part_count(&self) -> Option<u16> {
        if let Some(Parts::Count(count)) = self.parts { Some(count) } else { None }
    }

    /// The same, to be made a part of.
    pub fn with_part(&self, part: &str) -> StepRequest {
        let mut step = self.clone();
        if step.options.is_null() {
            step.options = Value::Object(Map::new());
        }
        if let Some(options) = step.options.as_object_mut() {
            options.insert("part".into(), part.into());
        }
        step
    }

    /// What can be told of `parts` alone.
    pub fn check_parts(&self, name: &str) -> Result<(), Refusal> {
        let at = |field: &str| format!("steps.{name}.{field}");
        let Some(parts) = self.parts else { return Ok(()) };
        if self.foreach.is_some() || !self.outputs.is_empty() {
            let field = if self.foreach.is_some() { "foreach" } else { "outputs" };
            return Err(wrong(at(field), "A step in parts makes one film of one."));
        }
        if name.len() + SUFFIX.len() > NAME_MAX_CHARS {
            return Err(refuse("steps", name, "The name of a step in parts has at most 58 characters."));
        }
        parts.check(&at("parts"))
    }
}

/// The name that the client knows a step by.
pub fn known_as<'n>(name: &'n str, step: &StepRequest) -> &'n str {
    if step.parts.is_some() { name.strip_suffix(SUFFIX).unwrap_or(name) } else { name }
}

/// Makes two steps of each that is in parts.
pub async fn expand(
    intake: &Intake,
    prober: Option<&Prober>,
    request: &mut PipelineRequest,
    owner: Option<&Owner>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let names: Vec<String> = request.steps.iter().filter(|(_, step)| step.parts.is_some()).map(|(name, _)| name.clone()).collect();
    for name in names {
        let Some(mut parts) = request.steps.remove(&name) else { continue };
        let film = joining(intake, &name, &parts)?;
        if let Some(Parts::Length(length)) = parts.parts {
            parts.parts = Some(Parts::Count(measure(intake, prober, &name, &parts, length, owner, now).await?));
        }
        let made = format!("{name}{SUFFIX}");
        if request.steps.contains_key(&made) {
            return Err(refuse(format!("steps.{made}"), &made, format!("The parts of `{name}` are the step of this name.")));
        }
        request.steps.insert(made.clone(), parts);
        let input = Some(InputRef::Step { step: made, output: None });
        request.steps.insert(name, StepRequest { input, ..film });
    }
    Ok(())
}

/// The step that makes a film of the parts.
fn joining(intake: &Intake, name: &str, step: &StepRequest) -> Result<StepRequest, Refusal> {
    let preset = step.preset.as_ref().and_then(|preset| intake.queues.preset(preset)).map(|(_, preset)| preset);
    let to = step.to.or(preset.map(|preset| preset.to));
    let zip = Format::parse("zip");
    let joined = |to: &Format| zip.and_then(|zip| converters::find(zip, *to)).is_some_and(|(_, converter)| converter.spec.id == "video.join");
    if let Some(to) = to.filter(|to| !joined(to)) {
        let refusal = Refusal::new(RefusalKind::UnsupportedConversion, format!("{} is not made in parts.", to.name()));
        return Err(refusal.field(format!("steps.{name}.to")).given(to).allowed(Format::all().filter(joined).map(Format::id)));
    }
    let given = |key: &str| step.options.get(key).or(preset.and_then(|preset| preset.options.get(key))).cloned();
    let options: Map<String, Value> = JOINING.into_iter().filter_map(|key| Some((key.to_owned(), given(key)?))).collect();
    let own = step.clone();
    // One that is not known is refused by its name.
    let unknown = step.preset.clone().filter(|_| preset.is_none());
    Ok(StepRequest { to, options: Value::Object(options), preset: unknown, parts: None, from: None, after: Vec::new(), ..own })
}

/// How many parts of this length a film has.
async fn measure(
    intake: &Intake,
    prober: Option<&Prober>,
    name: &str,
    step: &StepRequest,
    length: Span,
    owner: Option<&Owner>,
    now: Timestamp,
) -> Result<u16, Refusal> {
    let at = format!("steps.{name}.parts");
    let input = step.input.as_ref().filter(|input| !matches!(input, InputRef::Step { .. }));
    let (Some(input), Some(prober)) = (input, prober) else {
        return Err(refuse(at, length, "How long the film will be is not known yet: say how many parts, as a number."));
    };
    let within = |refusal: Refusal| {
        let field = refusal.field.clone().unwrap_or_default();
        refusal.field(format!("steps.{name}.{field}").trim_end_matches('.'))
    };
    let (input, source) = intake.look_at(input, owner, now).await.map_err(within)?;
    let looked = prober.look(&input, &source).await.map(|media| media.duration_ms);
    let Ok(Some(duration_ms)) = looked else {
        return Err(refuse(at, length, "The film does not tell how long it is: say how many parts, as a number."));
    };
    let count = duration_ms.div_ceil(length.as_millis()).clamp(1, PARTS_MAX);
    Ok(u16::try_from(count).unwrap_or(1))
}

const SAYS: &str = "1 to 200, or how long each is as `5m`";

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Count(u16),
    Length(String),
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Given::deserialize(d).map_err(|_| de::Error::custom(SAYS))? {
            Given::Count(count) => Ok(Parts::Count(count)),
            Given::Length(text) => text.parse().map(Parts::Length).map_err(|_| de::Error::custom(SAYS)),
        }
    }
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Parts::Count(count) => s.serialize_u16(*count),
            Parts::Length(length) => length.serialize(s),
        }
    }
}

impl PartialSchema for Parts {
    fn schema() -> RefOr<Schema> {
        let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(PARTS_MAX as i64));
        let length = ObjectBuilder::new().schema_type(Type::String).description(Some("How long each is, as `5m`."));
        OneOfBuilder::new().item(count).item(length).into()
    }
}

impl ToSchema for Parts {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn parts_are_a_number_or_a_length() {
        for (given, parts) in [(json!(8), Parts::Count(8)), (json!("5m"), Parts::Length(Span::from_secs(300)))] {
            assert_eq!((from_value::<Parts>(given.clone()).ok(), to_value(parts).ok()), (Some(parts), Some(given)));
        }
        for wrong in [json!("a few"), json!(-1), json!(1.5), json!({}), json!(70000)] {
            assert!(from_value::<Parts>(wrong.clone()).is_err_and(|e| e.to_string().contains("1 to 200")), "{wrong}");
        }
    }

    #[test]
    fn a_part_is_an_option_beside_the_others() {
        let step = StepRequest { options: json!({"video": {"crf": 30}}), ..StepRequest::default() };
        assert_eq!(step.with_part("1/2").options, json!({"video": {"crf": 30}, "part": "1/2"}));
        assert_eq!(StepRequest::default().with_part("rest").options, json!({"part": "rest"}));
        assert_eq!(Parts::names(2).collect::<Vec<_>>(), ["rest", "1/2", "2/2"]);
    }
}
