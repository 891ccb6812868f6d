//! A configuration with a fault says where it is, what is wrong and what was meant; one without means what it prints.

use std::collections::BTreeMap;
use std::fs;

use larder::config::Place;
use larder::{Config, ConfigError, Profile};
use proptest::prelude::*;

fn fault(text: &str) -> String {
    match text.parse::<Config>() {
        Ok(config) => panic!("{text}\nwas taken for\n{config}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_fault_is_told_with_its_place_and_what_was_meant() {
    const TIME: &str = r#"expected a time with its unit, such as "30s" or "1m 30s""#;
    let soft = "makes `soft_ttl` no shorter than `ttl`: expected a shorter `soft_ttl`, or a longer `ttl`";
    let large = "makes `max_entry_bytes` larger than `max_bytes`, the room for all results: expected a smaller \
                 `max_entry_bytes`, or a larger `max_bytes`";
    for (text, expected) in [
        ("soft_tll = '1s'", "line 1, column 1: unknown key `soft_tll`: did you mean `soft_ttl`?".to_owned()),
        ("ttl = '5s'\n\nsoft-ttl = '1s'", "line 3, column 1: unknown key `soft-ttl`: did you mean `soft_ttl`?".into()),
        ("TTL = '5s'", "line 1, column 1: unknown key `TTL`: did you mean `ttl`?".into()),
        ("[table.users]", "line 1, column 2: unknown key `table`: did you mean `tables`?".into()),
        ("[never_cache]\ncolums = []", "line 2, column 1: unknown key `colums`: did you mean `columns`?".into()),
        ("[never_cache]\nxyzzy = []", "line 2, column 1: unknown key `xyzzy`: valid are `tables`, `columns`".into()),
        ("[tables.users]\nzzz = 1", "line 2, column 1: unknown key `zzz`: valid are `ttl`, `soft_ttl`, `negative_ttl`, `early_refresh`, `stale_if_error`, `max_entry_bytes`, `never`, `tags`".into()),
        ("profile = 'prod'", "line 1, column 11: key `profile` is no profile: expected one of \"development\", \"production\", \"high_traffic\", \"memory_constrained\", \"low_latency\"".into()),
        ("profile = 'hightraffic'", "line 1, column 11: key `profile` is no profile (did you mean `high_traffic`?): expected one of \"development\", \"production\", \"high_traffic\", \"memory_constrained\", \"low_latency\"".into()),
        ("ttl = 30", format!("line 1, column 7: key `ttl` has no unit: {TIME}, or \"unlimited\"")),
        ("ttl = '30'", format!("line 1, column 7: key `ttl` has no unit: {TIME}, or \"unlimited\"")),
        ("ttl = -30", format!("line 1, column 7: key `ttl` is negative: {TIME}, or \"unlimited\"")),
        ("ttl = '-30s'", format!("line 1, column 7: key `ttl` is negative: {TIME}, or \"unlimited\"")),
        ("ttl = 'soon'", format!("line 1, column 7: key `ttl` is not a time: {TIME}, or \"unlimited\"")),
        ("ttl = ''", format!("line 1, column 7: key `ttl` is not a time: {TIME}, or \"unlimited\"")),
        ("ttl = true", format!("line 1, column 7: key `ttl` is not a time: {TIME}, or \"unlimited\"")),
        ("ttl = '99999999999999999999y'", format!("line 1, column 7: key `ttl` is not a time: {TIME}, or \"unlimited\"")),
        ("stale_if_error = 'unlimited'", format!("line 1, column 18: key `stale_if_error` is not a time: {TIME}")),
        ("[tables.a]\nttl = '0s'", "line 2, column 7: key `ttl` is zero: expected more than that: a time with its unit, such as \"30s\" or \"1m 30s\", or \"unlimited\"".into()),
        ("ttl = '1m'\nsoft_ttl = '1m'", format!("line 2, column 12: key `soft_ttl` {soft}")),
        ("soft_ttl = '10s'", format!("line 1, column 12: key `soft_ttl` {soft}")),
        ("soft_ttl = '31s'\nprofile = 'production'", format!("line 1, column 12: key `soft_ttl` {soft}")),
        ("[tables.a]\nsoft_ttl = '2s'\nttl = '1s'", format!("line 2, column 12: key `soft_ttl` {soft}")),
        ("[queries.00000000000000ab]\nsoft_ttl = '2s'\nttl = '1s'", format!("line 2, column 12: key `soft_ttl` {soft}")),
        ("max_bytes = 0", "line 1, column 13: key `max_bytes` is zero: expected a size of at least a byte, such as \"64 MiB\" or 1048576".into()),
        ("max_bytes = -1", "line 1, column 13: key `max_bytes` is negative: expected a size of at least a byte, such as \"64 MiB\" or 1048576".into()),
        ("max_bytes = '64 apples'", "line 1, column 13: key `max_bytes` is not a size: expected a size of at least a byte, such as \"64 MiB\" or 1048576".into()),
        ("max_bytes = '1 MiB'\nmax_entry_bytes = '2 MiB'", format!("line 2, column 19: key `max_entry_bytes` {large}")),
        ("[tables.a]\nmax_entry_bytes = '65 MiB'", format!("line 2, column 19: key `max_entry_bytes` {large}")),
        ("early_refresh = -0.5", "line 1, column 17: key `early_refresh` is negative: expected a number of 0 or more, such as 1.0; 0 turns it off".into()),
        ("early_refresh = nan", "line 1, column 17: key `early_refresh` is not a number: expected a number of 0 or more, such as 1.0; 0 turns it off".into()),
        ("early_refresh = inf", "line 1, column 17: key `early_refresh` is not a number: expected a number of 0 or more, such as 1.0; 0 turns it off".into()),
        ("never = 'yes'", "line 1, column 9: key `never` is neither true nor false: expected true or false".into()),
        ("tags = ['a', ' ']", "line 1, column 8: key `tags` holds an empty tag: expected a list of texts that are not empty, such as [\"home\", \"prices\"]".into()),
        ("tags = 'a'", "line 1, column 8: key `tags` is not a list: expected a list of texts that are not empty, such as [\"home\", \"prices\"]".into()),
        ("[queries.abc]\nttl = '1s'", "line 1, column 10: key `abc` is not a fingerprint: expected 16 hexadecimal digits, as `larder explain` prints them".into()),
        ("[queries.'+0000000000000ab']\nttl = '1s'", "line 1, column 10: key `+0000000000000ab` is not a fingerprint: expected 16 hexadecimal digits, as `larder explain` prints them".into()),
        ("[never_cache]\ncolumns = ['users.ssn',\n  'ssn']", "line 3, column 3: key `columns` holds what is not the name of a column with its table: expected a list of columns with their tables, such as [\"users.password_hash\", \"*.ssn\"]".into()),
        ("[never_cache]\ncolumns = ['users.*']", "line 2, column 12: key `columns` holds what is not the name of a column with its table: expected a list of columns with their tables, such as [\"users.password_hash\", \"*.ssn\"]".into()),
        ("[never_cache]\ntables = ['a b']", "line 2, column 11: key `tables` holds what is not the name of a table: expected a list of tables, such as [\"sessions\", \"shop.cards\"]".into()),
        ("[never_cache]\ntables = ['*']", "line 2, column 11: key `tables` holds what is not the name of a table: expected a list of tables, such as [\"sessions\", \"shop.cards\"]".into()),
        ("[never_cache]\ntables = ['shop.*']", "line 2, column 11: key `tables` holds what is not the name of a table: expected a list of tables, such as [\"sessions\", \"shop.cards\"]".into()),
        ("[never_cache]\ntables = 'a'", "line 2, column 10: key `tables` is not a list: expected a list of tables, such as [\"sessions\", \"shop.cards\"]".into()),
        ("[never_cache]\ntables = [1]", "line 2, column 11: key `tables` holds something other than a text: expected a list of tables, such as [\"sessions\", \"shop.cards\"]".into()),
        ("[tables.'a..b']\nttl = '1s'", "line 1, column 9: key `a..b` is not the name of a table: expected one such as [tables.users], [tables.\"shop.users\"] or [tables.'\"Users\"']".into()),
        ("[tables.shop.users]\nttl = '1s'", "line 1, column 14: key `users` is a section within a section: expected a name with a dot to be in quotes, \"shop.users\"".into()),
        ("tables = 1", "line 1, column 10: key `tables` is a value: expected a section, [tables]".into()),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
    // What is no TOML is told in the parser's words.
    for (text, place) in [
        ("ttl = ", "line 1, column "),
        ("a = 1\nttl == 1", "line 2, column "),
        ("ttl = '1s'\nttl = '2s'", "line 2, column 1: "),
    ] {
        let fault = fault(text);
        assert!(fault.starts_with(place), "{fault}");
    }
}

#[test]
fn the_first_fault_of_the_text_is_told() {
    assert!(fault("zzz = 1\n[tables.a]\naaa = 1").starts_with("line 1, "));
    assert!(fault("ttl = 1\nbbb = 1").starts_with("line 1, "));
    assert!(fault("[tables.b]\nttl = 1\n[tables.a]\nttl = 2").starts_with("line 2, "));
}

#[test]
fn no_fault_repeats_a_value() {
    for text in [
        "ttl = 'hunter2'",
        "max_bytes = 'hunter2'",
        "early_refresh = 'hunter2'",
        "profile = 'hunter2'",
        "tags = 'hunter2'",
        "never = 'hunter2'",
        "[never_cache]\ntables = ['hunter2 hunter2']",
        "[never_cache]\ncolumns = ['hunter2']",
        "ttl = hunter2",
        "ttl = 'hunter2",
        "profile = [hunter2]",
    ] {
        assert!(!fault(text).contains("hunter2"), "{}", fault(text));
    }
    for key in ["TTL", "PROFILE", "MAX_BYTES", "EARLY_REFRESH", "NEVER", "SOLE_WRITER"] {
        let fault = Config::default().with_env([(format!("LARDER_{key}"), "hunter2")]).unwrap_err().to_string();
        assert!(fault.contains(&format!("LARDER_{key} ")) && !fault.contains("hunter2"), "{fault}");
    }
}

#[test]
fn files_that_are_none_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("binary"), b"ttl = '\xff'").unwrap();
    fs::write(path("large"), "#".repeat((1 << 20) + 1)).unwrap();
    fs::write(path("largest"), "#".repeat(1 << 20)).unwrap();
    fs::write(path("marked"), "\u{feff}ttl = '5s'\r\nsoft_ttl = 1\r\n").unwrap();
    for (name, expected) in [
        ("absent", "absent: there is no such file"),
        ("", "it is a directory: name the file in it"),
        ("binary", "binary: it is not UTF-8"),
        ("large", "large: it is larger than 1 MiB, and so no configuration"),
        (
            "marked",
            "marked:2:12: key `soft_ttl` has no unit: expected a time with its unit, such as \"30s\" or \"1m 30s\", or \"off\"",
        ),
    ] {
        let fault = Config::from_file(path(name)).unwrap_err().to_string();
        assert!(fault.ends_with(expected), "{fault}");
    }
    assert_eq!(Config::from_file(path("largest")).unwrap(), Config::default());
    let Err(ConfigError::BadValue { place: Place::Text { file, line, .. }, .. }) = Config::from_file(path("marked"))
    else {
        panic!("the place is told")
    };
    assert_eq!((file, line), (Some(path("marked")), 2));
}

#[test]
fn variables_mean_what_keys_mean() {
    let variables = [
        ("LARDER_PROFILE", "production"),
        ("LARDER_TTL", "unlimited"),
        ("LARDER_SOFT_TTL", "20s"),
        ("LARDER_NEGATIVE_TTL", "0s"),
        ("LARDER_EARLY_REFRESH", "1.5"),
        ("LARDER_STALE_IF_ERROR", "1h"),
        ("LARDER_MAX_BYTES", "128 MiB"),
        ("LARDER_MAX_ENTRY_BYTES", "1000"),
        ("LARDER_NEVER", "true"),
        ("LARDER_SOLE_WRITER", "true"),
        ("LARDER_STATISTICS", "false"),
        ("LARDER_TAGS", "a, b"),
        ("LARDER_TEST_SEED", "x"),
        ("LARDE", "x"),
    ];
    let text = "profile = 'production'\nttl = 'unlimited'\nsoft_ttl = '20s'\nnegative_ttl = '0s'\nearly_refresh = 1.5\n\
                stale_if_error = '1h'\nmax_bytes = '128 MiB'\nmax_entry_bytes = 1000\nnever = true\nsole_writer = true\nstatistics = false\n\
                tags = ['a', 'b']";
    let config = Config::default().with_env(variables).unwrap();
    assert_eq!(config, text.parse().unwrap());
    // What a file says, a variable can take back.
    let taken_back = config.with_env([("LARDER_NEVER", "false"), ("LARDER_SOLE_WRITER", "false")]).unwrap();
    assert!(!taken_back.to_string().contains("true"), "{taken_back}");
    for (name, meant) in [
        ("LARDER_MAX_BYTE", "LARDER_MAX_BYTES"),
        ("LARDER_STALE_ON_ERROR", "LARDER_STALE_IF_ERROR"),
        ("LARDER_CONFIGURATION", "LARDER_CONFIG"),
        ("LARDER_TTTL", "LARDER_TTL"),
    ] {
        let fault = Config::default().with_env([(name, "1")]).unwrap_err().to_string();
        assert_eq!(fault, format!("environment: unknown variable {name}: did you mean {meant}?"));
    }
}

#[test]
fn what_a_profile_says_gives_way() {
    let shown = |text: &str| text.parse::<Config>().unwrap().to_string();
    assert!(shown("profile = 'production'").contains("soft_ttl = \"20s\""));
    // Its soft time goes with its own time to live.
    assert!(!shown("profile = 'production'\nttl = '5s'").contains("soft_ttl"));
    assert!(shown("profile = 'low_latency'\nttl = '1m'").contains("soft_ttl = \"10s\""));
    // Its largest result, with its own room.
    assert!(shown("profile = 'production'\nmax_bytes = '64 KiB'").contains("max_entry_bytes = \"64 KiB\""));
    assert!(shown("max_bytes = '64 KiB'").contains("max_entry_bytes = \"64 KiB\""));
}

/// Lines `key = value` at the top of what a configuration prints.
fn printed(config: &Config) -> BTreeMap<String, String> {
    let lines = config.to_string();
    let lines = lines.lines().map(|line| line.trim_start_matches("# ")).filter_map(|line| line.split_once(" = "));
    lines.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[test]
fn the_manual_says_of_profiles_what_they_say() {
    let manual = include_str!("../../docs/configuration.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let mut table = manual
        .lines()
        .skip_while(|line| !line.starts_with("| key | no profile |"))
        .take_while(|line| line.starts_with('|'));
    let head = cells(table.next().expect("the manual has the table"));
    let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name()).collect();
    assert_eq!(head[2..], names);
    let configs: Vec<_> =
        [Config::default()].into_iter().chain(Profile::ALL.iter().map(|name| Config::profile(*name))).collect();
    let configs: Vec<_> = configs.iter().map(printed).collect();
    let mut keys = Vec::new();
    for row in table.skip(1).map(cells) {
        for (config, cell) in configs.iter().zip(&row[1..]) {
            let value = config.get(&row[0]).map_or("off", |value| if value == "0.0" { "off" } else { value });
            assert_eq!(value, cell, "{} in the manual", row[0]);
        }
        keys.push(row[0].clone());
    }
    // Nothing that differs is left out.
    for key in configs.iter().flat_map(|config| config.keys()).filter(|key| *key != "profile") {
        assert!(keys.contains(key), "{key} is not in the table of the manual");
    }
}

#[test]
fn the_manual_names_every_key_and_variable() {
    let manual = include_str!("../../docs/configuration.md");
    let ConfigError::UnknownKey { valid, .. } = "xyzzyxyzzy = 1".parse::<Config>().unwrap_err() else { panic!() };
    for key in &valid {
        let as_key = manual.contains(&format!("| `{key}` |"));
        assert!(as_key || manual.contains(&format!("`[{key}")), "{key} is not in the manual");
    }
    let ConfigError::UnknownKey { valid, .. } = Config::default().with_env([("LARDER_", "")]).unwrap_err() else {
        panic!()
    };
    for variable in &valid {
        assert!(manual.contains(&format!("`{variable}`")), "{variable} is not in the manual");
    }
    // Its examples are right.
    let mut examples = 0;
    for example in manual.split("```toml\n").skip(1) {
        let example = example.split("```").next().unwrap();
        example.parse::<Config>().unwrap_or_else(|error| panic!("{error}\n{example}"));
        examples += 1;
    }
    assert!(examples >= 1);
}

fn policy() -> impl Strategy<Value = String> {
    let time = || {
        prop_oneof![
            (1..10_000_u64).prop_map(|ms| format!("{ms}ms")),
            (1..u64::MAX / 2_000_000_000).prop_map(|s| format!("{s}s {}ns", s % 1_000_000_000))
        ]
    };
    let ttl = prop_oneof![
        time().prop_map(|time| format!("ttl = '{time}'\n")),
        Just("ttl = 'unlimited'\n".to_owned()),
        Just(String::new())
    ];
    let soft = prop_oneof![Just("soft_ttl = '500us'\n"), Just("soft_ttl = 'off'\n"), Just("")];
    let negative = prop_oneof![
        time().prop_map(|time| format!("negative_ttl = '{time}'\n")),
        Just("negative_ttl = 'off'\n".into()),
        Just(String::new())
    ];
    let stale = prop_oneof![time().prop_map(|time| format!("stale_if_error = '{time}'\n")), Just(String::new())];
    let early =
        prop_oneof![(0.0..1e300_f64).prop_map(|beta| format!("early_refresh = {beta:?}\n")), Just(String::new())];
    let tags = prop::collection::vec("\\PC*[a-z]", 0..3)
        .prop_map(|tags| format!("tags = {}\n", serde_json::to_string(&tags).unwrap()));
    let bytes =
        prop_oneof![(1..16_u64 << 20).prop_map(|bytes| format!("max_entry_bytes = {bytes}\n")), Just(String::new())];
    (ttl, soft, negative, stale, early, tags, bytes, any::<bool>()).prop_map(
        |(ttl, soft, negative, stale, early, tags, bytes, never)| {
            format!("{ttl}{soft}{negative}{stale}{early}{tags}{bytes}never = {never}\n")
        },
    )
}

fn config() -> impl Strategy<Value = String> {
    let profile = prop_oneof![
        Just(String::new()),
        prop::sample::select(Profile::ALL).prop_map(|name| format!("profile = '{name}'\n"))
    ];
    let pool = prop_oneof![
        Just(String::new()),
        (16_u64 << 20..u64::MAX >> 1).prop_map(|bytes| format!("max_bytes = {bytes}\n"))
    ];
    let name = || {
        prop_oneof![Just("users"), Just("\"shop.users\""), Just("'\"We.Ird\"\"x\"'"), Just("'`a b`'"), Just("'[c.d]'")]
    };
    let tables = prop::collection::btree_map(name(), policy(), 0..3);
    let queries = prop::collection::btree_map(any::<u64>(), policy(), 0..3);
    (profile, pool, policy(), tables, queries, any::<bool>()).prop_map(
        |(profile, pool, policy, tables, queries, lists)| {
            let mut text = format!("{profile}{pool}{policy}");
            if lists {
                text +=
                    "sole_writer = true\n[never_cache]\ntables = ['a', '\"B.c\"']\ncolumns = ['*.ssn', 'a.\"b c\"']\n";
            }
            for (name, policy) in tables {
                text += &format!("[tables.{name}]\n{policy}");
            }
            for (fingerprint, policy) in queries {
                text += &format!("[queries.{fingerprint:016x}]\n{policy}");
            }
            text
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_means_the_same(text in config()) {
        let config: Config = match text.parse() {
            Ok(config) => config,
            // A limit of the profile's is below one of the text's.
            Err(error) => { prop_assert!(error.to_string().contains(" makes "), "{error}\n{text}"); return Ok(()) }
        };
        let printed = config.to_string();
        let again: Config = printed.parse().map_err(|error| TestCaseError::fail(format!("{error}\n{printed}")))?;
        prop_assert_eq!(&again, &config, "{}\n{}", text, printed);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn no_text_is_too_strange(text in "(?s).*|[\\[\\]a-z_.=' \"\n0-9]*") {
        let _ = text.parse::<Config>();
    }
}
