//! Promises about the repository itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use vtnr_gateway::config::{Absent, KeyDoc, TakesEffect};
use vtnr_gateway::language::LANGUAGES;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let source = root().join("src");
    let named = |path: PathBuf| {
        let name = path
            .strip_prefix(&source)
            .expect("below src")
            .to_string_lossy()
            .into_owned();
        (name, fs::read_to_string(&path).expect("UTF-8"))
    };
    files(&source)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(named)
        .collect()
}

/// The folder or file right below `src` that a source belongs to. Each folder of `identity` is a part of its own.
fn part(name: &str) -> &str {
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    let proof = rest.split('/').next().unwrap_or(rest);
    if first == "identity" && !proof.is_empty() && !proof.ends_with(".rs") {
        &name[.."identity/".len() + proof.len()]
    } else {
        first.trim_end_matches(".rs")
    }
}

/// The code before a file's own tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// Who may import whom. What is not listed is forbidden.
const MAY_IMPORT: [(&str, &[&str]); 26] = [
    ("domain", &[]),
    ("identity", &[]),
    ("language", &["domain"]),
    ("live", &[]),
    ("reloadable", &["domain"]),
    ("clock", &["domain"]),
    ("csv_lines", &[]),
    ("digest", &[]),
    ("share_limit", &[]),
    ("identity/certificate", &["digest", "domain"]),
    (
        "config",
        &[
            "identity/certificate",
            "clock",
            "digest",
            "domain",
            "language",
            "pages",
        ],
    ),
    ("telemetry", &["domain", "config"]),
    (
        "identity/directory",
        &[
            "identity/certificate",
            "csv_lines",
            "domain",
            "config",
            "reloadable",
        ],
    ),
    // Salts are drawn by the one source of chance.
    (
        "identity/users",
        &[
            "csv_lines",
            "domain",
            "clock",
            "config",
            "reloadable",
            "telemetry",
        ],
    ),
    ("pages", &["domain", "config", "language"]),
    ("store", &["domain", "clock", "config", "telemetry"]),
    ("application_sessions", &["clock", "domain", "store"]),
    (
        "mail",
        &[
            "domain",
            "clock",
            "config",
            "language",
            "live",
            "store",
            "telemetry",
        ],
    ),
    (
        "sign_in",
        &[
            "domain",
            "clock",
            "config",
            "identity/directory",
            "live",
            "store",
            "telemetry",
            "identity/users",
        ],
    ),
    (
        "identity/portal",
        &["domain", "config", "digest", "telemetry"],
    ),
    (
        "held_forms",
        &["domain", "clock", "share_limit", "store", "telemetry"],
    ),
    (
        "gateway",
        &[
            "application_sessions",
            "identity/certificate",
            "domain",
            "clock",
            "config",
            "digest",
            "identity/directory",
            "live",
            "pages",
            "held_forms",
            "identity/portal",
            "share_limit",
            "sign_in",
            "store",
            "telemetry",
            "identity/users",
        ],
    ),
    ("demo", &[]),
    (
        "app",
        &[
            "application_sessions",
            "identity/certificate",
            "clock",
            "config",
            "identity/directory",
            "domain",
            "gateway",
            "live",
            "mail",
            "pages",
            "held_forms",
            "identity/portal",
            "sign_in",
            "reloadable",
            "store",
            "telemetry",
            "identity/users",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "clock",
            "config",
            "demo",
            "identity/directory",
            "domain",
            "gateway",
            "mail",
            "pages",
            "store",
            "telemetry",
            "identity/users",
        ],
    ),
    ("main", &["cli"]),
];

#[test]
fn nothing_imports_what_it_must_not_know() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    // Crates of their own: the compiler knows what they may import.
    let is_crate = |name: &str| matches!(part(name), "domain" | "demo");
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_crate(name)) {
        let Some(may) = allowed.get(part(&name)) else {
            assert_eq!(part(&name), "lib", "{name} is in no row of MAY_IMPORT");
            continue;
        };
        for (at, line) in code(&text).lines().enumerate() {
            let starts = line
                .match_indices("crate::")
                .map(|(at, found)| &line[at + found.len()..]);
            for rest in starts.filter(|_| !line.trim_start().starts_with("//")) {
                let path: String = rest
                    .chars()
                    .take_while(|symbol| symbol.is_alphanumeric() || "_:".contains(*symbol))
                    .collect();
                let path = path.replace("::", "/");
                let whom = part(&path);
                assert!(
                    whom == part(&name) || may.contains(&whom),
                    "{name}:{}: imports {whom}",
                    at + 1
                );
            }
        }
    }
}

#[test]
fn only_the_gateway_knows_pingora_and_the_domain_only_std() {
    for (name, text) in sources() {
        for (at, line) in code(&text)
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            assert!(
                !line.contains("pingora::") || part(&name) == "gateway",
                "{name}:{}: names pingora",
                at + 1
            );
            let import = line.trim_start().strip_prefix("use ");
            if let Some(import) =
                import.filter(|_| part(&name) == "domain" && !name.ends_with("tests.rs"))
            {
                assert!(
                    ["std::", "super::", "crate::", "self::"]
                        .iter()
                        .any(|own| import.starts_with(own)),
                    "{name}:{}: {import}",
                    at + 1
                );
            }
        }
    }
}

#[test]
fn files_stay_of_a_size_that_can_be_read() {
    for (name, text) in sources() {
        let lines = code(&text).lines().count();
        assert!(
            lines <= 500 || name.ends_with("tests.rs"),
            "{name} has {lines} lines before its tests"
        );
    }
}

#[test]
fn the_architecture_knows_every_part() {
    let map = fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("it exists");
    let parts: BTreeSet<_> = sources()
        .into_iter()
        .filter(|(name, _)| name.contains('/') && name != "identity/mod.rs")
        .map(|(name, _)| part(&name).to_owned())
        .collect();
    for part in parts {
        assert!(
            map.contains(&format!("`{part}/`")),
            "{part} is missing in ARCHITECTURE.md"
        );
    }
}

/// What `make docs` writes between the markers of a page of the handbook.
fn generated(page: &str) -> String {
    match page {
        "configuration" => key_reference(),
        "monitoring" => metric_table(),
        other => panic!("{other} has no generated part"),
    }
}

/// A table for each section of the example file: descriptions from there, everything else from the code.
fn key_reference() -> String {
    let example = fs::read_to_string(root().join("config/vtnr-gateway.toml")).expect("it exists");
    let known: BTreeMap<_, _> = vtnr_gateway::config::known_keys()
        .into_iter()
        .map(|key| (key.name, key))
        .collect();
    let mut out = String::new();
    let mut section = String::new();
    for paragraph in example.split("\n\n").skip(1) {
        let mut description = Vec::new();
        for line in paragraph.lines() {
            let bare = line.trim_start_matches("# ");
            if let Some(name) = bare.strip_prefix('[').filter(|_| bare.ends_with(']')) {
                section = name.trim_end_matches(']').to_owned();
                out += &format!(
                    "\n## [{section}]\n\n| key | type | default | change | description |\n"
                );
                out += "|---|---|---|---|---|\n";
            } else if let Some((key, value)) = key_and_value(bare) {
                let name = format!("{section}.{key}");
                let doc = known.get(name.as_str());
                let doc = doc.unwrap_or_else(|| panic!("{name} is in the example and is no key"));
                out += &key_row(doc, value, &description.join(" "));
            } else {
                description.push(bare);
            }
        }
    }
    out.trim_start().to_owned()
}

fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let is_key = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    line.split_once(" = ").filter(|(key, _)| is_key(key))
}

fn key_row(doc: &KeyDoc, example: &str, description: &str) -> String {
    let name = doc.name;
    assert!(!description.is_empty(), "{name} has no description");
    let default = match &doc.absent {
        Absent::Default(value) => format!("`{value}`"),
        Absent::Mistake => "required".to_owned(),
        Absent::Nothing => String::new(),
    };
    let change = match doc.takes_effect {
        TakesEffect::Live => "live",
        TakesEffect::Restart => "restart",
    };
    let kind = kind_of(example);
    format!("| `{name}` | {kind} | {default} | {change} | {description} |\n")
}

/// Names the type of a value in TOML notation.
fn kind_of(value: &str) -> &'static str {
    let text = value.trim_matches('"');
    let unit = text.trim_start_matches(|symbol: char| symbol.is_ascii_digit());
    match unit {
        _ if value.starts_with('[') => "list",
        "true" | "false" => "true or false",
        "" if !text.is_empty() => "number",
        _ if unit.starts_with(" in ") => "number in duration",
        "ms" | "s" | "m" | "h" | "d" => "duration",
        "B" | "KiB" | "MiB" | "GiB" => "size",
        _ if text.parse::<std::net::SocketAddr>().is_ok() => "address",
        _ if text.contains("://") => "URL",
        _ if text.starts_with('/') || text.ends_with(".pem") => "path",
        _ => "text",
    }
}

fn metric_table() -> String {
    let metrics = vtnr_gateway::telemetry::metrics::Metrics::new().expect("sound");
    let mut out = String::from("| metric | labels | description |\n|---|---|---|\n");
    for doc in metrics.docs() {
        let name = doc.name.trim_start_matches("vtnr_gateway_");
        let labels: Vec<String> = doc
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        out += &format!("| `{name}` | {} | {} |\n", labels.join(", "), doc.help);
    }
    out
}

#[test]
fn the_generated_parts_of_the_handbook_are_up_to_date() {
    const BEGIN: &str = "<!-- generated -->\n";
    const END: &str = "<!-- end -->\n";
    for page in ["configuration", "monitoring"] {
        let path = root().join(format!("config/handbook/{page}.md"));
        let text = fs::read_to_string(&path).expect("it exists");
        let (before, rest) = text.split_once(BEGIN).expect("a marker");
        let (_, after) = rest.split_once(END).expect("a marker");
        let wanted = format!(
            "{before}{BEGIN}\n{}\n{END}{after}",
            generated(page).trim_end()
        );
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &wanted).expect("written");
        } else {
            assert!(text == wanted, "{page}.md is out of date: run `make docs`");
        }
    }
}

#[test]
fn the_handbook_names_every_template_that_can_be_replaced_and_all_that_are_built_in_can_be() {
    let page = fs::read_to_string(root().join("config/handbook/templates.md")).expect("it exists");
    let known: BTreeSet<&str> = vtnr_gateway::config::templates().collect();
    for name in &known {
        assert!(
            page.contains(&format!("`{name}`")),
            "the handbook lacks the template {name}"
        );
    }
    // What is sent when templates fail, the script, and the README's picture.
    let fixed = ["last-resort.html", "assets/gateway.js", "screenshot.png"];
    let pages = root().join("pages");
    let below = |folder: &Path| -> BTreeSet<String> {
        let names = files(folder).into_iter().map(|file| {
            let name = file.strip_prefix(folder).expect("below");
            name.to_string_lossy().into_owned()
        });
        names
            .filter(|name| !fixed.contains(&name.as_str()))
            .collect()
    };
    let codes: BTreeSet<&str> = LANGUAGES.iter().map(|language| language.code).collect();
    let is_translated = |name: &String| {
        name.split_once('/')
            .is_some_and(|(folder, _)| codes.contains(folder))
    };
    let shared: BTreeSet<String> = below(&pages)
        .into_iter()
        .filter(|name| !is_translated(name))
        .collect();
    for code in codes {
        let own = below(&pages.join(code));
        let there: BTreeSet<&str> = own.union(&shared).map(String::as_str).collect();
        assert_eq!(there, known, "{code}");
    }
}

/// All documents, each with the folder that its links start from.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["config", "src", "benches"].map(|folder| root().join(folder));
    let all = folders.iter().flat_map(|folder| files(folder));
    all.chain([root().join("README.md")])
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8")))
        .collect()
}

#[test]
fn documents_name_no_key_that_does_not_exist() {
    let known: BTreeSet<_> = vtnr_gateway::config::known_keys()
        .iter()
        .map(|key| key.name.to_string())
        .collect();
    let sections: BTreeSet<_> = known
        .iter()
        .filter_map(|key| key.split_once('.').map(|(section, _)| section.to_owned()))
        .collect();
    let endings = [
        "md", "rs", "html", "csv", "toml", "json", "js", "css", "svg", "example", "file",
    ];
    for (path, text) in documents() {
        let is_source = path.starts_with(root().join("src"));
        for name in quoted(&text).filter(|_| !is_source) {
            let Some((section, key)) = name.split_once('.') else {
                continue;
            };
            let is_word = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            if sections.contains(section) && is_word(key) && !endings.contains(&key) {
                assert!(known.contains(name), "{}: {name} is no key", path.display());
            }
        }
    }
}

#[test]
fn links_between_documents_lead_to_files_and_headings_that_exist() {
    for (path, text) in documents() {
        let folder = path.parent().expect("a folder");
        let prose = without_code_blocks(&text);
        for link in prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.contains("://"))
        {
            let place = format!("{}: {link}", path.display());
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                folder.join(file)
            };
            assert!(target.exists(), "{place} leads to no file");
            if !heading.is_empty() {
                let target = fs::read_to_string(&target).expect("a document");
                let known: Vec<String> = headings(&target).collect();
                let is_known = known.iter().any(|known| known == heading);
                assert!(is_known, "{place} leads to no heading of {known:?}");
            }
        }
    }
}

fn without_code_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let text = without_code_blocks(text);
    let lines: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .collect();
    lines.into_iter().map(|line| {
        line.chars()
            .filter(|symbol| symbol.is_alphanumeric() || " -_".contains(*symbol))
            .map(|symbol| if symbol == ' ' { '-' } else { symbol })
            .collect()
    })
}

#[test]
fn documents_are_of_a_width_and_length_that_can_be_read() {
    for (path, text) in documents() {
        for (at, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), at + 1);
            let is_table = line.starts_with('|');
            assert!(is_table || line.chars().count() <= 160, "{place}: too wide");
            let longest = line.split('|').map(str::len).max().unwrap_or(0);
            assert!(!is_table || longest <= 240, "{place}: a cell of {longest}");
        }
    }
    let words = |path: &str| {
        let text = fs::read_to_string(root().join(path)).expect("it exists");
        text.split_whitespace().count()
    };
    assert!(words("README.md") <= 1_000, "{}", words("README.md"));
    let architecture = words("src/ARCHITECTURE.md");
    assert!(architecture <= 3_000, "{architecture}");
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let agreed = [
        "Cargo.toml",
        "Cargo.lock",
        "Makefile",
        "README.md",
        "Dockerfile",
        "src",
        "config",
        "pages",
        "tests",
        "benches",
        "target",
    ];
    for entry in fs::read_dir(root()).expect("the repository").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name.starts_with('.') || agreed.contains(&name.as_str()),
            "{name} does not belong at the top"
        );
    }
}

#[test]
fn no_source_holds_what_was_left_over() {
    let forbidden = [
        ["to", "do!("].concat(),
        ["unimplemented", "!("].concat(),
        ["db", "g!("].concat(),
        ["FIX", "ME"].concat(),
        ["TO", "DO"].concat(),
        ["#[", "allow("].concat(),
    ];
    for (name, text) in sources() {
        for left in &forbidden {
            assert!(
                !code(&text).contains(left.as_str()) || name.contains("testing"),
                "{name} holds {left}"
            );
        }
        let is_test =
            name.ends_with("tests.rs") || name.contains("testing") || name.contains("/tests/");
        assert!(
            is_test || !code(&text).contains(".unwrap()"),
            "{name} unwraps"
        );
    }
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Tests are named in sentences: four words or more, which no other name has.
fn is_test_name(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.split('_').count() >= 4 && text.split('_').all(is_word)
}

fn table_rows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('|'))
        .map(|(at, line)| (at + 1, line))
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_default();
    let named = |path: PathBuf| {
        path.extension()
            .is_some_and(|end| end == "rs")
            .then(|| fs::read_to_string(path).expect("UTF-8"))
    };
    let all: String = [root().join("src"), root().join("tests")]
        .iter()
        .flat_map(|folder| files(folder))
        .filter_map(named)
        .collect();
    let mut missing = Vec::new();
    for (at, row) in table_rows(&read("src/PINGORA.md")) {
        let lost =
            quoted(row).filter(|name| is_test_name(name) && !all.contains(&format!("fn {name}(")));
        missing.extend(lost.map(|name| format!("PINGORA.md:{at}: {name}")));
    }
    let mut tests = 0;
    for (at, row) in table_rows(&read("src/ADVISORIES.md")) {
        // Each name is looked for in the file that stands before it.
        let mut file = String::new();
        for name in quoted(row) {
            if name.ends_with(".rs") && name.contains('/') {
                file = read(name);
            } else if is_test_name(name) {
                tests += 1;
                missing.extend(
                    (!file.contains(&format!("fn {name}(")))
                        .then(|| format!("ADVISORIES.md:{at}: {name}")),
                );
            }
        }
    }
    assert!(
        missing.is_empty() && tests > 100,
        "{tests} tests are named, and these are not there: {missing:#?}"
    );
}

#[test]
fn every_advisory_has_a_row_of_its_own_and_an_answer() {
    let text = fs::read_to_string(root().join("src/ADVISORIES.md")).expect("it exists");
    let mut seen = BTreeSet::new();
    for (at, row) in table_rows(&text)
        .filter(|(_, row)| !row.starts_with("|---") && !row.starts_with("| advisory"))
    {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [ids, flaw, answer] = cells.as_slice() else {
            panic!("ADVISORIES.md:{at}: {} cells", cells.len())
        };
        assert!(
            !flaw.is_empty() && !answer.is_empty(),
            "ADVISORIES.md:{at}: {ids}"
        );
        for id in ids.split([',', ' ']).filter(|id| {
            ["CVE-", "GHSA-", "RUSTSEC-"]
                .iter()
                .any(|kind| id.starts_with(kind))
        }) {
            assert!(
                seen.insert(id.to_owned()),
                "ADVISORIES.md:{at}: {id} for the second time"
            );
        }
    }
    assert!(seen.len() > 100, "{} advisories", seen.len());
}

#[test]
fn every_file_of_tests_is_part_of_a_program() {
    let folder = root().join("tests");
    let programs: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("main.rs").exists())
        .collect();
    let mut seen = 0;
    for program in &programs {
        let sources: Vec<(PathBuf, String)> = files(program)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "rs"))
            .map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8")))
            .collect();
        for (path, _) in sources
            .iter()
            .filter(|(path, _)| !path.ends_with("main.rs"))
        {
            let name = path.file_stem().expect("a name").to_string_lossy();
            let declared = |text: &str| text.lines().any(|line| line == format!("mod {name};"));
            let times = sources.iter().filter(|(_, text)| declared(text)).count();
            assert!(times > 0, "{}: in no program", path.display());
            seen += 1;
        }
    }
    assert!(
        seen > 60 && programs.len() > 15,
        "{seen} files, {} programs",
        programs.len()
    );
}

/// The rooms of `src/gateway/`, each with those that it may import: an order, so that there is no circle.
const ROOMS: [(&str, &[&str]); 16] = [
    ("request", &[]),
    ("membership", &[]),
    ("outgoing", &[]),
    ("concurrency", &[]),
    ("websocket", &["membership"]),
    ("listener", &["request", "websocket"]),
    (
        "context",
        &[
            "concurrency",
            "listener",
            "outgoing",
            "request",
            "websocket",
        ],
    ),
    ("respond", &["concurrency", "context", "request"]),
    ("upstream", &["context", "listener", "request", "respond"]),
    (
        "admission",
        &[
            "concurrency",
            "context",
            "listener",
            "membership",
            "outgoing",
            "request",
            "respond",
            "upstream",
            "websocket",
        ],
    ),
    (
        "sign_in_pages",
        &[
            "admission",
            "context",
            "listener",
            "request",
            "respond",
            "upstream",
        ],
    ),
    (
        "proxy",
        &[
            "admission",
            "context",
            "listener",
            "request",
            "respond",
            "sign_in_pages",
            "upstream",
            "websocket",
        ],
    ),
    (
        "build",
        &[
            "admission",
            "concurrency",
            "listener",
            "membership",
            "proxy",
            "request",
            "respond",
            "sign_in_pages",
            "upstream",
            "websocket",
        ],
    ),
    (
        "hot_path",
        &["build", "context", "proxy", "request", "upstream"],
    ),
    ("mod", &[]),
    ("tests", &[]),
];

/// The sources of the gateway's rooms: room, file, and code before the file's own tests.
fn gateway_sources() -> Vec<(String, String, String)> {
    let in_room = |(name, text): (String, String)| {
        let rest = name.strip_prefix("gateway/")?;
        let room = rest.split('/').next()?.trim_end_matches(".rs").to_owned();
        let is_tests = name.ends_with("tests.rs");
        (!is_tests).then(|| (room, name.clone(), code(&text).to_owned()))
    };
    sources().into_iter().filter_map(in_room).collect()
}

#[test]
fn the_gateways_rooms_import_one_another_in_one_direction() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let order: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    for (at, (room, may)) in ROOMS.iter().enumerate() {
        for import in *may {
            let is_before = order.iter().take(at).any(|earlier| earlier == import);
            assert!(
                is_before,
                "{room} may import {import}, which comes after it"
            );
        }
    }
    for (room, name, text) in gateway_sources() {
        let may = allowed
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{name}: the room {room} is in no row of ROOMS"));
        for (at, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            let imports = line.split("crate::gateway::").skip(1).map(|rest| {
                rest.split(|symbol: char| !symbol.is_alphanumeric() && symbol != '_')
                    .next()
                    .unwrap_or_default()
            });
            for import in imports.filter(|_| !is_comment) {
                assert!(
                    import == room || may.contains(&import),
                    "{name}:{}: {room} imports {import}",
                    at + 1
                );
            }
            // A way around the table would be a way around the order.
            assert!(
                is_comment || !line.contains("super::super"),
                "{name}:{}: super::super",
                at + 1
            );
        }
    }
}

#[test]
fn only_the_admission_asks_for_permits_and_only_the_proxy_grants_them() {
    let places = |needle: &str| -> BTreeSet<String> {
        let holds = |(name, text): &(String, String)| {
            let is_code = |line: &str| !line.trim_start().starts_with("//");
            let is_tests = name.ends_with("tests.rs");
            let mut lines = code(text).lines();
            !is_tests && lines.any(|line| is_code(line) && line.contains(needle))
        };
        let found = sources().into_iter().filter(holds);
        found.map(|(name, _)| name).collect()
    };
    let one = |name: &str| BTreeSet::from([name.to_owned()]);
    assert_eq!(places("Permit(Grounds"), one("domain/policy.rs"));
    assert_eq!(places("PublicRoute(())"), one("domain/route.rs"));
    assert_eq!(places("Permit::public("), one("gateway/admission/mod.rs"));
    assert_eq!(places(".grant("), one("gateway/proxy.rs"));
    for asked in ["policy::decide(", "Disposition::Forward("] {
        for name in places(asked) {
            // What times the policy decides nothing.
            let is_bench = name == "gateway/hot_path.rs";
            let may = name.starts_with("gateway/admission/") || name == "gateway/proxy.rs";
            assert!(may || is_bench, "{name}: {asked}");
        }
    }
}

/// The names of a manifest's table of dependencies.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(manifest)).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let names = manifest.get(table).and_then(toml::Value::as_table);
    names
        .into_iter()
        .flat_map(|names| names.keys().cloned())
        .collect()
}

#[test]
fn every_dependency_is_used() {
    let is_crate_of = |name: &str, folder: &str| match folder {
        "src" => !name.starts_with("domain/") && !name.starts_with("demo/"),
        other => name.starts_with(other.trim_start_matches("src/")),
    };
    for (manifest, folder) in [
        ("Cargo.toml", "src"),
        ("src/demo/Cargo.toml", "src/demo"),
        ("src/domain/Cargo.toml", "src/domain"),
    ] {
        let all: String = sources()
            .into_iter()
            .filter(|(name, _)| is_crate_of(name, folder) && !name.contains("tests"))
            .map(|(_, text)| code(&text).to_owned())
            .collect();
        for name in dependencies(manifest, "dependencies") {
            // Where the crate's name is not the package's.
            let name = match name.as_str() {
                "rustls-webpki" => "webpki".to_owned(),
                "vtnr-gateway-demo" => "demo".to_owned(),
                other => other.replace('-', "_"),
            };
            assert!(
                all.contains(&format!("{name}::")),
                "{manifest}: {name} is not used"
            );
        }
    }
}
