//! Options of a converter, as `-o video.crf=30`, and formats by name: what `convert` and `submit` share.

use crate::format::Format;
use serde_json::{Map, Value};

/// `video.crf=30` becomes `{"video": {"crf": 30}}`: a value that is JSON is taken as such, all else is text.
pub fn nested(pairs: &[String]) -> Result<Value, String> {
    let mut root = Map::new();
    for pair in pairs {
        let (path, text) = pair.split_once('=').ok_or_else(|| format!("`{pair}`: write options as KEY=VALUE"))?;
        let mut at = &mut root;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                at.insert(key.to_owned(), value(text));
                break;
            }
            let inner = at.entry(key).or_insert_with(|| Value::Object(Map::new()));
            at = inner.as_object_mut().ok_or_else(|| format!("`{pair}`: `{key}` already has a value"))?;
        }
    }
    Ok(if root.is_empty() { Value::Null } else { Value::Object(root) })
}

/// JSON where it is JSON, else text.
pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// A format by its name or extension, if one is given.
pub fn format(name: Option<&str>) -> Result<Option<Format>, String> {
    match name {
        None => Ok(None),
        Some(name) => Format::parse(name).map(Some).ok_or_else(|| format!("`{name}` is not a known format; see `millrace formats`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dotted_options_nest() {
        let given = ["video.crf=30".into(), "video.codec=vp9".into(), "faststart=true".into()];
        assert_eq!(nested(&given), Ok(json!({"video": {"crf": 30, "codec": "vp9"}, "faststart": true})));
        assert!(nested(&["crf".into()]).is_err());
        assert!(nested(&["a=1".into(), "a.b=2".into()]).is_err());
    }
}
