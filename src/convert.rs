//! The converter's side of the house: a waist of one verb.
//!
//! A converter reads one [`Input`], writes only below its [`Output`]'s folder, reports progress and asks whether to stop.
//! It is synchronous and has no network, no clock and no paths but those it is given. It runs in a jailed child.

use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use crate::job::{Media, StreamPlan};
use crate::limits::Limits;
use crate::progress::Progress;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a converter can do, as data: the registry, the API, the CLI, README's table and the tests are made of these rows.
#[derive(Debug)]
pub struct Spec {
    /// `family.verb`; the family's name is its queue.
    pub id: &'static str,
    pub family: Family,
    /// One sentence for people.
    pub summary: &'static str,
    /// Format ids: every one on the left of a row converts to every one on its right.
    pub pairs: &'static [(&'static [&'static str], &'static [&'static str])],
}

impl Spec {
    pub fn converts(&self, from: Format, to: Format) -> bool {
        self.pairs.iter().any(|(left, right)| left.contains(&from.id()) && right.contains(&to.id()))
    }
}

/// Turns one format into another.
pub trait Converter: Send + Sync + 'static {
    const SPEC: Spec;
    /// Every field documented, with its range and default; unknown fields are refused (`deny_unknown_fields`).
    type Options: DeserializeOwned + Serialize + JsonSchema + Validate;

    /// Whether the client's names of input and output reach what these options make: its bytes, its files' names, its warnings. If not,
    /// it is given none, and files that are equal but for their names have results in common.
    fn takes_names(_options: &Self::Options) -> bool {
        true
    }

    fn convert(ctx: &Ctx, input: &Input, options: &Self::Options, output: &Output) -> Result<Produced, Failure>;
}

/// A converter of films or songs that decides for each stream whether it is copied or encoded.
pub trait StreamPlanner: Converter {
    /// What it would decide, from the headers and without making anything; the failure that the conversion would end with, as far
    /// as it can be told by then.
    fn plan(ctx: &Ctx, input: &Input, options: &Self::Options, to: Format) -> Result<StreamPlan, Failure>;
}

/// Ranges that the types alone cannot hold.
pub trait Validate {
    /// The first field out of range: its path below `options`, what was given, what is allowed.
    fn validate(&self) -> Result<(), OutOfRange>;
}

/// An option out of its range; nothing was given when there is no such option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    pub field: String,
    pub given: String,
    pub allowed: String,
}

impl OutOfRange {
    pub fn new(field: &str, given: impl std::fmt::Display, allowed: impl std::fmt::Display) -> Self {
        OutOfRange { field: field.into(), given: given.to_string(), allowed: allowed.to_string() }
    }

    /// Refuses `value` outside of `range`; none is the default and always fine.
    pub fn check<T: PartialOrd + std::fmt::Display + Copy>(
        field: &str,
        value: Option<T>,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<(), OutOfRange> {
        match value {
            Some(v) if !range.contains(&v) => Err(OutOfRange::new(field, v, format!("{} to {}", range.start(), range.end()))),
            _ => Ok(()),
        }
    }
}

/// How far a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Headers only: milliseconds.
    Header,
    /// Also decodes the first and last frames or pages, or walks every entry: the proof of a finished output.
    Proof,
}

/// A family as the rest of the house sees it: one of these per folder of `converters/`.
pub struct FamilyEntry {
    pub family: Family,
    pub zygote: Zygote,
    pub converters: &'static [Erased],
    /// Measures a file of this family. [`Produced`] carries what to expect; this finds what is.
    pub probe: fn(&Ctx, &Input, Depth) -> Result<Media, Failure>,
}

/// The warm parents that children are forked from. Families with the same libraries share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zygote {
    Av,
    Image,
    Document,
    Archive,
}

impl Zygote {
    pub const ALL: [Zygote; 4] = [Zygote::Av, Zygote::Image, Zygote::Document, Zygote::Archive];

    pub fn as_str(self) -> &'static str {
        match self {
            Zygote::Av => "av",
            Zygote::Image => "image",
            Zygote::Document => "document",
            Zygote::Archive => "archive",
        }
    }
}

/// What a zygote's children need beyond the common floor of the jail, and how to warm it up.
pub struct Warmth {
    /// Loads libraries and tables, once, before any fork. Its error keeps the family closed and names the reason.
    pub warm: fn() -> Result<(), String>,
    /// Loads what few files need, once nothing else is asked of the zygote for a moment; an attempt that comes before it loads
    /// that itself, so the first one never waits for it.
    pub idle: fn(),
    /// Files and folders that children may read (and map) beside the input, `/usr`, `/lib`, `/lib64`.
    pub readable: &'static [&'static str],
    /// Threads the zygote itself may have when it forks (LibreOfficeKit starts some; a test shows the fork is safe).
    pub threads: usize,
}

/// A converter with its types erased once, here.
pub struct Erased {
    pub spec: &'static Spec,
    /// Reads options, fills in defaults and refuses what is unknown or out of range.
    pub check: fn(&Value) -> Result<Value, OutOfRange>,
    pub schema: fn() -> Value,
    /// [`Converter::takes_names`] for checked options.
    pub takes_names: fn(&Value) -> bool,
    pub run: fn(&Ctx, &Input, &Value, &Output) -> Result<Produced, Failure>,
    /// Of a [`StreamPlanner`].
    pub plan: Option<Plan>,
}

pub type Plan = fn(&Ctx, &Input, &Value, Format) -> Result<StreamPlan, Failure>;

/// Erases a converter's types.
pub const fn erase<C: Converter>() -> Erased {
    Erased { spec: &C::SPEC, check: check::<C>, schema: schema::<C>, takes_names: takes_names::<C>, run: run::<C>, plan: None }
}

/// Erases the types of one that can tell what it would do.
pub const fn erase_planner<C: StreamPlanner>() -> Erased {
    Erased { plan: Some(plan::<C>), ..erase::<C>() }
}

/// How much of a wrong value is told back.
const SHOWN_MAX: usize = 200;

fn parse<C: Converter>(options: &Value) -> Result<C::Options, OutOfRange> {
    let given = if options.is_null() { &Value::Object(Default::default()) } else { options };
    let parsed: C::Options = serde_path_to_error::deserialize(given).map_err(|e| {
        let path = e.path().to_string();
        let at: String = given
            .pointer(&format!("/{}", path.replace('.', "/")))
            .map(|value| value.to_string().chars().take(SHOWN_MAX).collect())
            .unwrap_or_default();
        let inner = e.inner().to_string();
        let allowed = match inner.split_once(", expected ") {
            // "expected u8" is no help: the field's own documentation says what it takes.
            Some((problem, _)) if problem.starts_with("invalid") => documentation::<C>(&path),
            Some((_, names)) => Some(names.trim_start_matches("one of ").replace('`', "")),
            None => None,
        };
        OutOfRange::new(if path == "." { "" } else { &path }, if inner.starts_with("unknown field") { "" } else { &at }, allowed.unwrap_or(inner))
    })?;
    parsed.validate()?;
    Ok(parsed)
}

/// The description of the option at `path`, from its schema.
fn documentation<C: Converter>(path: &str) -> Option<String> {
    let mut at = schema::<C>();
    for field in path.split('.') {
        let nested = at.get("anyOf").and_then(|any| any.as_array()?.iter().find(|s| s.get("properties").is_some()).cloned());
        at = nested.unwrap_or(at).get("properties")?.get(field)?.clone();
    }
    at.get("description")?.as_str().map(|text| text.trim_end_matches('.').to_owned())
}

fn check<C: Converter>(options: &Value) -> Result<Value, OutOfRange> {
    let parsed = parse::<C>(options)?;
    serde_json::to_value(&parsed).map_err(|e| OutOfRange::new("", "", e))
}

fn schema<C: Converter>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<C::Options>().to_value()
}

fn takes_names<C: Converter>(options: &Value) -> bool {
    parse::<C>(options).map_or(true, |parsed| C::takes_names(&parsed))
}

fn run<C: Converter>(ctx: &Ctx, input: &Input, options: &Value, output: &Output) -> Result<Produced, Failure> {
    let parsed = checked::<C>(options)?;
    if C::takes_names(&parsed) {
        return C::convert(ctx, input, &parsed, output);
    }
    let input = Input { name: input.format.file_name("input"), ..input.clone() };
    let nameless = Output { name: output.format.file_name("output"), ..output.clone() };
    let mut produced = C::convert(ctx, &input, &parsed, &nameless)?;
    produced.files.iter_mut().filter(|f| f.name == nameless.name).for_each(|f| f.name.clone_from(&output.name));
    Ok(produced)
}

fn plan<C: StreamPlanner>(ctx: &Ctx, input: &Input, options: &Value, to: Format) -> Result<StreamPlan, Failure> {
    C::plan(ctx, input, &checked::<C>(options)?, to)
}

fn checked<C: Converter>(options: &Value) -> Result<C::Options, Failure> {
    parse::<C>(options).map_err(|e| Failure::new(Code::InvalidOption, format!("option `{}`: {}", e.field, e.allowed)))
}

/// The file to read.
#[derive(Debug, Clone)]
pub struct Input {
    /// Absolute; named by us.
    pub path: PathBuf,
    pub format: Format,
    /// The client's name for it; display only.
    pub name: String,
    pub size_bytes: u64,
}

/// Where to write.
#[derive(Debug, Clone)]
pub struct Output {
    /// A private, empty folder; nothing else is writable.
    pub dir: PathBuf,
    pub format: Format,
    /// The client-visible name of a single-file result.
    pub name: String,
}

impl Output {
    /// The path of a single-file result.
    pub fn path(&self) -> PathBuf {
        match self.format.extension() {
            "" => self.dir.join("out"),
            ext => self.dir.join(format!("out.{ext}")),
        }
    }

    /// The path of the `n`th file of a result made of many; the client-visible name goes into [`ProducedFile`].
    pub fn numbered(&self, n: usize) -> PathBuf {
        self.dir.join(format!("f{n:06}"))
    }

    /// The client-visible name without its extension.
    pub fn stem(&self) -> &str {
        let ext = self.format.extension();
        self.name.strip_suffix(ext).and_then(|s| s.strip_suffix('.')).filter(|s| !s.is_empty()).unwrap_or(&self.name)
    }
}

/// What a converter made, in its own words; measured again outside the jail before it counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Produced {
    pub files: Vec<ProducedFile>,
    /// Substituted fonts, renamed entries, streams dropped ...
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Of a preview.
    #[serde(default)]
    pub looks: Option<Looks>,
}

/// What a picture looks like, in a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// ThumbHash: at most 25 bytes (<https://evanw.github.io/thumbhash/>).
    pub thumbhash: Vec<u8>,
    /// Red, green and blue of the colour most of it has.
    pub colour: [u8; 3],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProducedFile {
    /// File name below the output's folder.
    pub file: String,
    /// The client-visible name; may have `/` for files from an archive.
    pub name: String,
    pub format: Format,
    pub expect: Expect,
}

/// What the finished file must measure, derived from the input and the options; absent means not checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expect {
    pub duration_ms: Option<u64>,
    /// Allowed difference in duration.
    pub duration_tolerance_ms: u64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub frames: Option<u64>,
    /// Allowed difference in frames.
    pub frames_tolerance: u64,
    pub pages: Option<u64>,
    pub entries: Option<u64>,
    /// Of a broken file that was saved: the share of it that came through, above 0 and at most 1. What came through is what the
    /// rest of this says, and nothing less is taken for it.
    pub recovered: Option<f64>,
    /// False for files that nobody measures, as those extracted from an archive.
    pub probe: bool,
}

impl Produced {
    /// A result of one file at [`Output::path`].
    pub fn single(output: &Output, expect: Expect) -> Produced {
        let file = output.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let expect = Expect { probe: true, ..expect };
        Produced::several(vec![ProducedFile { file, name: output.name.clone(), format: output.format, expect }], Vec::new())
    }

    pub fn several(files: Vec<ProducedFile>, warnings: Vec<String>) -> Produced {
        Produced { files, warnings, looks: None }
    }

    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// What the child's surroundings do for a converter. May be called from a converter's own threads.
pub trait Host: Send + Sync {
    fn progress(&self, progress: Progress);
    fn log(&self, level: Level, message: &str);
    fn stop_requested(&self) -> bool;
}

/// A converter's view of its attempt.
pub struct Ctx<'a> {
    pub limits: &'a Limits,
    /// Threads worth starting.
    pub threads: usize,
    /// A private folder for intermediate files; gone after the attempt.
    pub scratch: &'a Path,
    pub host: &'a dyn Host,
}

impl Ctx<'_> {
    /// Reports a step; cheap enough to be called for every packet, the host thins it out.
    pub fn progress(&self, stage: &str, current: u64, total: u64, unit: &str) {
        self.host.progress(Progress::step(stage, current, total, unit));
    }

    pub fn log(&self, level: Level, message: impl AsRef<str>) {
        self.host.log(level, message.as_ref());
    }

    /// Ends the conversion when the worker has asked for it; to be called at least every 100 ms of work.
    pub fn check(&self) -> Result<(), Failure> {
        if self.host.stop_requested() { Err(Failure::new(Code::Cancelled, "Stopped on request.")) } else { Ok(()) }
    }
}
