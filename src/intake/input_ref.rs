//! Where the bytes of a job come from, as a client says it.

use crate::job::JobId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum InputRef {
    Upload(String),
    /// An output of another job; the first one when `output` is not given.
    Job {
        job: JobId,
        output: Option<String>,
    },
    Path(PathBuf),
    /// A key in the blob store that the site has put there itself.
    Blob(String),
    /// What is there is fetched and kept as an upload.
    Url(String),
    /// What another step of the same pipeline makes.
    Step {
        step: String,
        output: Option<String>,
    },
}

/// Exactly one of `upload`, `url`, `job`, `path`, `blob` and `step`; `output` goes with `job` and `step`.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InputRef, example = json!({"upload": "0198c0ffee"}))]
struct Fields {
    /// The id of an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<String>,
    /// An address, http or https, that is fetched now and kept as an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// A job whose output is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
    /// Which of its outputs; the first one of a job, all of a step when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// A file below one of the configured input roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    path: Option<PathBuf>,
    /// A key in the bucket, below its prefix, that begins with one of the configured folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    /// Another step of the same pipeline: its only file, or all of its files as a zip.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
}

impl TryFrom<Fields> for InputRef {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<InputRef, Self::Error> {
        let Fields { upload, url, job, output, path, blob, step } = fields;
        match (upload, url, job, path, blob, step, output) {
            (Some(id), None, None, None, None, None, None) => Ok(InputRef::Upload(id)),
            (None, Some(url), None, None, None, None, None) => Ok(InputRef::Url(url)),
            (None, None, Some(job), None, None, None, output) => Ok(InputRef::Job { job, output }),
            (None, None, None, Some(path), None, None, None) => Ok(InputRef::Path(path)),
            (None, None, None, None, Some(key), None, None) => Ok(InputRef::Blob(key)),
            (None, None, None, None, None, Some(step), output) => Ok(InputRef::Step { step, output }),
            _ => Err(EXPECTED),
        }
    }
}

const EXPECTED: &str = "an input is one of {\"upload\": id}, {\"url\": address}, {\"job\": id, \"output\": name}, {\"path\": file}, {\"blob\": key}, \
                        {\"step\": name}";

impl From<InputRef> for Fields {
    fn from(input: InputRef) -> Fields {
        match input {
            InputRef::Upload(id) => Fields { upload: Some(id), ..Fields::default() },
            InputRef::Url(url) => Fields { url: Some(url), ..Fields::default() },
            InputRef::Job { job, output } => Fields { job: Some(job), output, ..Fields::default() },
            InputRef::Blob(key) => Fields { blob: Some(key), ..Fields::default() },
            InputRef::Path(path) => Fields { path: Some(path), ..Fields::default() },
            InputRef::Step { step, output } => Fields { step: Some(step), output, ..Fields::default() },
        }
    }
}

impl PartialSchema for InputRef {
    fn schema() -> RefOr<Schema> {
        Fields::schema()
    }
}

impl ToSchema for InputRef {
    fn name() -> std::borrow::Cow<'static, str> {
        Fields::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Fields::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn an_input_is_one_thing() {
        for fine in [
            json!({"upload": "a"}),
            json!({"path": "/a"}),
            json!({"url": "https://a"}),
            json!({"blob": "in/a"}),
            json!({"step": "a"}),
            json!({"step": "a", "output": "b"}),
        ] {
            assert_eq!(to_value(from_value::<InputRef>(fine.clone()).unwrap()).unwrap(), fine);
        }
        for wrong in [json!({}), json!({"upload": "a", "path": "/a"}), json!({"upload": "a", "output": "b"}), json!({"uplod": "a"}), json!("a")] {
            assert!(from_value::<InputRef>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
