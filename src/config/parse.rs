//! Reads a configuration from TOML.
//!
//! In: a text. Out: a configuration, or what is wrong first, with its line. It never skips what it does not know.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, most_like};
use super::values::{POLICY, POOL, Problem, Value, set_policy, set_pool};
use super::{Config, Section};
use crate::analysis::Fingerprint;
use crate::policy::Policy;
use crate::rules::{Column, TableName};

/// The sections.
const SECTIONS: &[&str] = &["never_cache", "tables", "queries"];

/// Reads a configuration from `text`, which came from `file` if from any.
pub(super) fn parse(text: &str, file: Option<&Path>) -> Result<Config, ConfigError> {
    // Editors of one system begin each text with this mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let reader = Reader { text, file };
    let document = DeTable::parse(text).map_err(|error| {
        let place = reader.place(error.span().unwrap_or_default());
        ConfigError::Syntax { place, problem: error.message().replace('\n', ", ") }
    })?;
    let mut config = Config::default();
    let table = document.get_ref();
    for (key, value) in in_order(table) {
        match key.get_ref().as_ref() {
            "never_cache" => reader.never_cache(&mut config, reader.table(key, value)?)?,
            "tables" => reader.tables(&mut config, reader.table(key, value)?)?,
            "queries" => reader.queries(&mut config, reader.table(key, value)?)?,
            name if POOL.contains(&name) || POLICY.contains(&name) => {
                set_pool(&mut config, name, &plain(value.get_ref()))
                    .map_err(|bad| reader.bad(name, value.span(), bad))?;
            }
            _ => return Err(reader.unknown(key, POOL.iter().chain(POLICY).chain(SECTIONS).copied())),
        }
    }
    match config.contradiction() {
        Some((section, keys, problem)) => Err(reader.bad(keys[0], reader.find(table, &section, keys), problem)),
        None => Ok(config),
    }
}

/// A text and where it came from.
struct Reader<'a> {
    text: &'a str,
    file: Option<&'a Path>,
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Entry<'t, 'a> = (&'t Key<'a>, &'t Spanned<DeValue<'a>>);

/// The first fault in the text is the first one reported.
fn in_order<'t, 'a>(table: &'t DeTable<'a>) -> Vec<Entry<'t, 'a>> {
    let mut entries: Vec<Entry<'t, 'a>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place::Text { file: self.file.map(Path::to_owned), line, column }
    }

    fn bad(&self, key: &str, span: Range<usize>, bad: Problem) -> ConfigError {
        let Problem { wrong, expected } = bad;
        ConfigError::BadValue { place: self.place(span), key: key.to_owned(), problem: wrong, expected }
    }

    fn unknown<'k>(&self, key: &Key<'_>, valid: impl Iterator<Item = &'k str> + Clone) -> ConfigError {
        ConfigError::UnknownKey {
            place: self.place(key.span()),
            key: key.get_ref().to_string(),
            nearest: most_like(key.get_ref(), valid.clone()),
            valid: valid.map(str::to_owned).collect(),
        }
    }

    fn table<'t, 'a>(&self, key: &Key<'_>, value: &'t Spanned<DeValue<'a>>) -> Result<&'t DeTable<'a>, ConfigError> {
        value.get_ref().as_table().ok_or_else(|| {
            let expected = format!("a section, [{}]", key.get_ref());
            self.bad(key.get_ref(), value.span(), Problem { wrong: "is a value".into(), expected })
        })
    }

    fn never_cache(&self, config: &mut Config, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            let expected = match name {
                "tables" => r#"a list of tables, such as ["sessions", "shop.cards"]"#,
                "columns" => r#"a list of columns with their tables, such as ["users.password_hash", "*.ssn"]"#,
                _ => return Err(self.unknown(key, ["tables", "columns"].into_iter())),
            };
            let bad =
                |span, wrong: &str| self.bad(name, span, Problem { wrong: wrong.into(), expected: expected.into() });
            let Some(list) = value.get_ref().as_array() else { return Err(bad(value.span(), "is not a list")) };
            for item in list.iter() {
                let text = item.get_ref().as_str();
                match (name, text) {
                    (_, None) => return Err(bad(item.span(), "holds something other than a text")),
                    ("tables", Some(text)) => config.rules.never_tables.push(
                        TableName::read(text)
                            .ok_or_else(|| bad(item.span(), "holds what is not the name of a table"))?,
                    ),
                    (_, Some(text)) => config
                        .rules
                        .never_columns
                        .push(Column::read(text).ok_or_else(|| {
                            bad(item.span(), "holds what is not the name of a column with its table")
                        })?),
                }
            }
        }
        Ok(())
    }

    fn tables(&self, config: &mut Config, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in in_order(table) {
            let name = TableName::read(key.get_ref()).ok_or_else(|| {
                let expected = r#"one such as [tables.users], [tables."shop.users"] or [tables.'"Users"']"#.into();
                self.bad(key.get_ref(), key.span(), Problem { wrong: "is not the name of a table".into(), expected })
            })?;
            let policy = self.policy(key, self.table(key, value)?)?;
            if config.rules.tables.insert(name, policy).is_some() {
                let expected = "each table once".into();
                return Err(self.bad(
                    key.get_ref(),
                    key.span(),
                    Problem { wrong: "stands here twice".into(), expected },
                ));
            }
        }
        Ok(())
    }

    fn queries(&self, config: &mut Config, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in in_order(table) {
            let digits = key.get_ref().as_ref();
            let is_fingerprint = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let fingerprint = u64::from_str_radix(digits, 16).ok().filter(|_| is_fingerprint).ok_or_else(|| {
                let expected = "16 hexadecimal digits, as `larder explain` prints them".into();
                self.bad(digits, key.span(), Problem { wrong: "is not a fingerprint".into(), expected })
            })?;
            let policy = self.policy(key, self.table(key, value)?)?;
            if config.rules.queries.insert(Fingerprint(fingerprint), policy).is_some() {
                let expected = "each fingerprint once".into();
                return Err(self.bad(digits, key.span(), Problem { wrong: "stands here twice".into(), expected }));
            }
        }
        Ok(())
    }

    fn policy(&self, section: &Key<'_>, table: &DeTable<'_>) -> Result<Policy, ConfigError> {
        let mut policy = Policy::default();
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            if POLICY.contains(&name) {
                let set = set_policy(&mut policy, name, &plain(value.get_ref()));
                set.map_err(|bad| self.bad(name, value.span(), bad))?;
            } else if value.get_ref().is_table() {
                let expected = format!("a name with a dot to be in quotes, \"{}.{name}\"", section.get_ref());
                return Err(self.bad(
                    name,
                    key.span(),
                    Problem { wrong: "is a section within a section".into(), expected },
                ));
            } else {
                return Err(self.unknown(key, POLICY.iter().copied()));
            }
        }
        Ok(policy)
    }

    /// Where one of these keys of a section stands, the first that does.
    fn find(&self, document: &DeTable<'_>, section: &Section, keys: &[&str]) -> Range<usize> {
        let named = |outer: &str, is: &dyn Fn(&str) -> bool| {
            let (_, inner) = document.get(outer)?.get_ref().as_table()?.iter().find(|(key, _)| is(key.get_ref()))?;
            inner.get_ref().as_table()
        };
        let table = match section {
            Section::Pool => Some(document),
            Section::Table(name) => named("tables", &|key| TableName::read(key).as_ref() == Some(name)),
            Section::Query(name) => named("queries", &|key| u64::from_str_radix(key, 16) == Ok(name.0)),
        };
        let value = table.and_then(|table| keys.iter().find_map(|key| table.get(*key)));
        value.map(Spanned::span).unwrap_or_default()
    }
}

fn plain<'a>(value: &'a DeValue<'_>) -> Value<'a> {
    match value {
        DeValue::String(text) => Value::Text(text),
        DeValue::Integer(number) if number.radix() == 10 => Value::Integer(number.as_str()),
        DeValue::Float(number) => Value::Float(number.as_str()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Array(values) => Value::List(values.iter().map(|value| plain(value.get_ref())).collect()),
        DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Table(_) => Value::Other,
    }
}
