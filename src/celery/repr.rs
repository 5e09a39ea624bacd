//! Values as Python would print them: events carry texts.

use serde_json::Value;

/// As Python's `repr`; long texts are cut.
pub fn repr(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    match text.char_indices().nth(1024) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => quote(string, text),
        Value::Array(list) => {
            text.push('[');
            for (n, item) in list.iter().enumerate() {
                text.push_str(if n == 0 { "" } else { ", " });
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (n, (name, item)) in map.iter().enumerate() {
                text.push_str(if n == 0 { "" } else { ", " });
                quote(name, text);
                text.push_str(": ");
                write(item, text);
            }
            text.push('}');
        }
    }
}

fn quote(string: &str, text: &mut String) {
    let mark = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    text.push(mark);
    for c in string.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\\' => text.push_str("\\\\"),
            c if c == mark => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.push(mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_in_python() {
        assert_eq!(repr(&serde_json::json!({"a": [null, true, 1.5, "it's"]})), "{'a': [None, True, 1.5, \"it's\"]}");
    }
}
