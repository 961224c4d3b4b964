//! The rules of the house, executed: who may import whom, and how a file begins.

use std::fs;
use std::path::{Path, PathBuf};

const ROOTS: &[&str] = &[
    "units",
    "clock",
    "event",
    "recording",
    "cli",
    "config",
    "plan",
    "run",
    "judge",
    "report",
    "aws",
    "lab",
    "fuzzed",
];

/// For each folder or file: what of ours it may import. A longer path comes before a shorter one.
const ALLOWED: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("clock", &["units"]),
    ("event", &["units"]),
    ("recording", &["units", "event"]),
    ("config", &["units"]),
    ("plan", &["config", "units"]),
    ("aws", &["units", "clock"]),
    ("lab", &["units", "clock"]),
    ("run/load", &["plan", "event", "recording", "units", "clock"]),
    ("run/chaos", &["plan", "event", "recording", "units", "clock", "aws"]),
    ("run/observe", &["plan", "event", "recording", "units", "clock", "aws"]),
    ("run", &["plan", "event", "recording", "units", "clock", "aws"]),
    ("judge", &["plan", "recording", "event", "units"]),
    ("report", &["judge", "plan", "recording", "event", "units"]),
    ("fuzzed", &["config", "plan", "run", "units"]),
];

/// What the parts of `run` share.
const SHARED: &[&str] = &["run/coding", "run/http1", "run/oauth2", "run/sigv4", "run/tls"];

/// Modules that only tests compile may use what they like.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name.ends_with("tests") || name == "fixture" || name == "testing" || path.iter().any(|part| part == "tests")
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable").flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
                let name = path.strip_prefix(&root).expect("below src").display().to_string();
                files.push((name, fs::read_to_string(&path).expect("a source file is text")));
            }
        }
    }
    files.sort();
    files
}

/// Everything of ours that `text` names by `crate::`, outside its tests.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if ROOTS.contains(&name.as_str()) {
                let path = rest
                    .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                    .next()
                    .unwrap_or_default();
                found.push(path.replace("::", "/"));
            }
        }
    }
    found
}

fn violations(name: &str, text: &str) -> Vec<String> {
    let place = name.trim_end_matches(".rs").trim_end_matches("/mod");
    let Some((home, allowed)) = ALLOWED
        .iter()
        .find(|(home, _)| place == *home || place.starts_with(&format!("{home}/")))
    else {
        return Vec::new();
    };
    imports(text)
        .into_iter()
        .filter(|import| {
            let root = import.split('/').next().unwrap_or_default();
            let own = home.split('/').next().unwrap_or_default();
            let sibling = |part: &str| {
                home.starts_with("run/")
                    && import.starts_with("run/")
                    && !import.starts_with(part)
                    && !SHARED.iter().any(|shared| import.starts_with(shared))
            };
            if root == own {
                sibling(home)
            } else {
                !allowed.contains(&root)
            }
        })
        .map(|import| format!("{name} imports {import}"))
        .collect()
}

#[test]
fn tidy_nobody_imports_what_the_design_forbids() {
    let all: Vec<String> = sources()
        .iter()
        .flat_map(|(name, text)| violations(name, text))
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn tidy_the_import_check_can_fail() {
    assert_eq!(violations("judge/mod.rs", "use crate::aws::Reader;").len(), 1);
    assert_eq!(
        violations("run/load/shard.rs", "use crate::run::chaos::Runner;").len(),
        1
    );
    assert_eq!(violations("lab/control/ec2.rs", "use crate::plan::Plan;").len(), 1);
    assert!(violations("run/load/shard.rs", "use crate::run::load::wheel::Wheel;").is_empty());
}

#[test]
fn tidy_every_file_opens_with_its_purpose() {
    let all: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(all.is_empty(), "without `//!`: {}", all.join(", "));
}

#[test]
fn tidy_the_sdk_stays_in_aws() {
    let all: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            !name.starts_with("aws/") && (code.contains("aws_sdk_") || code.contains("aws_config"))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(all.is_empty(), "the SDK is named in {}", all.join(", "));
}

/// Dependencies of the root manifest that the fuzz crate's lock file does not give to `tenfold`.
fn not_followed(manifest: &str, fuzz_lock: &str) -> Vec<String> {
    let entries = fuzz_lock.split("[[package]]");
    let own = entries
        .filter(|entry| entry.contains("name = \"tenfold\"\n"))
        .collect::<String>();
    let locked = |name: &str| {
        let mut quoted = own.lines().filter_map(|line| line.trim().strip_prefix('"'));
        quoted.any(|line| line.split(['"', ' ']).next() == Some(name))
    };
    let dependencies = manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "));
    let missing = dependencies.map(|(name, _)| name).filter(|name| !locked(name));
    missing.map(str::to_owned).collect()
}

#[test]
fn tidy_the_fuzz_targets_lock_file_follows_the_dependencies() {
    let lock = include_str!("../fuzz/Cargo.lock");
    let missing = not_followed(include_str!("../Cargo.toml"), lock);
    let remedy = "run `cargo metadata` in fuzz/ and commit its lock file";
    assert!(
        missing.is_empty(),
        "{} not in fuzz/Cargo.lock: {remedy}",
        missing.join(", ")
    );
    let manifest = "[dependencies]\nclap = \"4\"\nunheard-of = \"1\"\n\n[dev-dependencies]\nother = \"1\"\n";
    assert_eq!(not_followed(manifest, lock), ["unheard-of"], "the check can fail");
}

#[test]
fn tidy_a_dry_run_knows_no_client_that_changes_anything() {
    let all = sources();
    for file in ["cli/dry_run.rs", "run/chaos/rehearse.rs"] {
        let (_, text) = all.iter().find(|(name, _)| name == file).expect("the file is there");
        assert!(text.contains("Reader") && !text.contains("Writer"), "{file}");
    }
    let runner = all.iter().find(|(name, _)| name == "run/chaos/runner.rs");
    let sight = runner.and_then(|(_, text)| text.split("pub(super) struct Sight<'a> {").nth(1));
    let fields = sight.and_then(|text| text.split('}').next()).expect("it is there");
    assert!(fields.contains("&'a Reader") && !fields.contains("Writer"), "{fields}");
}
