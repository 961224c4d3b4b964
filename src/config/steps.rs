//! The steps of a journey as written: requests, pauses, and what has steps of its own (`repeat`, `if`, `group`, `chance`,
//! `together`). Reads the nesting; a single request is read in `journey`.
//!
//! What a branch extracts is known only within it, unless both ways of an `if` extract it; loops go round at least once,
//! so what they extract is known after them. What a part of a `together` extracts is known to its own steps and after the
//! `together`, not to the other parts.

use super::condition;
use super::decode::{self, Fields};
use super::error::{Mistake, Sink};
use super::files::Files;
use super::flow::{Flow, Part, Passes, amount};
use super::journey::{self, Step, Usual};
use super::node::{Node, Value};
use super::source::Spanned;
use super::template::{self, Piece};
use super::wait;

/// Steps within steps within steps; deeper than anyone reads.
const DEPTH_MAX: usize = 8;
/// Requests and pauses that one pass makes at most.
const PASS_MAX: f64 = 100_000.0;
/// Parts of one `together`; each takes a row of memory while it is under way.
const PARTS_MAX: usize = 256;
/// What makes a step something else than a request.
pub(super) const BLOCKS: [&str; 5] = ["repeat", "if", "group", "pause", "together"];

/// A part of a flow as written.
type Written = Flow<Vec<Piece>>;

/// What is read while walking through the steps of one journey.
pub(super) struct Walk<'w> {
    /// The journey.
    pub(super) name: &'w str,
    /// All names of steps so far, other journeys' too.
    pub(super) names: &'w mut Vec<String>,
    /// What steps do that say nothing else.
    pub(super) usual: &'w Usual,
    /// What stands in files.
    pub(super) files: &'w Files,
    /// What is known here: columns of feeders, and what every way to here has extracted.
    pub(super) variables: Vec<String>,
    /// The requests so far.
    pub(super) steps: Vec<Step>,
    /// The names of the groups so far.
    pub(super) groups: Vec<Spanned<String>>,
    /// How many were written, mistaken ones included.
    written: usize,
    depth: usize,
    /// Within a part of a `together`.
    is_part: bool,
}

impl<'w> Walk<'w> {
    /// At the first step.
    pub(super) fn new(
        name: &'w str,
        names: &'w mut Vec<String>,
        usual: &'w Usual,
        files: &'w Files,
        variables: Vec<String>,
    ) -> Self {
        Self {
            name,
            names,
            usual,
            files,
            variables,
            steps: Vec::new(),
            groups: Vec::new(),
            written: 0,
            depth: 0,
            is_part: false,
        }
    }

    /// The flow of a whole journey.
    pub(super) fn journey(&mut self, node: &Node, sink: &mut Sink) -> Vec<Written> {
        let flow = self.list(node, sink);
        let most = amount(&flow, Passes::Most, &|_| 1.0);
        if most > PASS_MAX {
            let message = format!("a pass of journey {:?} may take {most} requests and pauses", self.name);
            let hint = format!("at most {PASS_MAX} are made; lower what loops repeat, or let the passes repeat them");
            sink.push(Mistake::at(&node.place, message).hint(hint));
        }
        let asks = amount(&flow, Passes::Most, &|part| {
            f64::from(u8::from(matches!(part, Part::Request)))
        });
        if asks == 0.0 && !flow.is_empty() {
            let message = format!("journey {:?} sends nothing", self.name);
            sink.push(Mistake::at(&node.place, message).hint("add `- get: /`"));
        }
        flow
    }

    fn list(&mut self, node: &Node, sink: &mut Sink) -> Vec<Written> {
        let items = decode::list(node, "steps", sink);
        items.iter().flat_map(|item| self.item(item, sink)).collect()
    }

    fn item(&mut self, node: &Node, sink: &mut Sink) -> Vec<Written> {
        let Some(chance) = node.get("chance") else {
            return self.certain(node, sink);
        };
        let share = self::chance(chance, sink);
        let known = self.variables.clone();
        let steps = self.certain(node, sink);
        self.variables = known;
        match share {
            Some(share) if !steps.is_empty() => vec![Flow::Chance { share, steps }],
            _ => Vec::new(),
        }
    }

    /// A step that every pass takes that comes here; a session is several.
    fn certain(&mut self, node: &Node, sink: &mut Sink) -> Vec<Written> {
        let has = |key: &str| node.get(key).is_some();
        // The steps of a session are its messages.
        let has_steps = matches!(node.value, Value::Map(_)) && has("steps") && !has("websocket");
        let is_block = has_steps || BLOCKS.iter().any(|block| has(block));
        match is_block {
            true => self.block(node, sink).into_iter().collect(),
            false => self.requests(node, sink),
        }
    }

    fn block(&mut self, node: &Node, sink: &mut Sink) -> Option<Written> {
        let mut fields = Fields::of(node, "a step", sink)?;
        fields.take("chance");
        if let Some(wait) = fields.take("pause") {
            fields.finish(sink);
            return wait::wait(wait, "pause", sink).map(Flow::Pause);
        }
        if self.depth == DEPTH_MAX {
            let hint = "write the journey flatter";
            let message = format!("steps stand within steps more than {DEPTH_MAX} deep");
            sink.push(Mistake::at(&node.place, message).hint(hint));
            return None;
        }
        self.depth += 1;
        let kinds = ["repeat", "if", "group", "together"];
        let found = kinds.map(|kind| fields.take(kind));
        let part = match found {
            [Some(repeat), None, None, None] => self.repeat(repeat, node, &mut fields, sink),
            [None, Some(asked), None, None] => self.either(asked, &mut fields, sink),
            [None, None, Some(name), None] => self.group(name, &mut fields, sink),
            [None, None, None, Some(parts)] => self.together(parts, &mut fields, sink),
            [None, None, None, None] => self.some(node, &mut fields, sink),
            _ => {
                let hint = "put one among the steps of the other";
                let message = "a step is one of `repeat`, `if`, `group` and `together`";
                sink.push(Mistake::at(&node.place, message).hint(hint));
                None
            }
        };
        self.depth -= 1;
        fields.finish(sink);
        part
    }

    fn requests(&mut self, node: &Node, sink: &mut Sink) -> Vec<Written> {
        self.written += 1;
        let derived = match self.written {
            1 => self.name.to_owned(),
            number => format!("{}.{number}", self.name),
        };
        let steps = journey::step(derived, node, &self.variables, self.usual, self.files, sink);
        let first = self.steps.len();
        for step in steps {
            if self.names.contains(&step.name) {
                let hint = "give the step another `name`";
                sink.push(Mistake::at(&node.place, format!("two steps are called {:?}", step.name)).hint(hint));
            }
            self.names.push(step.name.clone());
            self.variables
                .extend(step.extract.iter().map(|extract| extract.name.clone()));
            self.steps.push(step);
        }
        (first..self.steps.len()).map(Flow::Request).collect()
    }

    fn inner<'n>(&mut self, fields: &mut Fields<'n>, sink: &mut Sink) -> Option<(&'n Node, Vec<Written>)> {
        let node = fields.require("steps", "[{ get: / }]", sink)?;
        let steps = self.list(node, sink);
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            sink.push(Mistake::at(&node.place, "there are no steps").hint("add `- get: /`"));
        }
        Some((node, steps))
    }

    /// Steps that only stand together to have one chance.
    fn some(&mut self, node: &Node, fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Written> {
        let (_, steps) = self.inner(fields, sink)?;
        if node.get("chance").is_none() {
            let hint = "add `repeat: 3`, `if: \"{{ state }} == new\"` or `chance: 30%`";
            sink.push(Mistake::at(&node.place, "these steps are not said to be anything").hint(hint));
        }
        Some(Flow::Repeat { min: 1, max: 1, steps })
    }

    fn together(&mut self, node: &Node, fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Written> {
        let at_most = fields.take("at_most").map(|node| places(node, sink));
        if std::mem::replace(&mut self.is_part, true) {
            let hint = "put its parts among those of the outer one";
            sink.push(Mistake::at(&node.place, "a `together` stands within another").hint(hint));
            return None;
        }
        let items = decode::list(node, "together", sink);
        if items.is_empty() && matches!(node.value, Value::List(_)) {
            sink.push(Mistake::at(&node.place, "there is nothing to do together").hint("add `- get: /`"));
        }
        if let Some(over) = items.get(PARTS_MAX) {
            let message = format!("a `together` has at most {PARTS_MAX} parts, not {}", items.len());
            let hint = "put several requests into one part: `- steps: [...]`";
            sink.push(Mistake::at(&over.place, message).hint(hint));
        }
        let parts = self.parts(items, sink);
        self.is_part = false;
        Some(Flow::Together {
            parts,
            at_most: at_most.map_or(Some(None), |most| most.map(Some))?,
        })
    }

    /// The parts of a `together`, each read as if it were alone.
    fn parts(&mut self, items: &[Node], sink: &mut Sink) -> Vec<Vec<Written>> {
        let (known, before) = (self.variables.clone(), sink.mistakes.len());
        let (mut parts, mut brought) = (Vec::new(), Vec::new());
        let mut names: Vec<String> = Vec::new();
        for item in items {
            let first = self.steps.len();
            parts.push(self.part(item, sink));
            brought.extend(self.variables.drain(known.len()..));
            self.variables.clone_from(&known);
            let extracts = self.steps[first..].iter().flat_map(|step| &step.extract);
            let own: Vec<String> = extracts.map(|extract| extract.name.clone()).collect();
            if let Some(name) = own.iter().find(|name| names.contains(name)) {
                let hint = "choose another name: after the `together` nobody would know which one is meant";
                sink.push(Mistake::at(&item.place, format!("two parts extract {name:?}")).hint(hint));
            }
            names.extend(own);
        }
        for mistake in &mut sink.mistakes[before..] {
            if names
                .iter()
                .any(|name| mistake.message == template::unknown_variable(name))
            {
                let hint = "parts of a `together` do not see one another's values: put this step after it, or into the \
                            `steps` of the part that extracts it";
                mistake.hint = Some(hint.to_owned());
            }
        }
        self.variables.extend(brought);
        parts
    }

    /// A part of a `together`: any step, or several in order as `steps` that are nothing else.
    fn part(&mut self, node: &Node, sink: &mut Sink) -> Vec<Written> {
        let has = |key: &str| node.get(key).is_some();
        let is_row = has("steps") && !BLOCKS.iter().chain(&["chance", "websocket"]).any(|key| has(key));
        if !is_row {
            return self.item(node, sink);
        }
        let Some(mut fields) = Fields::of(node, "a part of a `together`", sink) else {
            return Vec::new();
        };
        let steps = self.inner(&mut fields, sink);
        fields.finish(sink);
        steps.map(|(_, steps)| steps).unwrap_or_default()
    }

    fn group(&mut self, name: &Node, fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Written> {
        let name = decode::title(name, sink);
        if let Some(name) = &name {
            if self.names.contains(&name.value) {
                let hint = "give the group a name of its own";
                let message = format!("a step or a group is called {:?} already", name.value);
                sink.push(Mistake::at(&name.place, message).hint(hint));
            }
            self.names.push(name.value.clone());
            self.groups.push(name.clone());
        }
        let (_, steps) = self.inner(fields, sink)?;
        Some(Flow::Group {
            name: name?.value,
            steps,
        })
    }

    fn either(&mut self, asked: &Node, fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Written> {
        let condition = condition::condition(asked, &self.variables, sink);
        let known = self.variables.clone();
        let steps = self.inner(fields, sink);
        let one = std::mem::replace(&mut self.variables, known);
        let otherwise = fields
            .take("else")
            .map(|node| self.list(node, sink))
            .unwrap_or_default();
        self.variables.retain(|name| one.contains(name));
        Some(Flow::If {
            condition: condition?,
            steps: steps?.1,
            otherwise,
        })
    }

    fn repeat(&mut self, repeat: &Node, node: &Node, fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Written> {
        let first = self.steps.len();
        let inner = self.inner(fields, sink);
        let part = match repeat.value {
            Value::Map(_) => self.until(repeat, first, inner?.1, sink)?,
            _ => {
                let (min, max) = rounds(repeat, sink)?;
                Flow::Repeat {
                    min,
                    max,
                    steps: inner?.1,
                }
            }
        };
        if amount(std::slice::from_ref(&part), Passes::Most, &|_| 1.0) == 0.0 {
            let hint = "add `- get: /` or a `pause` to its steps";
            sink.push(Mistake::at(&node.place, "the loop sends nothing and takes no time").hint(hint));
        }
        Some(part)
    }

    fn until(&mut self, node: &Node, first: usize, steps: Vec<Written>, sink: &mut Sink) -> Option<Written> {
        let mut fields = Fields::of(node, "`repeat`", sink)?;
        let until = fields.require("until", "\"{{ state }} == done\"", sink);
        let at_most = fields
            .require("at_most", "20", sink)
            .and_then(|node| count(node, decode::count(node, sink)?, sink));
        let pause = fields.take("pause").and_then(|node| wait::wait(node, "pause", sink));
        fields.finish(sink);
        let until = until?;
        let condition = condition::condition(until, &self.variables, sink)?;
        let within = self.steps[first..].iter().flat_map(|step| &step.extract);
        let set: Vec<String> = within.map(|extract| extract.name.clone()).collect();
        if !condition::may_change(&condition, &set) {
            let hint = "extract what the condition asks for in one of its steps";
            sink.push(Mistake::at(&until.place, "nothing in the loop changes what it waits for").hint(hint));
        }
        Some(Flow::Until {
            condition,
            at_most: at_most?,
            pause,
            steps,
        })
    }
}

/// The share of passes that take a step.
fn chance(node: &Node, sink: &mut Sink) -> Option<f64> {
    let share = decode::share(node, sink)?;
    if share <= 0.0 || share >= 1.0 {
        let hint = "write a share such as 30%, or leave `chance` or the step out";
        let message = "a chance is more than 0% and less than 100%";
        sink.push(Mistake::at(&node.place, message).hint(hint));
        return None;
    }
    Some(share)
}

/// How often a loop goes round: `3` or `2..5`.
fn rounds(node: &Node, sink: &mut Sink) -> Option<(u32, u32)> {
    let text = decode::text(node, sink)?;
    let (low, high) = text.split_once("..").unwrap_or((&text, &text));
    let read = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    let (Some(low), Some(high)) = (read(low), read(high)) else {
        let hint = "write 3, 2..5 or { until: \"{{ state }} == done\", at_most: 20, pause: 1s }";
        sink.push(Mistake::at(&node.place, format!("{text:?} is not a number of rounds")).hint(hint));
        return None;
    };
    if low > high {
        let hint = format!("write {high}..{low}");
        sink.push(Mistake::at(&node.place, format!("{text:?} ends before it begins")).hint(hint));
        return None;
    }
    Some((count(node, low, sink)?, count(node, high, sink)?))
}

/// How many parts go on at once, within bounds.
fn places(node: &Node, sink: &mut Sink) -> Option<u32> {
    let places = decode::count(node, sink)?;
    match u32::try_from(places) {
        Ok(places) if places > 0 && places as usize <= PARTS_MAX => Some(places),
        _ => {
            let hint = "write 6, as browsers have it for one host, or leave it out for all at once";
            let message = format!("1 to {PARTS_MAX} parts go on at once, not {places}");
            sink.push(Mistake::at(&node.place, message).hint(hint));
            None
        }
    }
}

/// Rounds of a loop, within bounds.
fn count(node: &Node, rounds: u64, sink: &mut Sink) -> Option<u32> {
    match u32::try_from(rounds) {
        Ok(rounds) if rounds > 0 && f64::from(rounds) <= PASS_MAX => Some(rounds),
        _ => {
            let hint = "for steps that only some passes take write `chance: 50%`";
            let message = format!("a loop goes round 1 to {PASS_MAX} times, not {rounds}");
            sink.push(Mistake::at(&node.place, message).hint(hint));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::flow::Flow;
    use crate::config::{Config, ConfigErrors, Sources, load};

    fn loaded(steps: &str) -> Result<Config, ConfigErrors> {
        let profile = format!(
            "name: x\njourneys: {{ j: {{ think: 1s, steps: {steps} }} }}\nstages: [{{ tier: 1, users: 5, hold: 1m }}]\n"
        );
        let sources = Sources {
            profile: ("x.yaml".to_owned(), profile),
            ..Sources::default()
        };
        load(&sources, &[])
    }

    const ASK: &str = "{ get: /a, extract: { state: { json: $.s } } }";

    #[test]
    fn steps_stand_within_steps() {
        let steps = format!(
            "[{ASK}, {{ if: '{{{{ state }}}} == new', steps: [{{ put: /b, extract: {{ n: {{ json: $.n }} }} }}],
             else: [{{ get: /c, extract: {{ n: {{ json: $.n }} }} }}] }}, {{ pause: 1s..3s }},
             {{ get: '/d/{{{{ n }}}}', chance: 30% }},
             {{ chance: 50%, repeat: 2..5, steps: [{{ get: /e, extract: {{ m: {{ json: $.m }} }} }}, {{ get: '/{{{{ m }}}}' }}] }},
             {{ repeat: {{ until: '{{{{ poll }}}} >= 3', at_most: 20, pause: 1s }},
                steps: [{{ get: /f, extract: {{ poll: {{ json: $.p }} }} }}] }}, {{ get: '/{{{{ poll }}}}' }}]"
        );
        let config = loaded(&steps).unwrap_or_else(|errors| panic!("{errors}"));
        let journey = &config.profile.journeys[0];
        let names: Vec<&str> = journey.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["j", "j.2", "j.3", "j.4", "j.5", "j.6", "j.7", "j.8"]);
        // Of each pair of branches half, of each loop the middle: 1 + 1 + 0.3 + 3.5 + 10.5 + 1.
        assert!((journey.requests() - 17.3).abs() < 1e-9, "{}", journey.requests());
        // Think time, a pause of 2 s, and one between each two rounds.
        assert!((journey.cycle() - 12.5).abs() < 1e-9, "{}", journey.cycle());
    }

    #[test]
    fn a_session_is_taken_or_repeated_whole() {
        let session = "websocket: /chat, steps: [{ receive: any, extract: { n: { json: $.n } } }, close]";
        let plain = "websocket: /chat, steps: [ping, close]";
        let steps = format!(
            "[{{ {plain}, name: a }}, {{ {plain}, name: b, chance: 50% }}, {{ repeat: 2, steps: [{{ {plain}, name: c }}] }}]"
        );
        let config = loaded(&steps).unwrap_or_else(|errors| panic!("{errors}"));
        let journey = &config.profile.journeys[0];
        assert_eq!(journey.steps.len(), 9);
        assert_eq!(journey.flow.len(), 5, "{:?}", journey.flow);
        // 3, half of 3, and twice 3.
        assert!((journey.requests() - 10.5).abs() < 1e-9, "{}", journey.requests());
        let only = loaded(&format!("[{{ {session} }}]")).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(
            only.profile.journeys[0].flow.is_empty(),
            "a session alone is a row of requests"
        );
        let after = loaded(&format!("[{{ {session}, chance: 50% }}, {{ get: '/{{{{ n }}}}' }}]"));
        let errors = after.expect_err("what some passes extract").to_string();
        assert!(errors.contains("variable \"n\""), "{errors}");
    }

    #[test]
    fn parts_of_a_together_are_steps_of_any_kind_or_rows_of_them() {
        let steps = format!(
            "[{{ get: /page, extract: {{ user: {{ header: user }} }} }},
              {{ together: [{{ get: /app.css }}, {{ get: /app.js, chance: 50% }},
                 {{ steps: [{ASK}, {{ pause: 2s }}, {{ get: '/cart/{{{{ state }}}}/{{{{ user }}}}' }}] }},
                 {{ group: images, steps: [{{ get: /a.png }}, {{ repeat: 2, steps: [{{ get: /b.png }}] }}] }},
                 {{ websocket: /live, steps: [ping, close] }}], at_most: 6 }},
              {{ repeat: 2, steps: [{{ together: [{{ get: '/{{{{ state }}}}' }}], chance: 50% }}] }}]"
        );
        let config = loaded(&steps).unwrap_or_else(|errors| panic!("{errors}"));
        let journey = &config.profile.journeys[0];
        let [_, Flow::Together { parts, at_most }, _] = journey.flow.as_slice() else {
            panic!("{:?}", journey.flow);
        };
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!((lengths, *at_most), (vec![1, 1, 3, 1, 3], Some(6)));
        let names: Vec<&str> = journey.groups.iter().map(|group| group.value.as_str()).collect();
        assert_eq!(names, ["images"]);
        // 1 + (1 + 0.5 + 2 + 3 + 3) + 1, and the think time with the pause in one of the parts.
        assert!((journey.requests() - 11.5).abs() < 1e-9, "{}", journey.requests());
        assert!((journey.cycle() - 3.0).abs() < 1e-9, "{}", journey.cycle());
    }

    #[test]
    fn mistakes_of_a_together_are_said_with_line_and_remedy() {
        let together = |parts: &str| format!("[{{ get: / }},\n  {{ together: {parts} }}]");
        let many = |count: usize| vec!["{ get: / }"; count].join(",\n    ");
        let apart = "do not see one another's values";
        let table = [
            (together("[]"), "there is nothing to do together", 3),
            (together("{ get: / }"), "together is a list", 3),
            (
                together("[{ get: / }], at_most: 0"),
                "1 to 256 parts go on at once, not 0",
                3,
            ),
            (together("[{ get: / }], at_most: 257"), "leave it out", 3),
            (together("[{ get: / }], at_most: few"), "a whole number", 3),
            (together("[{ get: / }], steps: []"), "\"steps\"", 3),
            (together(&format!("[{}]", many(257))), "at most 256 parts, not 257", 259),
            (
                together("[{ get: / },\n { together: [{ get: / }] }]"),
                "put its parts among those of the outer one",
                4,
            ),
            (
                together("[{ get: / },\n { repeat: 2, steps: [{ get: / },\n { together: [{ get: / }] }] }]"),
                "stands within another",
                5,
            ),
            (together(&format!("[{ASK},\n {{ get: '/{{{{ state }}}}' }}]")), apart, 4),
            (together(&format!("[{{ get: '/{{{{ state }}}}' }},\n {ASK}]")), apart, 3),
            (
                together(&format!(
                    "[{ASK},\n {{ if: '{{{{ state }}}} == x', steps: [{{ get: / }}] }}]"
                )),
                apart,
                4,
            ),
            (together(&format!("[{ASK},\n {ASK}]")), "two parts extract \"state\"", 4),
            (
                together(&format!("[{{ steps: [{ASK}], chance: 50% }},\n {ASK}]")),
                "nobody would know which",
                4,
            ),
            (
                format!("[{ASK},\n {{ together: [{{ get: / }},\n {ASK}] }}]"),
                "two variables are called",
                4,
            ),
            (
                format!("[{{ together: [{{ steps: [{ASK}], chance: 50% }}] }},\n {{ get: '/{{{{ state }}}}' }}]"),
                "variable \"state\"",
                3,
            ),
            (together("[{ get: / },\n { steps: [] }]"), "there are no steps", 4),
            (
                together("[{ get: / },\n { steps: [{ get: / }], step: 1 }]"),
                "\"step\"",
                4,
            ),
            (together("[{ get: / },\n get]"), "a mapping", 4),
            (
                "[{ get: / },\n { together: [{ get: / }], repeat: 2, steps: [{ get: / }] }]".to_owned(),
                "one of `repeat`, `if`, `group` and `together`",
                3,
            ),
            ("[{ get: / },\n { get: /, at_most: 2 }]".to_owned(), "\"at_most\"", 3),
        ];
        for (steps, said, line) in table {
            let errors = loaded(&steps).expect_err(&steps).to_string();
            assert!(errors.contains(said), "{steps}: {said} is not in\n{errors}");
            assert!(
                errors.contains(&format!("--> x.yaml:{line}:")),
                "{steps}: not line {line} in\n{errors}"
            );
        }
    }

    #[test]
    fn mistakes_of_the_flow_are_said_with_place_and_remedy() {
        let deep = (0..9).fold("[{ get: / }]".to_owned(), |steps, _| {
            format!("[{{ repeat: 2, steps: {steps} }}]")
        });
        let until = |until: &str| format!("[{{ repeat: {until}, steps: [{ASK}] }}]");
        let asked = |condition: &str| format!("[{ASK}, {{ if: \"{condition}\", steps: [{{ get: / }}] }}]");
        let table = [
            ("[{ repeat: 0, steps: [{ get: / }] }]".to_owned(), "goes round 1 to"),
            ("[{ repeat: 5..2, steps: [{ get: / }] }]".to_owned(), "write 2..5"),
            (
                "[{ repeat: often, steps: [{ get: / }] }]".to_owned(),
                "not a number of rounds",
            ),
            ("[{ repeat: 3 }]".to_owned(), "steps"),
            (
                "[{ get: / }, { repeat: 3, steps: [] }]".to_owned(),
                "there are no steps",
            ),
            (
                "[{ get: / }, { repeat: 3, steps: [{ repeat: 2, steps: [] }] }]".to_owned(),
                "sends nothing and takes no time",
            ),
            ("[{ pause: 1s }]".to_owned(), "\"j\" sends nothing"),
            ("[{ get: / }, { pause: soon }]".to_owned(), "is not a pause"),
            ("[{ get: / }, { pause: 1s, steps: [] }]".to_owned(), "\"steps\""),
            ("[{ get: /, chance: 0% }]".to_owned(), "more than 0%"),
            ("[{ get: /, chance: 100% }]".to_owned(), "less than 100%"),
            ("[{ steps: [{ get: / }] }]".to_owned(), "not said to be anything"),
            (
                "[{ repeat: 2, if: '{{ random(1, 2) }} == 1', steps: [{ get: / }] }]".to_owned(),
                "one of `repeat`, `if`, `group` and `together`",
            ),
            (
                "[{ repeat: 1000, steps: [{ repeat: 1000, steps: [{ get: / }] }] }]".to_owned(),
                "lower what loops repeat",
            ),
            (deep, "more than 8 deep"),
            ("[{ get: / }, { group: a, steps: [] }]".to_owned(), "there are no steps"),
            (
                "[{ group: a, steps: [{ get: / }] }, { get: /2, name: a }]".to_owned(),
                "give the step another `name`",
            ),
            (
                "[{ get: /, name: a }, { group: a, steps: [{ get: /2 }] }]".to_owned(),
                "is called \"a\" already",
            ),
            (
                "[{ get: /, name: a }, { group: j, steps: [{ get: /2 }] }]".to_owned(),
                "\"j\" is a journey",
            ),
            (until("{ until: '{{ state }} == done' }"), "at_most"),
            (until("{ at_most: 3 }"), "until"),
            (until("{ until: '{{ state }} == done', at_most: 0 }"), "goes round 1 to"),
            (
                format!(
                    "[{ASK}, {{ repeat: {{ until: '{{{{ state }}}} == x', at_most: 3 }}, steps: [{{ get: / }}] }}]"
                ),
                "nothing in the loop changes",
            ),
            (asked("{{ state }}"), "compares nothing"),
            (asked("new == new"), "the same for everyone"),
            (asked("{{ unique }} == new"), "only for what the pass knows"),
            (asked("{{ stat }} == new"), "did you mean \"state\""),
            (
                format!("[{{ chance: 10%, steps: [{ASK}] }}, {{ get: '/{{{{ state }}}}' }}]"),
                "variable \"state\"",
            ),
            (
                format!(
                    "[{ASK}, {{ if: '{{{{ state }}}} == x', steps: [{{ get: /, extract: {{ n: {{ json: $.n }} }} }}] }}, {{ get: '/{{{{ n }}}}' }}]"
                ),
                "variable \"n\"",
            ),
            (
                "[{ get: / }, { chance: 10%, repeat: 3, step: [{ get: / }], steps: [{ get: / }] }]".to_owned(),
                "\"step\"",
            ),
        ];
        for (steps, said) in table {
            let errors = loaded(&steps).expect_err(&steps).to_string();
            assert!(errors.contains(said), "{steps}: {said} is not in\n{errors}");
            assert!(errors.contains("--> "), "{steps}: no place in\n{errors}");
        }
    }
}
