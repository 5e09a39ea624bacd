//! The configuration's keys as variables of the environment.

/// Keys that a variable may set: its name without `MILLRACE_`, and where it belongs.
pub const VARIABLES: [(&str, &[&str]); 46] = [
    ("DATA_DIR", &["data_dir"]),
    ("LISTEN", &["listen"]),
    ("STORE", &["store"]),
    ("BLOBS", &["blobs"]),
    ("QUEUES_DIR", &["queues_dir"]),
    ("POOLS", &["pools"]),
    ("LEASE", &["lease"]),
    ("TIME_ZONE", &["time_zone"]),
    ("INPUTS_ROOTS", &["inputs", "roots"]),
    ("INPUTS_BLOBS", &["inputs", "blobs"]),
    ("INPUTS_URL_ALLOW_PRIVATE", &["inputs", "url", "allow_private"]),
    ("INPUTS_URL_MAX_BYTES", &["inputs", "url", "max_bytes"]),
    ("INPUTS_URL_TIMEOUT", &["inputs", "url", "timeout"]),
    ("OUTPUTS_REDIRECT", &["outputs", "redirect"]),
    ("OUTPUTS_ROOTS", &["outputs", "roots"]),
    ("BLOBS_CACHE_MAX", &["blobs_cache", "max"]),
    ("SANDBOX_FLOOR", &["sandbox", "floor"]),
    ("SANDBOX_MAX_JOBS_PER_ZYGOTE", &["sandbox", "max_jobs_per_zygote"]),
    ("SANDBOX_ZYGOTE_GROWTH_MAX", &["sandbox", "zygote_growth_max"]),
    ("WORK_LISTEN", &["work", "listen"]),
    ("AUTH_TOKEN", &["auth", "token"]),
    ("AUTH_RATE_LIMIT", &["auth", "rate_limit"]),
    ("AUTH_CORS_ORIGINS", &["auth", "cors_origins"]),
    ("AUTH_HOSTS", &["auth", "hosts"]),
    ("AUTH_TRUSTED_PROXIES", &["auth", "trusted_proxies"]),
    ("WEBHOOKS_SECRET", &["webhooks", "secret"]),
    ("WEBHOOKS_ALLOW_PRIVATE", &["webhooks", "allow_private"]),
    ("WEBHOOKS_TIMEOUT", &["webhooks", "timeout"]),
    ("WEBHOOKS_PER_HOST", &["webhooks", "per_host"]),
    ("EMAIL_SMTP", &["email", "smtp"]),
    ("EMAIL_FROM", &["email", "from"]),
    ("EMAIL_TO", &["email", "to"]),
    ("EMAIL_LOCALE", &["email", "locale"]),
    ("EMAIL_DIGEST", &["email", "digest"]),
    ("CELERY_BROKER_URL", &["celery", "broker_url"]),
    ("CELERY_RESULT_BACKEND", &["celery", "result_backend"]),
    ("CELERY_QUEUES", &["celery", "queues"]),
    ("CELERY_NODE", &["celery", "node"]),
    ("CELERY_PRIORITY_STEPS", &["celery", "priority_steps"]),
    ("CELERY_DIRECTION", &["celery", "direction"]),
    ("CELERY_GLOBAL_KEYPREFIX", &["celery", "global_keyprefix"]),
    ("CELERY_RESULT_KEYPREFIX", &["celery", "result_keyprefix"]),
    ("CELERY_VISIBILITY_TIMEOUT", &["celery", "visibility_timeout"]),
    ("CELERY_RESULT_EXPIRES", &["celery", "result_expires"]),
    ("CELERY_PREFETCH", &["celery", "prefetch"]),
    ("CELERY_DEFAULT_QUEUE", &["celery", "default_queue"]),
];

/// Numbers stay numbers, lists are separated by commas, all else is text.
pub fn set(table: &mut toml::Table, path: &[&str], value: &str) {
    let Some((key, sections)) = path.split_last() else { return };
    let mut table = table;
    for section in sections {
        let inner = table.entry(*section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(inner) = inner.as_table_mut() else { return };
        table = inner;
    }
    let value = match *key {
        "floor" | "max_jobs_per_zygote" | "per_host" | "prefetch" => {
            value.parse().map(toml::Value::Integer).unwrap_or_else(|_| toml::Value::String(value.into()))
        }
        "redirect" | "allow_private" => value.parse().map(toml::Value::Boolean).unwrap_or_else(|_| toml::Value::String(value.into())),
        // `blobs` alone is the place, that of [inputs] a list.
        "blobs" if sections.is_empty() => toml::Value::String(value.into()),
        "roots" | "blobs" | "pools" | "to" | "cors_origins" | "hosts" | "trusted_proxies" | "queues" => {
            toml::Value::Array(value.split(',').map(|v| toml::Value::String(v.trim().into())).collect())
        }
        "priority_steps" => {
            let number = |v: &str| v.trim().parse().map(toml::Value::Integer).unwrap_or_else(|_| toml::Value::String(v.into()));
            toml::Value::Array(value.split(',').map(number).collect())
        }
        _ => toml::Value::String(value.into()),
    };
    table.insert((*key).into(), value);
}
