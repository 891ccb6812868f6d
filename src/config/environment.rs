//! Lays the variables of the environment over a configuration.
//!
//! In: names and values. Out: a configuration, or which variable is wrong. It never looks at variables of others.

use std::ffi::OsStr;

use super::error::{ConfigError, Place, most_like};
use super::values::{POLICY, POOL, Problem, set_pool};
use super::{Config, values};

/// What all names begin with.
const PREFIX: &str = "LARDER_";
/// Those of the crate's own tests.
const OF_TESTS: &str = "LARDER_TEST_";
/// Names the file.
pub(super) const FILE: &str = "LARDER_CONFIG";

/// The variable for a key at the top.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// Lays variables over a configuration.
pub(super) fn lay<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    mut config: Config,
    variables: impl IntoIterator<Item = (K, V)>,
) -> Result<Config, ConfigError> {
    let keys = || POOL.iter().chain(POLICY).copied();
    let mut set: Vec<&str> = Vec::new();
    let mut variables: Vec<(String, V)> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name.as_ref().to_str()?;
            (name.starts_with(PREFIX) && !name.starts_with(OF_TESTS) && name != FILE).then(|| (name.to_owned(), value))
        })
        .collect();
    // An environment has no order; the same one has the same first fault.
    variables.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in &variables {
        let Some(key) = keys().find(|key| variable(key) == *name) else {
            let valid: Vec<String> = keys().map(variable).chain([FILE.to_owned()]).collect();
            return Err(ConfigError::UnknownKey {
                place: Place::Variable(name.clone()),
                key: name.clone(),
                nearest: most_like(name, valid.iter().map(String::as_str)),
                valid,
            });
        };
        let not_text = || Problem { wrong: "is not UTF-8".into(), expected: "a text".into() };
        let value = value.as_ref().to_str().ok_or_else(not_text);
        value
            .and_then(|value| set_pool(&mut config, key, &values::Value::Any(value)))
            .map_err(|bad| wrong(name.clone(), bad))?;
        set.push(key);
    }
    match config.contradiction() {
        // The text by itself was without contradiction, so that one of its sides is a variable.
        Some((_, keys, problem)) => {
            let key = keys.iter().find(|key| set.contains(*key)).or(set.first()).unwrap_or(&keys[0]);
            Err(wrong(variable(key), problem))
        }
        None => Ok(config),
    }
}

fn wrong(variable: String, bad: Problem) -> ConfigError {
    ConfigError::BadValue {
        place: Place::Variable(variable.clone()),
        key: variable,
        problem: bad.wrong,
        expected: bad.expected,
    }
}
