//! Which file is read, and what the environment does to it. What a text may say is tested where users see it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{Config, ConfigError, Place, Profile};

fn load(folder: &Path, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let own = |text: &str| OsString::from(text);
    Config::load_from(folder, variables.iter().map(|(name, value)| (own(name), own(value))).collect())
}

#[test]
fn without_file_and_variables_the_defaults_hold() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(folder.path(), &[("PATH", "/bin"), ("LARDER_TEST_SEED", "1")]).unwrap(), Config::default());
}

#[test]
fn the_usual_file_is_read_if_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), "ttl = '3s'").unwrap();
    assert_eq!(load(folder.path(), &[]).unwrap(), Config::from_toml("ttl = '3s'").unwrap());
    // A directory of that name is not "no file".
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("larder.toml")).unwrap();
    let fault = load(folder.path(), &[]).unwrap_err().to_string();
    assert!(fault.ends_with("larder.toml: it is a directory: name the file in it"), "{fault}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("larder.toml"), "ttl = '3s'").unwrap();
    let other = folder.path().join("other.toml");
    let named = [("LARDER_CONFIG", other.to_str().unwrap())];
    let fault = load(folder.path(), &named).unwrap_err().to_string();
    assert!(fault.ends_with("other.toml: there is no such file"), "{fault}");
    fs::write(&other, "ttl = '4s'").unwrap();
    assert_eq!(load(folder.path(), &named).unwrap(), Config::from_toml("ttl = '4s'").unwrap());
    assert!(load(folder.path(), &[("LARDER_CONFIG", "")]).is_err());
}

#[test]
fn the_environment_goes_before_the_file_and_both_before_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let file = "profile = 'production'\nttl = '1m'\nmax_entry_bytes = '2 KiB'\n[tables.a]\nttl = '1s'";
    fs::write(folder.path().join("larder.toml"), file).unwrap();
    let variables = [("LARDER_PROFILE", "memory_constrained"), ("LARDER_TTL", "2m"), ("LARDER_SOFT_TTL", "off")];
    let expected = "profile = 'memory_constrained'\nttl = '2m'\nsoft_ttl = 'off'\nmax_entry_bytes = '2 KiB'\n\
                    [tables.a]\nttl = '1s'";
    assert_eq!(load(folder.path(), &variables).unwrap(), Config::from_toml(expected).unwrap());
}

#[test]
fn a_variable_that_contradicts_the_file_is_named() {
    let file = || Config::from_toml("ttl = '1m'\nsoft_ttl = '30s'\n[tables.a]\nmax_entry_bytes = '20 MiB'").unwrap();
    for (name, value) in [("LARDER_TTL", "30s"), ("LARDER_SOFT_TTL", "2m"), ("LARDER_MAX_BYTES", "1 MiB")] {
        match file().with_env([(name, value)]) {
            Err(ConfigError::BadValue { place: Place::Variable(variable), .. }) => assert_eq!(variable, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    // A profile gives way to what is said, but not what is said to the profile.
    assert!(file().with_env([("LARDER_PROFILE", "low_latency")]).is_ok());
    let fault = file().with_env([("LARDER_PROFILE", "memory_constrained")]).unwrap_err().to_string();
    assert!(fault.starts_with("environment: variable LARDER_PROFILE makes `max_entry_bytes` larger"), "{fault}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let value = std::ffi::OsStr::from_bytes(b"\xff");
    let fault = Config::profile(Profile::Production).with_env([("LARDER_TTL", value)]).unwrap_err().to_string();
    assert_eq!(fault, "environment: variable LARDER_TTL is not UTF-8: expected a text");
}
