//! From a task's name and arguments to what Millrace does.

use super::settings::{ResultShape, TaskSettings};
use super::wire::Message;
use crate::format::Format;
use crate::intake::{InputRef, Request};
use crate::limits::Span;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct Table {
    tasks: BTreeMap<String, TaskSettings>,
    /// Relative paths are looked for below these.
    roots: Vec<PathBuf>,
}

/// A task, understood.
pub struct Call {
    pub work: Work,
    pub result: ResultShape,
    /// All arguments, by name.
    pub given: Map<String, Value>,
    pub input: Option<PathBuf>,
    pub output: Option<PathBuf>,
}

pub enum Work {
    Convert(Box<Request>),
    /// One of the engine's own jobs.
    Engine(String),
}

/// An error that Python knows, by its class in `builtins`.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    pub class: &'static str,
    pub message: String,
}

fn type_error(message: String) -> Wrong {
    Wrong { class: "TypeError", message }
}

fn value_error(message: String) -> Wrong {
    Wrong { class: "ValueError", message }
}

impl Table {
    pub fn new(tasks: BTreeMap<String, TaskSettings>, roots: Vec<PathBuf>) -> Table {
        Table { tasks, roots }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.tasks.keys()
    }

    /// Millrace's queue of a task.
    pub fn queue<'a>(&'a self, task: &'a str) -> Option<&'a str> {
        let settings = self.tasks.get(task)?;
        let family = task.rsplit('_').next().filter(|f| ["video", "audio", "image", "document", "archive"].contains(f));
        settings.queue.as_deref().or(if settings.runs.is_some() { Some("cleanup") } else { family })
    }

    /// None: there is no such task.
    pub fn read(&self, message: &Message, priority: Option<u8>, now: Timestamp) -> Option<Result<Call, Wrong>> {
        let settings = self.tasks.get(&message.task)?;
        Some(self.call(settings, message, priority, now))
    }

    fn call(&self, settings: &TaskSettings, message: &Message, priority: Option<u8>, now: Timestamp) -> Result<Call, Wrong> {
        let given = arguments(settings, message)?;
        if let Some(runs) = &settings.runs {
            return Ok(Call { work: Work::Engine(runs.clone()), result: settings.result, given, input: None, output: None });
        }
        let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        let function = message.task.rsplit('.').next().unwrap_or_default();
        let input =
            text(&settings.input).ok_or_else(|| type_error(format!("{function}() missing 1 required positional argument: '{}'", settings.input)))?;
        let input = self.below_a_root(input);
        let to = match text(&settings.to) {
            Some(name) => Some(Format::parse(name).ok_or_else(|| value_error(format!("{}: `{name}` is not a known format", settings.to)))?),
            None => settings.default_to,
        };
        let mut request = Request::new(InputRef::Path(input.clone()), to);
        request.preset = text(&settings.preset).map(str::to_owned);
        request.options = options(settings, &given)?;
        request.queue = settings.queue.clone();
        request.priority = priority;
        request.run_at = message.eta;
        request.expires_at = message.expires.filter(|at| *at > now);
        let span = |seconds: Option<f64>| seconds.map(|s| Span((s * 1000.0) as u64));
        (request.soft_time_limit, request.hard_time_limit) = (span(message.soft_limit_s), span(message.hard_limit_s));
        if request.hard_time_limit.is_some_and(|hard| request.soft_time_limit.is_some_and(|soft| soft > hard)) {
            request.soft_time_limit = request.hard_time_limit;
        }
        let output = text(&settings.output).map(|path| self.below_a_root(path));
        Ok(Call { work: Work::Convert(Box::new(request)), result: settings.result, given, input: Some(input), output })
    }

    /// A relative path is one below an input root.
    fn below_a_root(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let mut below = self.roots.iter().map(|root| root.join(path));
        if path.is_absolute() {
            path.to_owned()
        } else {
            below.find(|p| p.exists()).or_else(|| Some(self.roots.first()?.join(path))).unwrap_or(path.to_owned())
        }
    }
}

/// Positional and named arguments by name, with the complaints that Python would make.
fn arguments(settings: &TaskSettings, message: &Message) -> Result<Map<String, Value>, Wrong> {
    let function = message.task.rsplit('.').next().unwrap_or_default();
    let (names, count) = (&settings.args, message.args.len());
    if count > names.len() {
        return Err(type_error(format!("{function}() takes {} positional arguments but {count} were given", names.len())));
    }
    let mut given: Map<String, Value> = names.iter().cloned().zip(message.args.iter().cloned()).collect();
    for (name, value) in &message.kwargs {
        if !names.contains(name) {
            return Err(type_error(format!("{function}() got an unexpected keyword argument '{name}'")));
        }
        if given.insert(name.clone(), value.clone()).is_some() {
            return Err(type_error(format!("{function}() got multiple values for argument '{name}'")));
        }
    }
    Ok(given)
}

/// The options given, on top of those of the quality.
fn options(settings: &TaskSettings, given: &Map<String, Value>) -> Result<Value, Wrong> {
    let mut options = match given.get(&settings.quality) {
        None | Some(Value::Null) => json!({}),
        Some(Value::Number(number)) => json!({"quality": number}),
        Some(Value::String(word)) => settings.qualities.get(word).cloned().ok_or_else(|| {
            let known: Vec<_> = settings.qualities.keys().map(String::as_str).collect();
            value_error(format!("{}: `{word}` is none of {}", settings.quality, known.join(", ")))
        })?,
        Some(other) => return Err(value_error(format!("{}: {other} is neither a word nor a number", settings.quality))),
    };
    match given.get(&settings.options) {
        None | Some(Value::Null) => {}
        Some(Value::Object(own)) => {
            for (name, value) in own {
                options[name] = value.clone();
            }
        }
        Some(_) => return Err(value_error(format!("{} must be a dict", settings.options))),
    }
    Ok(if options.as_object().is_some_and(Map::is_empty) { Value::Null } else { options })
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    fn read(args: Value, kwargs: Value) -> Result<Request, Wrong> {
        let table = Table::new(Settings::default().table().unwrap(), vec!["/srv/in".into()]);
        let message = Message {
            task: "converter.tasks.convert_video".into(),
            args: args.as_array().unwrap().clone(),
            kwargs: kwargs.as_object().unwrap().clone(),
            ..Message::default()
        };
        match table.read(&message, None, Timestamp::UNIX_EPOCH).unwrap()?.work {
            Work::Convert(request) => Ok(*request),
            Work::Engine(name) => panic!("{name}"),
        }
    }

    #[test]
    fn positional_and_named_arguments_mean_the_same() {
        let positional = read(json!([7, "a/clip.mov", "webm", "high"]), json!({})).unwrap();
        let named = read(json!([]), json!({"task_id": 7, "input_path": "a/clip.mov", "output_format": "webm", "quality": "high"})).unwrap();
        assert_eq!(positional, named);
        assert_eq!(positional.input, InputRef::Path("/srv/in/a/clip.mov".into()));
        assert_eq!((positional.to, &positional.options), (Format::parse("webm"), &json!({"video": {"height": 1080}})));
    }

    #[test]
    fn options_go_before_the_quality() {
        let options = |quality: Value, options: Value| {
            read(json!([]), json!({"input_path": "/x", "output_format": "mp4", "quality": quality, "options": options})).unwrap().options
        };
        assert_eq!(options(json!("low"), json!({"video": {"crf": 30}})), json!({"video": {"crf": 30}}));
        assert_eq!(options(json!(70), json!(null)), json!({"quality": 70}));
        assert_eq!(options(json!(null), json!(null)), Value::Null);
    }

    #[test]
    fn wrong_calls_are_told_as_python_tells_them() {
        let class = |args, kwargs| read(args, kwargs).map(drop).map_err(|w| (w.class, w.message)).unwrap_err();
        assert!(class(json!([1]), json!({})).1.contains("missing 1 required positional argument: 'input_path'"));
        assert!(class(json!([]), json!({"inputt": 1})).1.contains("unexpected keyword argument 'inputt'"));
        assert!(class(json!([1]), json!({"task_id": 1})).1.contains("multiple values"));
        assert_eq!(class(json!([1, "/x", "nope"]), json!({})).0, "ValueError");
        assert_eq!(class(json!([1, "/x", "mp4", "best"]), json!({})).0, "ValueError");
    }
}
