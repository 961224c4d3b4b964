//! What `fuzz/` throws bytes at: nothing here may panic, whatever they are. Compiled for it and for tests alone; the tests
//! throw what `fuzz/seeds` keeps, among it whatever was found once.

use crate::config::{self, Files, Sources};
use crate::plan::{self, Plan, PlanOptions, TargetPlan};
use crate::run::load::fuzzed;
use crate::units::Pace;

/// A response of HTTP/1.1; the first byte says what to and in which pieces it is read.
pub fn response(input: &[u8]) {
    if let Some((how, bytes)) = input.split_first() {
        fuzzed::response(bytes, how & 0x80 != 0, usize::from(how & 0x7f));
    }
}

/// A template wherever a journey has one and, after a NUL, what a server said that is filled in.
pub fn template(input: &[u8]) {
    let (template, value) = match input.iter().position(|byte| *byte == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, b"".as_slice()),
    };
    let Ok(template) = std::str::from_utf8(template) else {
        return;
    };
    // One that no step can send must not keep the others from being tried.
    let steps = [
        serde_json::json!({ "get": format!("/{template}") }),
        serde_json::json!({ "get": "/", "headers": { "x-fuzzed": template } }),
        serde_json::json!({ "post": "/", "json": { template: [template, { "a": template }] } }),
        serde_json::json!({ "post": "/", "form": { template: template, "b": template } }),
        serde_json::json!({ "post": "/", "body": template }),
        serde_json::json!({ "post": "/", "multipart": { "a": template }, "auth": { "bearer": template } }),
        serde_json::json!({ "put": "/", "json": template, "compress": "gzip", "auth": { "basic": { "user": "a", "password": template } } }),
    ];
    for step in steps {
        let first = serde_json::json!({ "get": "/", "extract": { "v": { "header": "x" } } });
        let journey = serde_json::json!({ "think": "1s", "cookies": true, "redirects": 1, "steps": [first, step] });
        let profile = serde_json::json!({
            "name": "fuzzed",
            "journeys": { "a": journey },
            "stages": [{ "tier": 1, "users": 1, "hold": "1s" }],
        });
        if let Some(plan) = planned(&profile.to_string(), &[]) {
            fuzzed::requests(&plan, value);
        }
    }
}

/// A profile, an experiment, or a target file, and after a NUL what is set besides, as `KEY=VALUE`.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (text, set) = text.split_once('\0').unwrap_or((text, ""));
    let pairs = set.split('\0').filter_map(|pair| pair.split_once('='));
    let set: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let _ = config::references("fuzzed.yaml", text, &set).map_err(|errors| errors.to_string());
    if let Some(plan) = planned(text, &set) {
        assert!(!plan::print(&plan).is_empty());
        fuzzed::requests(&plan, b"value");
    }
    let _ = config::load_target("fuzzed.yaml", text).map_err(|errors| errors.to_string());
    let beside = Sources {
        profile: ("profile.yaml".to_owned(), BESIDE.to_owned()),
        experiments: vec![("fuzzed.yaml".to_owned(), text.to_owned())],
        ..Sources::default()
    };
    let _ = config::load(&beside, &set).map_err(|errors| errors.to_string());
}

/// A profile for an experiment.
const BESIDE: &str = "name: beside\nchaos: [fuzzed.yaml]\njourneys: { order: { think: 1s, steps: [ get: / ] } }\n\
                      stages: [{ tier: 1, users: 1, hold: 10m }]\n";

/// The plan of a profile, where it is one; the mistakes of all others can be told.
fn planned(profile: &str, set: &[(String, String)]) -> Option<Plan> {
    let sources = Sources {
        profile: ("fuzzed.yaml".to_owned(), profile.to_owned()),
        files: Files::from([
            ("data.csv".to_owned(), b"id,name\n1,a\n2,b\n".to_vec()),
            ("rates.csv".to_owned(), b"seconds,arrivals\n0,1\n9,2\n".to_vec()),
        ]),
        ..Sources::default()
    };
    let config = config::load(&sources, set).map_err(|errors| errors.to_string()).ok()?;
    let target = TargetPlan::entry("fuzzed".to_owned(), "http".to_owned(), "127.0.0.1".to_owned(), 80);
    let options = PlanOptions {
        seed: 1,
        pace: Pace::REAL,
    };
    let plan = plan::build(&config, target, &options);
    plan.map_err(|errors| errors.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(of: &str, throw: fn(&[u8])) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(of);
        let mut thrown = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            throw(&std::fs::read(file.unwrap().path()).unwrap());
            thrown += 1;
        }
        assert!(thrown >= 4, "{of}: {thrown}");
    }

    #[test]
    fn the_seeds_of_the_fuzz_targets_panic_nobody() {
        seeds("response", response);
        seeds("template", template);
        seeds("config", config);
    }

    #[test]
    fn every_shipped_file_is_thrown_too() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["profiles", "profiles/examples", "chaos"] {
            let files = std::fs::read_dir(root.join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().path());
            for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
                config(&std::fs::read(file).unwrap());
            }
        }
    }
}
