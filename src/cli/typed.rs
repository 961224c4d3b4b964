//! Commands of ours as somebody would type them: for a report, and for who is to type the next one. Runs none.

use crate::cli::args::ProfileArguments;
use crate::plan::Plan;

/// An override with one of these in it may hold what nobody else is to know. Fewer than the words of `run::load::reasons`,
/// which are about names alone: keys of a profile such as `passes` have those in them.
const SECRETS: [&str; 9] = [
    "auth",
    "cookie",
    "credential",
    "password",
    "passphrase",
    "secret",
    "token",
    "api-key",
    "api_key",
];

/// The command that does the same again, every choice written out but for secrets: reports are passed round.
pub(super) fn rerun(arguments: &ProfileArguments, plan: &Plan) -> String {
    let arguments = ProfileArguments {
        pace: Some(plan.pace),
        seed: Some(plan.seed),
        set: arguments.set.iter().map(|set| without_secret(set)).collect(),
        ..arguments.clone()
    };
    format!("tenfold run {}", words(&arguments))
}

/// An override, whose value is kept back where the key or the value names something secret.
fn without_secret(set: &str) -> String {
    let lower = set.to_ascii_lowercase();
    match set.split_once('=') {
        Some((key, _)) if SECRETS.iter().any(|secret| lower.contains(secret)) => format!("{key}=<kept back>"),
        _ => set.to_owned(),
    }
}

/// A profile and its overrides as they are typed.
pub(super) fn words(arguments: &ProfileArguments) -> String {
    let mut words = vec![quote(&arguments.profile.display().to_string())];
    if let Some(target) = &arguments.target {
        words.extend(["--target".to_owned(), quote(target)]);
    }
    if let Some(pace) = arguments.pace {
        words.extend(["--pace".to_owned(), pace.to_string()]);
    }
    if let Some(seed) = arguments.seed {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    for set in &arguments.set {
        words.extend(["--set".to_owned(), quote(set)]);
    }
    words.join(" ")
}

/// Quotes a word for a shell where it needs to be.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_that_may_be_secret_is_kept_back() {
        for (set, shown) in [
            ("stages.0.users=500", "stages.0.users=500"),
            ("journeys.a.steps.0.get=/a=b", "journeys.a.steps.0.get=/a=b"),
            (
                "journeys.a.headers.Authorization=Bearer x",
                "journeys.a.headers.Authorization=<kept back>",
            ),
            ("client.auth.basic=me:x", "client.auth.basic=<kept back>"),
            ("journeys.a.headers={x-api-key: 1}", "journeys.a.headers=<kept back>"),
        ] {
            assert_eq!(without_secret(set), shown);
        }
    }
}
