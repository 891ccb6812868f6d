//! The configuration of a pool: a file, the environment, and profiles.
//!
//! In: TOML and variables. Out: what [`Builder::config`](crate::Builder::config) lays over a pool's rules, or what is wrong
//! and where.
//! It never changes a running pool, and never takes a part of a configuration that has a fault anywhere.

mod environment;
mod error;
mod parse;
mod profile;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

pub use error::{ConfigError, Place};
pub use profile::{Profile, UnknownProfile};

use crate::analysis::Fingerprint;
use crate::policy::Terms;
use crate::rules::{Rules, TableName};
use values::Problem;

/// How a pool keeps results, as a file and the environment say it. `docs/configuration.md` lists every key.
///
/// ```
/// use larder::Config;
///
/// let config: Config = r#"
///     profile = "production"
///     ttl = "1m"
///
///     [never_cache]
///     columns = ["users.password_hash"]
///
///     [tables.prices]
///     ttl = "2s"
/// "#
/// .parse()?;
/// assert!(config.to_string().contains(r#"ttl = "1m""#));
///
/// let fault = "ttl = '1m'\nsoft_tll = '20s'".parse::<Config>().unwrap_err();
/// assert_eq!(fault.to_string(), "line 2, column 1: unknown key `soft_tll`: did you mean `soft_ttl`?");
/// # Ok::<_, larder::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Config {
    profile: Option<Profile>,
    /// As they are said; what the profile says comes below.
    rules: Rules,
    max_bytes: Option<u64>,
    sole_writer: Option<bool>,
    statistics: Option<bool>,
}

/// Where the file is looked for if the environment names none.
const USUAL_FILE: &str = "larder.toml";
/// No configuration is longer; another file was meant.
const LONGEST_FILE: u64 = 1 << 20;

/// A part of a configuration that has a policy.
#[derive(Debug)]
enum Section {
    Pool,
    Table(TableName),
    Query(Fingerprint),
}

/// What a pool takes over from a configuration.
pub(crate) struct InForce {
    pub rules: Rules,
    pub max_bytes: Option<u64>,
    pub sole_writer: Option<bool>,
    pub statistics: Option<bool>,
}

impl Config {
    /// Reads the file that the environment variable `LARDER_CONFIG` names, or else `larder.toml` in the current directory if
    /// it is there, and lays the other variables over it: `LARDER_PROFILE`, `LARDER_TTL`, `LARDER_MAX_BYTES`, and so on.
    ///
    /// # Errors
    /// The file cannot be read, or a key, a value or a variable is wrong.
    pub fn load() -> Result<Self, ConfigError> {
        Self::load_from(Path::new(""), std::env::vars_os().collect())
    }

    fn load_from(folder: &Path, variables: Vec<(OsString, OsString)>) -> Result<Self, ConfigError> {
        let named = variables.iter().find(|(name, _)| name == environment::FILE).map(|(_, path)| path);
        let config = match named {
            Some(path) => Self::from_file(path)?,
            None => match Self::from_file(folder.join(USUAL_FILE)) {
                Err(ConfigError::File { source: Some(error), .. }) if error.kind() == ErrorKind::NotFound => {
                    Self::default()
                }
                read => read?,
            },
        };
        config.with_env(variables)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is larger than 1 MiB, or is wrong.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let fault =
            |problem: &str, source| ConfigError::File { path: path.to_owned(), problem: problem.to_owned(), source };
        let mut bytes = Vec::new();
        let read = std::fs::metadata(path).and_then(|file| match file.is_dir() {
            true => Err(ErrorKind::IsADirectory.into()),
            false => std::fs::File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes),
        });
        read.map_err(|error| {
            let problem = match error.kind() {
                ErrorKind::NotFound => "there is no such file".to_owned(),
                ErrorKind::PermissionDenied => "this process may not read it".to_owned(),
                ErrorKind::IsADirectory => "it is a directory: name the file in it".to_owned(),
                _ => format!("it cannot be read: {error}"),
            };
            fault(&problem, Some(error))
        })?;
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(fault("it is larger than 1 MiB, and so no configuration", None));
        }
        let text = String::from_utf8(bytes).map_err(|_| fault("it is not UTF-8", None))?;
        parse::parse(&text, Some(path))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// The text is no TOML, or a key or a value is wrong.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        parse::parse(text, None)
    }

    /// What a profile says, and nothing else.
    pub fn profile(profile: Profile) -> Self {
        Self { profile: Some(profile), ..Self::default() }
    }

    /// Lays environment variables over this configuration: those whose names begin with `LARDER_`. [`Config::load`] does that
    /// by itself.
    ///
    /// # Errors
    /// A variable is unknown, or its value is wrong.
    ///
    /// ```
    /// use larder::{Config, Profile};
    ///
    /// let config = Config::profile(Profile::Production).with_env([("LARDER_TTL", "5s"), ("PATH", "/bin")])?;
    /// let fault = config.with_env([("LARDER_MAX_BYTE", "5")]).unwrap_err();
    /// assert_eq!(fault.to_string(), "environment: unknown variable LARDER_MAX_BYTE: did you mean LARDER_MAX_BYTES?");
    /// # Ok::<_, larder::ConfigError>(())
    /// ```
    pub fn with_env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, ConfigError> {
        environment::lay(self, variables)
    }

    /// What holds, the profile included.
    pub(crate) fn in_force(&self) -> InForce {
        let mut rules = self.rules.clone();
        let max_bytes = self.max_bytes.or(self.profile.map(Profile::max_bytes));
        if let Some(profile) = self.profile {
            let said = rules.pool.clone();
            rules.pool = said.over(&profile.policy());
            // Both go with each other.
            if said.soft_ttl.is_none() && rules.pool.soft_ttl >= rules.pool.ttl {
                rules.pool.soft_ttl = None;
            }
        }
        if let (None, Some(most)) = (self.rules.pool.max_entry_bytes, max_bytes) {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let usual = rules.pool.max_entry_bytes;
            if most < usual.unwrap_or(Terms::DEFAULT_MAX_ENTRY_BYTES) {
                rules.pool.max_entry_bytes = Some(most);
            }
        }
        InForce { rules, max_bytes, sole_writer: self.sole_writer, statistics: self.statistics }
    }

    /// Two settings that do not go together: their section, their keys, the one to be changed first, and what is wrong.
    fn contradiction(&self) -> Option<(Section, &'static [&'static str], Problem)> {
        let in_force = self.in_force();
        let most = in_force.max_bytes.unwrap_or(crate::inner::DEFAULT_MAX_BYTES);
        let usual = if self.sole_writer == Some(true) { Duration::MAX } else { Terms::DEFAULT_TTL };
        let tables = self.rules.tables.iter().map(|(name, policy)| (Section::Table(name.clone()), policy));
        let queries = self.rules.queries.iter().map(|(name, policy)| (Section::Query(*name), policy));
        let pool = (Section::Pool, &in_force.rules.pool);
        for (section, policy) in [pool].into_iter().chain(tables).chain(queries) {
            let ttl = match section {
                Section::Pool => Some(policy.ttl.unwrap_or(usual)),
                // What it leaves open may come from anywhere.
                Section::Table(_) | Section::Query(_) => policy.ttl,
            };
            if let (Some(soft), Some(ttl)) = (policy.soft_ttl, ttl)
                && soft >= ttl
                && soft != Duration::MAX
            {
                let problem = Problem {
                    wrong: "makes `soft_ttl` no shorter than `ttl`".into(),
                    expected: "a shorter `soft_ttl`, or a longer `ttl`".into(),
                };
                return Some((section, &["soft_ttl", "ttl", "profile", "sole_writer"], problem));
            }
            if policy.max_entry_bytes.is_some_and(|bytes| bytes as u64 > most) {
                let problem = Problem {
                    wrong: "makes `max_entry_bytes` larger than `max_bytes`, the room for all results".into(),
                    expected: "a smaller `max_entry_bytes`, or a larger `max_bytes`".into(),
                };
                return Some((section, &["max_entry_bytes", "max_bytes", "profile"], problem));
            }
        }
        None
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::from_toml(text)
    }
}

/// What holds, whoever said it.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.in_force(), other.in_force());
        self.profile == other.profile
            && one.rules == two.rules
            && one.max_bytes == two.max_bytes
            && one.sole_writer == two.sole_writer
            && one.statistics == two.statistics
    }
}

/// What holds, as TOML which means the same configuration. What is left to the pool's defaults stands in comments.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InForce { rules, max_bytes, sole_writer, statistics } = self.in_force();
        if let Some(profile) = self.profile {
            writeln!(f, "profile = \"{profile}\"")?;
        }
        match rules.pool.ttl {
            None if sole_writer == Some(true) => writeln!(f, "# ttl = \"unlimited\"")?,
            None => writeln!(f, "# ttl = \"{}\"", humantime::format_duration(Terms::DEFAULT_TTL))?,
            Some(_) => {}
        }
        for (key, value) in values::print_policy(&rules.pool) {
            writeln!(f, "{key} = {value}")?;
        }
        if rules.pool.max_entry_bytes.is_none() {
            writeln!(f, "# max_entry_bytes = {}", values::print_size(Terms::DEFAULT_MAX_ENTRY_BYTES as u64))?;
        }
        match max_bytes {
            Some(bytes) => writeln!(f, "max_bytes = {}", values::print_size(bytes))?,
            None => writeln!(f, "# max_bytes = {}", values::print_size(crate::inner::DEFAULT_MAX_BYTES))?,
        }
        if let Some(sole) = sole_writer {
            writeln!(f, "sole_writer = {sole}")?;
        }
        if let Some(statistics) = statistics {
            writeln!(f, "statistics = {statistics}")?;
        }
        if !rules.never_tables.is_empty() || !rules.never_columns.is_empty() {
            writeln!(f, "\n[never_cache]")?;
            writeln!(f, "tables = {}", values::print_list(&rules.never_tables))?;
            writeln!(f, "columns = {}", values::print_list(&rules.never_columns))?;
        }
        let tables = rules.tables.iter().map(|(name, policy)| ("tables", name.to_string(), policy));
        let queries = rules.queries.iter().map(|(name, policy)| ("queries", name.to_string(), policy));
        for (section, name, policy) in tables.chain(queries) {
            writeln!(f, "\n[{section}.{}]", toml_writer::ToTomlKey::to_toml_key(name.as_str()))?;
            for (key, value) in values::print_policy(policy) {
                writeln!(f, "{key} = {value}")?;
            }
        }
        Ok(())
    }
}
