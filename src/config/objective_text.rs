//! The text of an objective or a stop condition -> typed. What a subject may be is checked where the names are known.

use std::time::Duration;

use super::decode::{read_number, read_rate, read_share};
use super::error::{Mistake, Sink};
use super::nearest::suggest;
use super::node::Node;
use super::objective::{Comparison, Limit, Measure, Objective, Phase, Scope, Statistic};
use super::source::Spanned;
use crate::units::parse_duration;

/// What a measure's subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubjectKind {
    /// A journey or a step; may be left out.
    Requests,
    /// A ledger; may be left out.
    Ledger,
    /// A role; must be there.
    Role,
    /// `region=…` or `az=…`; must be there.
    Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Duration,
    Share,
    Count,
    Rate,
}

const MEASURES: [(&str, Measure, SubjectKind, Unit); 14] = [
    ("latency", Measure::Latency, SubjectKind::Requests, Unit::Duration),
    (
        "service_time",
        Measure::ServiceTime,
        SubjectKind::Requests,
        Unit::Duration,
    ),
    ("errors", Measure::Errors, SubjectKind::Requests, Unit::Share),
    ("throughput", Measure::Throughput, SubjectKind::Requests, Unit::Rate),
    ("outage", Measure::Outage, SubjectKind::Requests, Unit::Duration),
    ("recovery", Measure::Recovery, SubjectKind::Requests, Unit::Duration),
    ("lost_writes", Measure::LostWrites, SubjectKind::Ledger, Unit::Count),
    ("redundancy", Measure::Redundancy, SubjectKind::Role, Unit::Duration),
    ("scale_out", Measure::ScaleOut, SubjectKind::Role, Unit::Duration),
    ("self_heal", Measure::SelfHeal, SubjectKind::Role, Unit::Duration),
    ("late_errors", Measure::LateErrors, SubjectKind::Role, Unit::Count),
    ("shift", Measure::Shift, SubjectKind::Role, Unit::Duration),
    ("fail_back", Measure::FailBack, SubjectKind::Role, Unit::Duration),
    ("stale_share", Measure::StaleShare, SubjectKind::Role, Unit::Share),
];
const SHARE: (&str, Measure, SubjectKind, Unit) = ("share", Measure::Share, SubjectKind::Place, Unit::Share);
const PHASES: [(&str, Phase); 4] = [
    ("ramp", Phase::Ramp),
    ("steady", Phase::Steady),
    ("fault", Phase::Fault),
    ("recovery", Phase::Recovery),
];

fn measures() -> impl Iterator<Item = (&'static str, Measure, SubjectKind, Unit)> {
    MEASURES.into_iter().chain([SHARE])
}

/// What the subject of a measure is.
pub(super) fn subject_kind(measure: Measure) -> SubjectKind {
    measures()
        .find(|(_, known, ..)| *known == measure)
        .map_or(SubjectKind::Requests, |(_, _, kind, _)| kind)
}

/// The place of the subject's own text within an objective.
pub(super) fn subject_place(objective: &Spanned<Objective>) -> super::source::Place {
    let subject = objective.value.subject.as_deref().unwrap_or_default();
    let offset = objective
        .value
        .text
        .find('(')
        .map_or(0, |byte| objective.value.text[..=byte].chars().count());
    objective.place.part(offset, subject.chars().count())
}

/// The name of a measure as written.
pub(super) fn measure_name(measure: Measure) -> &'static str {
    measures()
        .find(|(_, known, ..)| *known == measure)
        .map_or("", |(name, ..)| name)
}

/// The name of a phase as written.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    PHASES
        .iter()
        .find(|(_, known)| *known == phase)
        .map_or("", |(name, _)| name)
}

/// A stop condition: `errors > 90% for 3m`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) objective: Objective,
    pub(super) lasts: Duration,
}

struct Wrong {
    offset: usize,
    length: usize,
    message: String,
    hint: String,
}

impl Wrong {
    fn word(word: &Word<'_>, message: String, hint: impl Into<String>) -> Self {
        Self {
            offset: word.offset,
            length: word.text.chars().count(),
            message,
            hint: hint.into(),
        }
    }
}

/// A word with its offset in characters.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    offset: usize,
}

/// Reads an objective; `experiments` are the known names, `inside` the experiment the line stands in.
pub(super) fn objective(
    node: &Node,
    experiments: &[String],
    inside: Option<&str>,
    sink: &mut Sink,
) -> Option<Spanned<Objective>> {
    let text = super::decode::text(node, sink)?;
    let read = Reader::new(&text, experiments, inside).objective();
    let place = node.part(0, text.chars().count());
    report(node, read, sink).map(|value| Spanned { value, place })
}

/// Reads a stop condition.
pub(super) fn condition(node: &Node, sink: &mut Sink) -> Option<Condition> {
    let text = super::decode::text(node, sink)?;
    let read = Reader::new(&text, &[], None).condition();
    report(node, read, sink)
}

fn report<T>(node: &Node, read: Result<T, Wrong>, sink: &mut Sink) -> Option<T> {
    read.map_err(|wrong| {
        sink.push(Mistake::at(&node.part(wrong.offset, wrong.length), wrong.message).hint(wrong.hint));
    })
    .ok()
}

struct Reader<'t> {
    text: &'t str,
    words: std::vec::IntoIter<Word<'t>>,
    experiments: &'t [String],
    inside: Option<&'t str>,
    end: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, experiments: &'t [String], inside: Option<&'t str>) -> Self {
        Self {
            text,
            words: words(text).into_iter(),
            experiments,
            inside,
            end: text.chars().count(),
        }
    }

    fn next(&mut self, expected: &str, example: &str) -> Result<Word<'t>, Wrong> {
        self.words.next().ok_or_else(|| Wrong {
            offset: self.end.saturating_sub(1),
            length: 1,
            message: format!("the line ends where {expected} should stand"),
            hint: format!("write it like `{example}`"),
        })
    }

    fn objective(mut self) -> Result<Objective, Wrong> {
        let (mut objective, example) = self.comparison()?;
        objective.scope = self.scope()?;
        self.nothing_more(&example)?;
        Ok(objective)
    }

    fn condition(mut self) -> Result<Condition, Wrong> {
        let example = "errors > 90% for 3m";
        let first = self.words.as_slice().first().copied();
        let (objective, _) = self.comparison()?;
        if !matches!(objective.measure, Measure::Errors | Measure::Latency) || objective.subject.is_some() {
            let word = first.unwrap_or(Word { text: "", offset: 0 });
            let message = "a stop condition watches `errors` or `latency` of everything".to_owned();
            return Err(Wrong::word(&word, message, format!("write it like `{example}`")));
        }
        let word = self.next("`for` and a duration", example)?;
        if word.text != "for" {
            return Err(Wrong::word(
                &word,
                format!("{:?} is not `for`", word.text),
                format!("write it like `{example}`"),
            ));
        }
        let word = self.next("a duration", example)?;
        let lasts = parse_duration(word.text).map_err(|_| {
            Wrong::word(
                &word,
                format!("{:?} is not a duration", word.text),
                format!("write it like `{example}`"),
            )
        })?;
        self.nothing_more(example)?;
        Ok(Condition { objective, lasts })
    }

    fn nothing_more(&mut self, example: &str) -> Result<(), Wrong> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => {
                let message = format!("{:?} does not belong here", word.text);
                Err(Wrong::word(
                    &word,
                    message,
                    format!("the line is complete before it, like `{example}`"),
                ))
            }
        }
    }

    /// `MEASURE[(SUBJECT)] [STATISTIC] COMPARISON LIMIT`, with an example of the measure for later messages.
    fn comparison(&mut self) -> Result<(Objective, String), Wrong> {
        let word = self.next("a measure", "latency p99 < 300ms")?;
        let (name, subject) = match word.text.split_once('(') {
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(subject) if !subject.trim().is_empty() => (name, Some(subject.trim())),
                Some(_) => {
                    return Err(Wrong::word(
                        &word,
                        "the brackets are empty".to_owned(),
                        "name a journey, step, ledger or role",
                    ));
                }
                None => {
                    return Err(Wrong::word(
                        &word,
                        "`(` is never closed".to_owned(),
                        "close it with `)`",
                    ));
                }
            },
            None => (word.text, None),
        };
        let Some((_, measure, kind, unit)) = measures().find(|(known, ..)| *known == name) else {
            let named = Word {
                text: name,
                offset: word.offset,
            };
            let hint = suggest(name, measures().map(|(known, ..)| known));
            return Err(Wrong::word(&named, format!("unknown measure {name:?}"), hint));
        };
        let example = example(name, kind, unit);
        if subject.is_none() && matches!(kind, SubjectKind::Role | SubjectKind::Place) {
            let of = if kind == SubjectKind::Role {
                "of which role"
            } else {
                "of which Region or AZ"
            };
            return Err(Wrong::word(
                &word,
                format!("{name} needs to know {of}"),
                format!("write it like `{example}`"),
            ));
        }
        let mut word = self.next("a comparison", &example)?;
        let statistic = statistic(&word)?;
        if statistic.is_some() {
            if !matches!(measure, Measure::Latency | Measure::ServiceTime) {
                return Err(Wrong::word(
                    &word,
                    format!("{name} has no {}", word.text),
                    format!("write it like `{example}`"),
                ));
            }
            word = self.next("a comparison", &example)?;
        }
        let comparison = match word.text {
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "==" => Comparison::Equal,
            other => {
                let hint = format!("put one of < <= > >= == between measure and limit, like `{example}`");
                return Err(Wrong::word(&word, format!("{other:?} is not a comparison"), hint));
            }
        };
        let word = self.next("a limit", &example)?;
        let limit = limit(word.text, unit).ok_or_else(|| {
            let form = match unit {
                Unit::Duration => "a duration",
                Unit::Share => "a share in percent from 0% to 100%",
                Unit::Count => "a whole number",
                Unit::Rate => "a rate per second",
            };
            Wrong::word(
                &word,
                format!("{name} is {form}, {:?} is not", word.text),
                format!("write it like `{example}`"),
            )
        })?;
        let scope = self
            .inside
            .map_or(Scope::Run, |name| Scope::Experiment(name.to_owned()));
        let subject = subject.map(str::to_owned);
        Ok((
            Objective {
                text: self.text.to_owned(),
                measure,
                subject,
                statistic,
                comparison,
                limit,
                scope,
            },
            example,
        ))
    }

    fn scope(&mut self) -> Result<Scope, Wrong> {
        let default = self
            .inside
            .map_or(Scope::Run, |name| Scope::Experiment(name.to_owned()));
        let Some(word) = self.words.next() else {
            return Ok(default);
        };
        let of_experiment = |name: &str| self.experiments.iter().any(|known| known == name);
        match word.text {
            "during" => {
                let word = self.next("a phase or an experiment", "latency p99 < 300ms during steady")?;
                if let Some((_, phase)) = PHASES.iter().find(|(name, _)| *name == word.text) {
                    return Ok(Scope::During(*phase));
                }
                if of_experiment(word.text) {
                    return Ok(Scope::Experiment(word.text.to_owned()));
                }
                let known = PHASES
                    .iter()
                    .map(|(name, _)| *name)
                    .chain(self.experiments.iter().map(String::as_str));
                let message = format!("{:?} is neither a phase nor an experiment of this profile", word.text);
                Err(Wrong::word(&word, message, suggest(word.text, known)))
            }
            "after" => {
                let Some(word) = self.words.next() else {
                    if self.inside.is_some() {
                        return Ok(default);
                    }
                    return Err(Wrong::word(
                        &word,
                        "after which experiment?".to_owned(),
                        "name an experiment of the profile",
                    ));
                };
                if of_experiment(word.text) {
                    return Ok(Scope::Experiment(word.text.to_owned()));
                }
                let message = format!("{:?} is no experiment of this profile", word.text);
                Err(Wrong::word(
                    &word,
                    message,
                    suggest(word.text, self.experiments.iter().map(String::as_str)),
                ))
            }
            other => Err(Wrong::word(
                &word,
                format!("{other:?} does not belong here"),
                "after the limit only `during PHASE` or `after EXPERIMENT` may follow",
            )),
        }
    }
}

fn example(name: &str, kind: SubjectKind, unit: Unit) -> String {
    let subject = match kind {
        SubjectKind::Role if matches!(name, "shift" | "fail_back" | "stale_share") => "(dns)",
        SubjectKind::Role if name == "redundancy" => "(database)",
        SubjectKind::Role => "(web)",
        SubjectKind::Place => "(region=eu-west-1)",
        SubjectKind::Ledger => "(orders)",
        SubjectKind::Requests => "",
    };
    match (unit, name) {
        (Unit::Duration, "latency" | "service_time") => format!("{name} p99 < 300ms"),
        (Unit::Duration, _) => format!("{name}{subject} <= 5m"),
        (Unit::Share, "share") => format!("{name}{subject} >= 95%"),
        (Unit::Share, _) => format!("{name}{subject} < 1%"),
        (Unit::Count, _) => format!("{name}{subject} == 0"),
        (Unit::Rate, _) => format!("{name} >= 4500/s"),
    }
}

fn limit(text: &str, unit: Unit) -> Option<Limit> {
    match unit {
        Unit::Duration => parse_duration(text).ok().map(Limit::Duration),
        Unit::Share => read_share(text).map(Limit::Share),
        Unit::Count => text.replace('_', "").parse().ok().map(Limit::Count),
        Unit::Rate => read_rate(text).map(Limit::Rate),
    }
}

fn statistic(word: &Word<'_>) -> Result<Option<Statistic>, Wrong> {
    match word.text {
        "mean" => return Ok(Some(Statistic::Mean)),
        "max" => return Ok(Some(Statistic::Max)),
        _ => {}
    }
    let Some(percentile) = word.text.strip_prefix('p') else {
        return Ok(None);
    };
    match read_number(percentile) {
        Some(percentile) if percentile > 0.0 && percentile <= 100.0 => Ok(Some(Statistic::Percentile(percentile))),
        _ => Err(Wrong::word(
            word,
            format!("{:?} is not a statistic", word.text),
            "write p50, p99, p99.9, mean or max",
        )),
    }
}

/// Splits at spaces and around comparisons; what stands in brackets stays with its measure.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut start: Option<(usize, usize, u8)> = None;
    let mut depth = 0usize;
    let class = |c: char, depth: usize| -> u8 {
        match c {
            _ if depth > 0 || c == '(' || c == ')' => 2,
            c if c.is_whitespace() => 0,
            '<' | '>' | '=' => 1,
            _ => 2,
        }
    };
    for (offset, (byte, c)) in text.char_indices().enumerate() {
        let now = class(c, depth);
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some((from, at, kind)) = start
            && kind != now
        {
            words.push(Word {
                text: &text[from..byte],
                offset: at,
            });
            start = None;
        }
        if now != 0 && start.is_none() {
            start = Some((byte, offset, now));
        }
    }
    if let Some((from, at, _)) = start {
        words.push(Word {
            text: &text[from..],
            offset: at,
        });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Objective, Wrong> {
        let experiments = ["blackout".to_owned()];
        Reader::new(text, &experiments, None).objective()
    }

    #[test]
    fn objectives_are_typed() {
        let objective = read("latency p99.9 < 300ms during steady").unwrap_or_else(|w| panic!("{}", w.message));
        assert_eq!(objective.measure, Measure::Latency);
        assert_eq!(objective.statistic, Some(Statistic::Percentile(99.9)));
        assert_eq!(objective.limit, Limit::Duration(Duration::from_millis(300)));
        assert_eq!(objective.scope, Scope::During(Phase::Steady));
        let table = [
            ("errors<0.1%", Measure::Errors, None, Limit::Share(0.001), Scope::Run),
            (
                "lost_writes(orders) == 0",
                Measure::LostWrites,
                Some("orders"),
                Limit::Count(0),
                Scope::Run,
            ),
            (
                "throughput >= 4_500/s",
                Measure::Throughput,
                None,
                Limit::Rate(4500.0),
                Scope::Run,
            ),
            (
                "share(region=eu-west-1) >= 95% after blackout",
                Measure::Share,
                Some("region=eu-west-1"),
                Limit::Share(0.95),
                Scope::Experiment("blackout".to_owned()),
            ),
            (
                "shift(dns) <= 2m30s during blackout",
                Measure::Shift,
                Some("dns"),
                Limit::Duration(Duration::from_secs(150)),
                Scope::Experiment("blackout".to_owned()),
            ),
        ];
        for (text, measure, subject, limit, scope) in table {
            let objective = read(text).unwrap_or_else(|w| panic!("{text}: {}", w.message));
            assert_eq!(objective.measure, measure, "{text}");
            assert_eq!(objective.subject.as_deref(), subject, "{text}");
            assert_eq!(objective.scope, scope, "{text}");
            match (objective.limit, limit) {
                (Limit::Share(is), Limit::Share(should)) => assert!((is - should).abs() < 1e-12, "{text}"),
                (is, should) => assert_eq!(is, should, "{text}"),
            }
        }
    }

    #[test]
    fn mistakes_say_what_stands_where() {
        let table = [
            ("", "the line ends where a measure", 0),
            ("latancy p99 < 1s", "unknown measure", 0),
            ("latency p99 300ms", "not a comparison", 12),
            ("latency p99 <", "the line ends where a limit", 12),
            ("latency p101 < 1s", "not a statistic", 8),
            ("latency < 5%", "latency is a duration", 10),
            ("errors < 300ms", "errors is a share", 9),
            ("errors p99 < 1%", "errors has no p99", 7),
            ("self_heal <= 5m", "of which role", 0),
            ("recovery(order <= 5m", "never closed", 0),
            ("errors < 1% during stedy", "neither a phase", 19),
            ("errors < 1% after nothing", "no experiment", 18),
            ("errors < 1% please", "does not belong here", 12),
            ("errors < 1% during ramp ramp", "does not belong here", 24),
        ];
        for (text, message, offset) in table {
            let Err(wrong) = read(text) else {
                panic!("{text} was accepted")
            };
            assert!(wrong.message.contains(message), "{text}: {}", wrong.message);
            assert_eq!(wrong.offset, offset, "{text}");
        }
    }

    #[test]
    fn stop_conditions_need_their_duration() {
        let read = |text| Reader::new(text, &[], None).condition();
        assert!(matches!(read("errors > 90% for 3m"), Ok(c) if c.lasts == Duration::from_secs(180)));
        for bad in [
            "errors > 90%",
            "errors > 90% for",
            "errors > 90% fro 3m",
            "throughput > 5/s for 1m",
            "errors(x) > 5% for 1m",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(latency|errors|[a-zé ]{0,6})[()<>=%0-9a-zé .]{0,40}") {
            let _ = read(&text);
            let _ = Reader::new(&text, &[], Some("x")).condition();
        }

        #[test]
        fn limits_survive_a_round_trip(ms in 1u64..100_000, percentile in 1u32..100) {
            let text = format!("latency p{percentile} <= {ms}ms");
            let objective = read(&text).map_err(|w| TestCaseError::fail(w.message))?;
            prop_assert_eq!(objective.limit, Limit::Duration(Duration::from_millis(ms)));
            prop_assert_eq!(objective.statistic, Some(Statistic::Percentile(f64::from(percentile))));
            prop_assert_eq!(objective.text, text);
        }
    }

    #[test]
    fn the_readme_names_every_measure_and_phase() {
        let readme = include_str!("../../README.md");
        let names = measures().map(|(name, ..)| name).chain(PHASES.map(|(name, _)| name));
        for name in names {
            assert!(readme.contains(&format!("`{name}`")), "{name}");
        }
    }
}
