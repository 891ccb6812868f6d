//! What the keys mean: the value that each takes, and how it is printed.

use std::time::Duration;

use bytesize::ByteSize;
use toml_writer::ToTomlValue;

use super::{Config, Profile};
use crate::policy::Policy;

/// A value as it stands in a text or in a variable.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Integer(&'a str),
    Float(&'a str),
    Bool(bool),
    List(Vec<Value<'a>>),
    /// Of a variable: a text, a number or anything else.
    Any(&'a str),
    /// Something that no key takes.
    Other,
}

/// Why a value does not do.
#[derive(Debug)]
pub(super) struct Problem {
    pub wrong: String,
    pub expected: String,
}

fn problem<T>(wrong: impl Into<String>, expected: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { wrong: wrong.into(), expected: expected.into() })
}

/// The keys of a policy, which stand at the top, under `tables` and under `queries`.
pub(super) const POLICY: &[&str] =
    &["ttl", "soft_ttl", "negative_ttl", "early_refresh", "stale_if_error", "max_entry_bytes", "never", "tags"];

/// The other keys at the top.
pub(super) const POOL: &[&str] = &["profile", "max_bytes", "sole_writer", "statistics"];

/// Sets a key of a policy, or nothing if it is not one of those.
pub(super) fn set_policy(policy: &mut Policy, key: &str, value: &Value<'_>) -> Result<(), Problem> {
    match key {
        "ttl" => policy.ttl = Some(duration(value, Some("unlimited"), false)?),
        "soft_ttl" => policy.soft_ttl = Some(duration(value, Some("off"), false)?),
        "negative_ttl" => policy.negative_ttl = Some(duration(value, Some("off"), true)?),
        "stale_if_error" => policy.stale_if_error = Some(duration(value, None, true)?),
        "early_refresh" => policy.early_refresh = Some(factor(value)?),
        "max_entry_bytes" => policy.max_entry_bytes = Some(usize::try_from(size(value)?).unwrap_or(usize::MAX)),
        "never" => policy.never = boolean(value)?,
        "tags" => policy.tags = tags(value)?,
        _ => {}
    }
    Ok(())
}

/// Sets a key at the top, or nothing if it is not one of those.
pub(super) fn set_pool(config: &mut Config, key: &str, value: &Value<'_>) -> Result<(), Problem> {
    match key {
        "profile" => config.profile = Some(profile(value)?),
        "max_bytes" => config.max_bytes = Some(size(value)?),
        "sole_writer" => config.sole_writer = Some(boolean(value)?),
        "statistics" => config.statistics = Some(boolean(value)?),
        _ => set_policy(&mut config.rules.pool, key, value)?,
    }
    Ok(())
}

fn profile(value: &Value<'_>) -> Result<Profile, Problem> {
    let names = Profile::ALL.iter().map(|profile| format!("\"{profile}\"")).collect::<Vec<_>>().join(", ");
    match value {
        Value::Text(text) | Value::Any(text) => text
            .parse()
            .or_else(|unknown: super::UnknownProfile| problem(unknown.to_string(), format!("one of {names}"))),
        _ => problem("is not a text", format!("one of {names}")),
    }
}

/// `without_end`: the word for a time that never comes.
fn duration(value: &Value<'_>, without_end: Option<&str>, zero: bool) -> Result<Duration, Problem> {
    let mut expected = "a time with its unit, such as \"30s\" or \"1m 30s\"".to_owned();
    if let Some(word) = without_end {
        expected += &format!(", or \"{word}\"");
    }
    match value {
        Value::Text(text) | Value::Any(text) if Some(*text) == without_end => Ok(Duration::MAX),
        Value::Text(text) | Value::Any(text) if text.trim_start().starts_with('-') => problem("is negative", expected),
        Value::Text(text) | Value::Any(text) => match humantime::parse_duration(text) {
            Ok(time) if time.is_zero() && !zero => problem("is zero", format!("more than that: {expected}")),
            // Only the word means without end.
            Ok(time) => Ok(time.min(Duration::MAX - Duration::from_nanos(1))),
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                problem("has no unit", expected)
            }
            Err(_) => problem("is not a time", expected),
        },
        Value::Integer(text) | Value::Float(text) if text.starts_with('-') => problem("is negative", expected),
        Value::Integer(_) | Value::Float(_) => problem("has no unit", expected),
        _ => problem("is not a time", expected),
    }
}

fn size(value: &Value<'_>) -> Result<u64, Problem> {
    let expected = "a size of at least a byte, such as \"64 MiB\" or 1048576";
    let text = match value {
        Value::Text(text) | Value::Any(text) | Value::Integer(text) => text.trim(),
        _ => return problem("is not a size", expected),
    };
    if text.starts_with('-') {
        return problem("is negative", expected);
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => problem("is zero", expected),
        Ok(ByteSize(bytes)) => Ok(bytes),
        Err(_) => problem("is not a size", expected),
    }
}

fn factor(value: &Value<'_>) -> Result<f64, Problem> {
    let expected = "a number of 0 or more, such as 1.0; 0 turns it off";
    let number = match value {
        Value::Integer(text) | Value::Float(text) | Value::Any(text) => text.parse::<f64>().ok(),
        _ => None,
    };
    match number {
        Some(number) if number < 0.0 => problem("is negative", expected),
        // A negative zero is printed as such.
        Some(number) if number.is_finite() => Ok(number.abs()),
        _ => problem("is not a number", expected),
    }
}

fn boolean(value: &Value<'_>) -> Result<bool, Problem> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Any("true") => Ok(true),
        Value::Any("false") => Ok(false),
        _ => problem("is neither true nor false", "true or false"),
    }
}

fn tags(value: &Value<'_>) -> Result<std::collections::BTreeSet<std::sync::Arc<str>>, Problem> {
    let expected = "a list of texts that are not empty, such as [\"home\", \"prices\"]";
    let tag = |tag: &Value<'_>| match tag {
        Value::Text(text) if text.trim().is_empty() => problem("holds an empty tag", expected),
        Value::Text(text) => Ok(std::sync::Arc::from(*text)),
        _ => problem("holds something other than a text", expected),
    };
    match value {
        Value::List(values) => values.iter().map(tag).collect(),
        Value::Any(text) => text.split(',').map(|text| tag(&Value::Text(text.trim()))).collect(),
        _ => problem("is not a list", expected),
    }
}

/// The keys of a policy with their values, as TOML.
pub(super) fn print_policy(policy: &Policy) -> Vec<(&'static str, String)> {
    let time = |time: Duration, without_end: &str| match time {
        Duration::MAX => without_end.to_toml_value(),
        time => humantime::format_duration(time).to_string().to_toml_value(),
    };
    let mut lines = Vec::new();
    let mut line = |key, value: Option<String>| lines.extend(value.map(|value| (key, value)));
    line("ttl", policy.ttl.map(|ttl| time(ttl, "unlimited")));
    line("soft_ttl", policy.soft_ttl.map(|ttl| time(ttl, "off")));
    line("negative_ttl", policy.negative_ttl.map(|ttl| time(ttl, "off")));
    line("early_refresh", policy.early_refresh.map(|factor| factor.to_toml_value()));
    line("stale_if_error", policy.stale_if_error.map(|age| time(age, "off")));
    line("max_entry_bytes", policy.max_entry_bytes.map(|bytes| print_size(bytes as u64)));
    line("never", policy.never.then(|| "true".to_owned()));
    line("tags", (!policy.tags.is_empty()).then(|| print_list(policy.tags.iter())));
    lines
}

/// In the largest unit that leaves no rest.
pub(super) fn print_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
    let (size, unit) = units.into_iter().find(|(size, _)| bytes.is_multiple_of(*size)).unwrap_or((1, "B"));
    format!("{} {unit}", bytes / size).to_toml_value()
}

pub(super) fn print_list(texts: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| text.to_string().to_toml_value()).collect();
    format!("[{}]", texts.join(", "))
}
