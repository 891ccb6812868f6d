//! Holds the code to its floor plan: which room may use which, and what the repository may hold.
//!
//! In: the text of every file. Out: a list of faults, each with file, line and rule.
//! It never compiles or runs what it reads: it looks at `crate::` and `super::` paths, wherever they stand.

use std::fs;
use std::path::Path;

/// The words: every room may use them.
const WORDS: &[&str] = &[
    "chance", "chart", "entry", "faults", "json", "key", "policy", "reason", "recency", "rejected", "stamp", "wording",
];
/// The public face. Rooms below it must not know it.
const FACE: &[&str] = &[
    "pool",
    "pool_options",
    "builder",
    "connection",
    "transaction",
    "copy",
    "explanation",
    "migrate",
    "mysql",
    "postgres",
    "sqlite",
    "query_ext",
    "operations",
    "report",
    "config",
];
/// The rooms between, and which of each other they may use besides the words.
const ROOMS: &[(&str, &[&str])] = &[
    ("analysis", &[]),
    ("watch", &["analysis"]),
    ("feed", &[]),
    ("catalog", &["analysis", "watch"]),
    ("tier", &["guard", "observe"]),
    ("versions", &["guard", "tier"]),
    ("flight", &[]),
    ("guard", &[]),
    ("replay", &[]),
    ("backend", &["analysis", "catalog", "feed", "replay"]),
    ("observe", &["analysis", "guard"]),
    ("stats", &[]),
    // Which policy goes for which query.
    ("rules", &["analysis", "catalog"]),
    // What to do with a statement: what the text says joined with what the database says.
    ("plan", &["analysis", "catalog", "observe", "rules", "versions"]),
    // Tests of these rooms together.
    ("interleavings", &["flight", "versions"]),
    // Where one pool keeps its rooms; nothing but the corridors and the face may know it.
    (
        "inner",
        &[
            "analysis", "backend", "catalog", "feed", "flight", "guard", "key", "observe", "plan", "replay", "rules",
            "tier", "versions",
        ],
    ),
    // What one connection wrote, until it is settled.
    ("ledger", &["analysis", "backend", "catalog", "inner", "observe", "plan", "versions", "write"]),
];
/// They use every room and the words, but not each other.
const CORRIDORS: &[&str] = &["follow", "read", "sampling", "write"];
/// They come from outside, and use what the crate shows to everybody.
const VISITORS: &[&str] = &["admin", "cli"];

/// Top level of the repository, besides dotfiles.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "examples",
    "benches",
    "sql",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "docs",
    "target",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared", "base"];

/// Paths of one machine. In two parts, so that this list is not its own fault.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "w/"),
];

/// A file by its path from the root of the repository, with forward slashes, and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

#[test]
fn the_code_keeps_to_its_floor_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    let mut files = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "target" && (!name.starts_with('.') || name == ".ci") {
            collect(root, &name, &mut files);
        }
        names.push(name);
    }
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "the sources were not found");
    let mut faults = top_level_faults(&names);
    faults.extend(faults_of(&files));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn collect(root: &Path, path: &str, files: &mut Vec<File>) {
    let full = root.join(path);
    if full.is_dir() {
        for entry in fs::read_dir(full).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            collect(root, &format!("{path}/{name}"), files);
        }
    } else if let Ok(text) = fs::read_to_string(&full) {
        files.push(File { path: path.to_owned(), text });
    }
}

fn top_level_faults(names: &[String]) -> Vec<String> {
    let unknown = names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    unknown.map(|name| format!("{name}: the top level holds only {}", TOP.join(", "))).collect()
}

fn faults_of(files: &[File]) -> Vec<String> {
    let shown = files.iter().find(|file| file.path == "src/lib.rs").map(|lib| Shown::by(&lib.text)).unwrap_or_default();
    let mut faults = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            for machine in MACHINE_PATHS.iter().filter(|machine| holds_path(line, machine)) {
                faults.push(format!("{}:{}: a path of one machine: {machine}", file.path, number + 1));
            }
        }
        if !file.is_rust() {
            continue;
        }
        let parts: Vec<&str> = file.path.trim_end_matches(".rs").split('/').collect();
        for part in parts.iter().filter(|part| EMPTY_NAMES.contains(part)) {
            faults.push(format!("{}: `{part}` does not say what is inside", file.path));
        }
        let tokens = tokens(&file.text);
        for token in tokens.iter().filter(|token| token.text == "unsafe") {
            faults.push(format!("{}:{}: unsafe code", file.path, token.line));
        }
        match parts[..] {
            ["src", "lib"] => faults.extend(lib_faults(&file.path, &tokens)),
            // The binary is a crate of its own: it sees what everybody sees.
            ["src", "bin", ..] => {}
            ["src", ref module @ ..] => {
                let module = module.strip_suffix(&["mod"]).unwrap_or(module);
                faults.extend(room_faults(&file.path, module, &tokens, &shown));
            }
            _ => {}
        }
    }
    faults
}

/// Whether the line holds the path as a path: not as the middle of a longer one or of an address.
fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "/._-}".contains(before))
    })
}

fn lib_faults(path: &str, tokens: &[Token]) -> Vec<String> {
    const LOGIC: &[&str] =
        &["fn", "struct", "enum", "union", "trait", "impl", "type", "const", "static", "macro_rules", "let"];
    let mut faults: Vec<String> = tokens
        .iter()
        .filter(|token| LOGIC.contains(&token.text))
        .map(|token| format!("{path}:{}: `{}`: lib.rs holds the floor plan, no logic", token.line, token.text))
        .collect();
    let forbids =
        tokens.windows(3).any(|window| window.iter().map(|token| token.text).eq(["forbid", "(", "unsafe_code"]));
    if !forbids {
        faults.push(format!("{path}: `#![forbid(unsafe_code)]` is missing"));
    }
    faults
}

/// What `lib.rs` shows: items by the room they come from, and public modules.
#[derive(Default)]
struct Shown<'t> {
    items: Vec<(&'t str, &'t str)>,
    modules: Vec<&'t str>,
}

impl<'t> Shown<'t> {
    fn by(lib: &'t str) -> Self {
        let tokens = tokens(lib);
        let mut shown = Self::default();
        for (at, token) in tokens.iter().enumerate() {
            let text = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text);
            if token.text == "pub" && text(1) == "mod" {
                shown.modules.push(text(2));
            } else if token.text == "pub" && text(1) == "use" {
                let room = if text(2) == "crate" || text(2) == "self" { text(4) } else { text(2) };
                let items = tokens[at..].iter().take_while(|token| token.text != ";");
                shown.items.extend(items.filter(|token| token.is_word()).map(|token| (token.text, room)));
            }
        }
        shown
    }

    /// The room that a name at the root of the crate leads to.
    fn room(&self, name: &'t str) -> &'t str {
        self.items.iter().find(|(item, room)| *item == name && room != item).map_or(name, |(_, room)| room)
    }

    fn is_public(&self, name: &str) -> bool {
        self.modules.contains(&name) || self.items.iter().any(|(item, room)| *item == name && room != item)
    }
}

fn room_faults(path: &str, module: &[&str], tokens: &[Token], shown: &Shown) -> Vec<String> {
    let own = module[0];
    if !is_room(own) {
        return vec![format!("{path}: `{own}` is not in the floor plan; give it a row in tests/architecture.rs")];
    }
    let mut faults = Vec::new();
    for (name, line) in names_at_the_root(module.len(), tokens) {
        let room = shown.room(name);
        let allowed = if VISITORS.contains(&own) {
            own == room || shown.is_public(name) || FACE.contains(&room) || WORDS.contains(&room)
        } else {
            may_use(own, room)
        };
        if !allowed {
            let through = if name == room { String::new() } else { format!(" (through `crate::{name}`)") };
            faults.push(format!("{path}:{line}: `{own}` must not use `{room}`{through}"));
        }
    }
    faults
}

fn is_room(name: &str) -> bool {
    [WORDS, FACE, CORRIDORS, VISITORS].iter().any(|list| list.contains(&name))
        || ROOMS.iter().any(|(room, _)| *room == name)
}

/// The last column of the table.
fn may_use(own: &str, other: &str) -> bool {
    if own == other || WORDS.contains(&other) {
        return true;
    }
    let is_inner = ROOMS.iter().any(|(room, _)| *room == other);
    if FACE.contains(&own) {
        return is_inner || CORRIDORS.contains(&other) || FACE.contains(&other);
    }
    if CORRIDORS.contains(&own) {
        return is_inner;
    }
    ROOMS.iter().any(|(room, uses)| *room == own && uses.contains(&other))
}

/// Every name that the file looks up at the root of the crate, by `crate::` or by enough `super::`, with its line.
fn names_at_the_root<'t>(depth: usize, tokens: &[Token<'t>]) -> Vec<(&'t str, usize)> {
    let mut names = Vec::new();
    // For each open brace, whether it is a module's.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = depth + braces.iter().filter(|module| **module).count();
        match tokens[at].text {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => drop(braces.pop()),
            "crate" | "super" if at == 0 || tokens[at - 1].text != "::" => {
                let mut up = if tokens[at].text == "crate" { here } else { 1 };
                while tokens[at].text == "super" && is(tokens, at + 1, "::") && is(tokens, at + 2, "super") {
                    up += 1;
                    at += 2;
                }
                if up >= here && is(tokens, at + 1, "::") {
                    names.extend(first_names(&tokens[at + 2..]));
                }
            }
            _ => {}
        }
        at += 1;
    }
    names
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

/// `a::b` gives `a`; `{a, b::{c, d}, e}` gives `a`, `b`, `e`.
fn first_names<'t>(tokens: &[Token<'t>]) -> Vec<(&'t str, usize)> {
    let mut names = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            text if token.is_word() || text == "*" => {
                let first = at == 0 || (depth == 1 && matches!(tokens[at - 1].text, "{" | ","));
                // `use crate::{self as larder}` names the crate, no room.
                if first && text != "self" {
                    names.push((text, token.line));
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

#[derive(Clone, Copy)]
struct Token<'t> {
    text: &'t str,
    line: usize,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Words, `::` and single signs, without comments, strings and characters.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (length, is_token) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(length) = string(rest) {
            (length, false)
        } else if first == '\'' {
            (character(rest), false)
        } else if first.is_whitespace() {
            (first.len_utf8(), false)
        } else if is_word(first) {
            (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), true)
        };
        if is_token {
            tokens.push(Token { text: &rest[..length], line });
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a string, raw or not, if one starts here.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].iter().find(|prefix| {
        text.strip_prefix(**prefix).is_some_and(|rest| {
            let marks = rest.trim_start_matches('#');
            marks.starts_with('"') && (prefix.ends_with('r') || rest.starts_with('"'))
        })
    })?;
    let marks = text[prefix.len()..].chars().take_while(|c| *c == '#').count();
    let start = prefix.len() + marks + 1;
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(marks));
        return Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()));
    }
    let mut escaped = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(start + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Length of a character literal, or of the quote alone where a lifetime starts.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        // The escaped character itself may be a quote.
        Some((_, '\\')) => text.get(3..).and_then(|rest| rest.find('\'')).map_or(1, |at| at + 4),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

/// The checker must be able to fail: each rule on a sample that breaks it, beside one that keeps it.
mod samples {
    use super::{File, faults_of, tokens, top_level_faults};

    const LIB: &str =
        "#![forbid(unsafe_code)]\npub mod analysis;\nmod pool;\nmod tier;\npub use pool::{CachedPool, PgPool};\n";

    /// The faults of one file beside a sound `lib.rs`.
    fn faults(path: &str, text: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        faults_of(&[file("src/lib.rs", LIB), file(path, text)])
    }

    #[track_caller]
    fn finds(path: &str, text: &str, fault: &str) {
        let found = faults(path, text);
        assert!(found.len() == 1 && found[0].contains(fault), "expected `{fault}`, found {found:?}");
    }

    #[track_caller]
    fn passes(path: &str, text: &str) {
        assert_eq!(faults(path, text), Vec::<String>::new());
    }

    #[test]
    fn a_room_uses_what_the_table_allows() {
        passes("src/plan.rs", "use crate::analysis::Facts; use crate::reason::Reason; use crate::plan::Own;");
        passes("src/read.rs", "use crate::{tier::L1, guard::*, stamp};");
        passes("src/pool.rs", "use crate::read; fn f() { crate::write::go() }");
        passes("src/backend/mod.rs", "use crate::catalog::{Gate, Survey}; pub(crate) trait T {}");
        passes(
            "src/cli/demo/run.rs",
            "use crate::{CachedPool, analysis::analyze}; use super::super::Args; use crate::cli::x;",
        );
    }

    #[test]
    fn a_room_that_uses_another_is_found() {
        finds("src/key.rs", "//! a\nuse crate::tier::L1;", "src/key.rs:2: `key` must not use `tier`");
        finds("src/analysis/lexer.rs", "fn f() { let _ = crate::catalog::Gate {}; }", "must not use `catalog`");
        finds("src/tier/memory.rs", "use crate::{reason::Reason, versions::{read, V}};", "must not use `versions`");
        finds("src/read.rs", "use crate::write::go;", "must not use `write`");
        finds("src/write.rs", "pub(crate) use crate::pool::CachedPool;", "must not use `pool`");
        finds("src/flight.rs", "use crate::CachedPool;", "`flight` must not use `pool` (through `crate::CachedPool`)");
        finds("src/cli/mod.rs", "use crate::tier::L1;", "`cli` must not use `tier`");
        finds("src/reason.rs", "use crate::*;", "must not use `*`");
        finds("src/guard/breaker.rs", "macro_rules! m { () => { $crate::tier::x() } }", "must not use `tier`");
    }

    #[test]
    fn the_way_out_by_super_is_found() {
        finds("src/key.rs", "use super::tier::L1;", "must not use `tier`");
        finds("src/analysis/verdict.rs", "use super::super::{tier, reason};", "must not use `tier`");
        finds(
            "src/analysis/verdict.rs",
            "mod tests { fn f() { super::super::super::tier::x() } }",
            "must not use `tier`",
        );
        passes(
            "src/analysis/verdict.rs",
            "use super::facts::Facts; mod tests { use super::super::facts; use super::*; }",
        );
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        passes(
            "src/key.rs",
            "// crate::tier\n/* unsafe /* crate::tier */ */ const A: &str = r#\"unsafe \" crate::tier\"#;\n\
             const B: &str = \"\\\"crate::tier\"; const C: (char, char) = ('\"', '\\''); fn f<'a>(_: &'a str) {}",
        );
        // A quote must not swallow what follows it.
        finds("src/key.rs", "const C: char = '\"'; use crate::tier::L1; const D: char = '\"';", "must not use `tier`");
        finds("src/key.rs", "fn f<'a>(a: &'a str) { crate::tier::x(a) }", "must not use `tier`");
    }

    #[test]
    fn an_unknown_room_is_found() {
        finds("src/stuff.rs", "", "not in the floor plan");
        finds("src/tier/helpers.rs", "", "does not say what is inside");
    }

    #[test]
    fn names_paths_and_unsafe_code_are_found() {
        finds("tests/it/utils.rs", "", "`utils` does not say what is inside");
        finds("src/key.rs", "fn f() { unsafe {} }", "src/key.rs:1: unsafe code");
        finds("docs/setup.md", concat!("cd /ho", "me/me/larder"), "docs/setup.md:1: a path of one machine");
        passes("docs/setup.md", concat!("https://example.org/wo", "rk/larder and ~/larder"));
    }

    #[test]
    fn logic_in_lib_is_found() {
        let lib = |text: &str| faults_of(&[File { path: "src/lib.rs".to_owned(), text: text.to_owned() }]);
        assert!(lib(LIB).is_empty());
        assert!(lib(&format!("{LIB}fn f() {{}}"))[0].contains("src/lib.rs:6: `fn`"));
        assert!(lib("mod pool;")[0].contains("forbid(unsafe_code)"));
    }

    #[test]
    fn strangers_at_the_top_level_are_found() {
        let names = ["src", ".ci", "README.md", "notes.txt"].map(str::to_owned);
        let found = top_level_faults(&names);
        assert!(found.len() == 1 && found[0].starts_with("notes.txt"), "{found:?}");
    }

    #[test]
    fn lines_are_counted() {
        let text = "a /* \n\n */ \"\n\" b";
        assert_eq!(tokens(text).iter().map(|token| (token.text, token.line)).collect::<Vec<_>>(), [("a", 1), ("b", 4)]);
    }
}
