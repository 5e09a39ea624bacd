//! From the results a client asks for to the outputs of a job: format, converter, preset, options, name.

use super::request::{OutputRequest, Request};
use crate::converters;
use crate::failure::{Refusal, RefusalKind};
use crate::format::Format;
use crate::job::{Input, Media, Output, State};
use crate::progress::Progress;
use crate::queue::Queues;
use serde_json::Value;

/// Bytes of a display name that are kept; file systems allow 255 and downloads may be saved under it.
const NAME_MAX_BYTES: usize = 200;

pub fn plan(queues: &Queues, request: &Request, input: &Input, claimed: Option<Format>) -> Result<Vec<Output>, Refusal> {
    let single = [OutputRequest { name: None, to: request.to, preset: request.preset.clone(), options: request.options.clone() }];
    let (wanted, many) = if request.outputs.is_empty() { (&single[..], false) } else { (&request.outputs[..], true) };
    let mut outputs: Vec<Output> = Vec::with_capacity(wanted.len());
    for (n, output) in wanted.iter().enumerate() {
        let at = if many { format!("outputs[{n}].") } else { String::new() };
        let mut planned = plan_one(queues, output, input, &at)?;
        planned.name = unused(&planned.name, |name| outputs.iter().any(|o| o.name == name));
        if outputs.iter().any(|o| o.group == planned.group) {
            if output.name.is_some() {
                return Err(Refusal::new(RefusalKind::InvalidRequest, "Two outputs have the same name.")
                    .field(format!("{at}name"))
                    .given(&planned.group));
            }
            planned.group = planned.name.clone();
        }
        if let Some(claimed) = claimed {
            planned.warnings.push(format!("The file's name says {claimed}, its content is {}; the content was trusted.", input.format));
        }
        outputs.push(planned);
    }
    Ok(outputs)
}

/// What can be told of the results before there is an input: that they are named, and by names that are known.
pub fn check_names(queues: &Queues, request: &Request) -> Result<(), Refusal> {
    let single = [(String::new(), request.to, &request.preset)];
    let many = request.outputs.iter().enumerate().map(|(n, output)| (format!("outputs[{n}]."), output.to, &output.preset));
    let wanted: Vec<_> = if request.outputs.is_empty() { single.to_vec() } else { many.collect() };
    for (at, to, preset) in wanted {
        match preset {
            Some(name) if queues.preset(name).is_none() => return Err(unknown_preset(queues, name, &at)),
            None if to.is_none() => {
                let text = "Say what the file should become: `to` or `preset`.";
                return Err(Refusal::new(RefusalKind::InvalidRequest, text).field(format!("{at}to")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn plan_one(queues: &Queues, wanted: &OutputRequest, input: &Input, at: &str) -> Result<Output, Refusal> {
    let preset = match &wanted.preset {
        Some(name) => Some(queues.preset(name).map(|(_, preset)| preset).ok_or_else(|| unknown_preset(queues, name, at))?),
        None => None,
    };
    let to = wanted.to.or(preset.map(|p| p.to)).ok_or_else(|| {
        Refusal::new(RefusalKind::InvalidRequest, "Say what the file should become: `to` or `preset`.")
            .field(format!("{at}to"))
            .allowed(possible(input.format))
    })?;
    let (_, converter) = converters::find(input.format, to).ok_or_else(|| {
        Refusal::new(RefusalKind::UnsupportedConversion, format!("{} cannot become {}.", input.format.name(), to.name()))
            .field(format!("{at}to"))
            .given(to)
            .allowed(possible(input.format))
    })?;
    let options = merged(preset.map_or(Value::Null, |p| p.options.clone()), &wanted.options);
    let options = (converter.check)(&options).map_err(|e| {
        let field = if e.field.is_empty() { format!("{at}options") } else { format!("{at}options.{}", e.field) };
        let wrong = match e.given.as_str() {
            "" => format!("There is no option `{field}` here."),
            given => format!("`{field}` does not take {given}."),
        };
        let refusal = Refusal::new(RefusalKind::InvalidOption, wrong).field(field).allowed([e.allowed]);
        if e.given.is_empty() { refusal } else { refusal.given(e.given) }
    })?;
    let stem = match &wanted.name {
        Some(name) => safe_name(name),
        None => stem(&input.name, input.format),
    };
    let name = if stem.to_ascii_lowercase().ends_with(&format!(".{}", to.extension())) { stem.clone() } else { to.file_name(&stem) };
    Ok(Output {
        group: wanted.name.clone().unwrap_or_else(|| name.clone()),
        name,
        converter: converter.spec.id.to_owned(),
        to,
        preset: wanted.preset.clone(),
        options,
        state: State::Queued,
        progress: Progress::default(),
        error: None,
        size_bytes: None,
        sha256: None,
        format: to,
        media: Media::default(),
        verification: None,
        warnings: Vec::new(),
        recovered: None,
        receipt: None,
        url: None,
        ready_at: None,
    })
}

fn possible(from: Format) -> Vec<&'static str> {
    converters::targets(from).into_iter().map(Format::id).collect()
}

fn unknown_preset(queues: &Queues, name: &str, at: &str) -> Refusal {
    let known = queues.iter().flat_map(|(_, q)| q.settings.presets.keys().cloned());
    Refusal::new(RefusalKind::InvalidOption, format!("There is no preset `{name}`.")).field(format!("{at}preset")).given(name).allowed(known)
}

/// `over` wins; objects are merged field by field.
fn merged(base: Value, over: &Value) -> Value {
    match (base, over) {
        (base, Value::Null) => base,
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let old = base.remove(key).unwrap_or(Value::Null);
                base.insert(key.clone(), merged(old, value));
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}

/// The input's name without the extension that belongs to its format or its claim.
fn stem(name: &str, format: Format) -> String {
    let claimed = Format::from_file_name(name);
    let extensions = format.extensions().iter().chain(claimed.iter().flat_map(|f| f.extensions()));
    let lower = name.to_ascii_lowercase();
    let cut = extensions.filter(|e| lower.ends_with(&format!(".{e}"))).map(|e| e.len() + 1).max().unwrap_or(0);
    let stem = name.get(..name.len() - cut).unwrap_or(name);
    if stem.is_empty() { "file".into() } else { stem.to_owned() }
}

/// A client's file name made safe to show and to save under: no folders, no control or direction-changing characters, no
/// leading dash or dot, at most 200 bytes with its extension kept.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let harmless =
        |c: &char| !c.is_control() && !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let clean: String = last.chars().filter(harmless).map(|c| if matches!(c, '"' | '<' | '>' | '|' | ':' | '*' | '?') { '_' } else { c }).collect();
    let clean = clean.trim().trim_start_matches(['-', '.', ' ']);
    if clean.is_empty() {
        return "file".into();
    }
    let extension = clean.rfind('.').map(|dot| &clean[dot..]).filter(|e| e.len() <= 16).unwrap_or("");
    let keep = NAME_MAX_BYTES.saturating_sub(extension.len());
    let body = &clean[..clean.len() - extension.len()];
    let end = (0..=body.len().min(keep)).rev().find(|i| body.is_char_boundary(*i)).unwrap_or(0);
    format!("{}{extension}", &body[..end])
}

/// `name`, or `name (2)` and so on when it is taken.
pub fn unused(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let (stem, extension) = name.rfind('.').map_or((name, ""), |dot| name.split_at(dot));
    (2..).map(|n| format!("{stem} ({n}){extension}")).find(|candidate| !taken(candidate)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_harmless() {
        assert_eq!(safe_name("../../etc/passwd"), "passwd");
        assert_eq!(safe_name("C:\\x\\clip.mov"), "clip.mov");
        assert_eq!(safe_name("-rf.txt"), "rf.txt");
        assert_eq!(safe_name("a\n\"b\u{202e}gpj.exe"), "a_bgpj.exe");
        assert_eq!(safe_name(""), "file");
        assert_eq!(safe_name("..."), "file");
        let long = safe_name(&format!("{}.jpeg", "ж".repeat(3000)));
        assert!(long.len() <= NAME_MAX_BYTES && long.ends_with(".jpeg"), "{long}");
    }

    #[test]
    fn stems_lose_their_own_extension_only() {
        let stem = |name| stem(name, Format::parse("tar.gz").unwrap());
        assert_eq!(stem("a.b.tar.gz"), "a.b");
        assert_eq!(stem("A.TGZ"), "A");
        assert_eq!(stem("v1.2"), "v1.2");
        assert_eq!(stem(".tgz"), "file");
    }

    #[test]
    fn taken_names_are_counted_up() {
        let taken = ["a.jpg", "a (2).jpg"];
        assert_eq!(unused("a.jpg", |n| taken.contains(&n)), "a (3).jpg");
    }

    #[test]
    fn requests_win_over_presets_field_by_field() {
        let base = serde_json::json!({"video": {"crf": 23, "height": 720}, "audio": {"codec": "aac"}});
        let over = serde_json::json!({"video": {"crf": 30}});
        assert_eq!(merged(base, &over), serde_json::json!({"video": {"crf": 30, "height": 720}, "audio": {"codec": "aac"}}));
    }

    proptest::proptest! {
        #[test]
        fn any_name_becomes_a_plain_one(name in "\\PC{0,80}|.{0,300}") {
            let safe = safe_name(&name);
            proptest::prop_assert!(!safe.is_empty() && safe.len() <= NAME_MAX_BYTES);
            proptest::prop_assert!(!safe.contains(['/', '\\', '\n', '"', '\0']) && !safe.starts_with(['-', '.']));
        }
    }
}
