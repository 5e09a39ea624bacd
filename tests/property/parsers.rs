//! What clients write is read or refused in words, never a panic; and what was read means the same when it is read again.

use millrace::convert::Erased;
use millrace::converters;
use millrace::intake::{self, Request};
use millrace::limits::{Rate, Size, Span};
use millrace::pipeline::PipelineRequest;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Values that options have, and some that none has.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-10i64..2000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["auto", "all", "center", "10%", "1m30s", "160k", "1-3,5", "200KB", "#fff", "de", "smart", ".{0,12}"].prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("x|y|width|height|start|end|columns|rows|[a-z_]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn converter(id: &str) -> &'static Erased {
    converters::by_id(id).expect("it is listed").1
}

/// A converter, and options by the names that it has.
fn options() -> impl Strategy<Value = (&'static str, Value)> {
    let all: Vec<&'static str> = converters::all().map(|(_, converter)| converter.spec.id).collect();
    proptest::sample::select(all).prop_flat_map(|id| {
        let names: Vec<String> = (converter(id).schema)()["properties"].as_object().map(|p| p.keys().cloned().collect()).unwrap_or_default();
        let field = if names.is_empty() { Just("none".to_owned()).boxed() } else { proptest::sample::select(names).boxed() };
        let fields = proptest::collection::vec((field, values()), 0..4);
        fields.prop_map(move |fields| (id, Value::Object(fields.into_iter().collect::<Map<String, Value>>())))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn options_are_refused_in_words_or_mean_the_same_again((id, given) in options()) {
        let check = converter(id).check;
        match check(&given) {
            Ok(filled) => prop_assert_eq!(check(&filled), Ok(filled.clone()), "{} {}", id, given),
            Err(refused) => prop_assert!(!refused.allowed.is_empty(), "{id} {given}: {refused:?}"),
        }
    }

    #[test]
    fn amounts_are_written_as_they_are_read(text in "[0-9]{0,20}(\\.[0-9]{1,3})?(ms|s|m|h|d|B|KB|KiB|MB|MiB|GB|GiB|/s|/m|/h)?|.{0,12}") {
        if let Ok(span) = text.parse::<Span>() {
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        if let Ok(size) = text.parse::<Size>() {
            prop_assert!(size.to_string().parse::<Size>().is_ok(), "{}", size);
        }
        if let Ok(rate) = Rate::parse(&text) {
            prop_assert_eq!(Rate::parse(&rate.to_string()), Ok(rate));
        }
    }

    #[test]
    fn names_become_names_that_harm_nobody(name in "\\PC{0,300}|[./\\\\\\-\u{202e}\n\"a-z]{0,40}") {
        let safe = intake::safe_name(&name);
        prop_assert!(!safe.is_empty() && safe.len() <= 200, "{safe:?}");
        prop_assert!(!safe.contains(['/', '\\', '"', '\u{202e}']) && !safe.chars().any(char::is_control), "{safe:?}");
        prop_assert!(!safe.starts_with(['.', '-', ' ']), "{safe:?}");
    }

    #[test]
    fn requests_are_read_or_refused_in_words(input in values(), to in values(), more in values(), name in "input|to|outputs|after|webhook|options|run_at|steps|[a-z_]{1,8}") {
        let mut job = json!({"input": input, "to": to});
        job[name.as_str()] = more.clone();
        let whole = serde_json::from_value::<Request>(job.clone()).map(drop);
        let step = serde_json::from_value::<PipelineRequest>(json!({"steps": {"one": job}, name: more})).map(drop);
        for refused in [whole, step].into_iter().filter_map(Result::err) {
            prop_assert!(!refused.to_string().is_empty());
        }
    }
}
