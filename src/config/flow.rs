//! The flow of a journey: which of its requests come when, how often and on what condition.
//! Says what was written and how much it means; following it is the generator's work.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::wait::Wait;

/// One part of a journey's flow; `T` is a text with holes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow<T> {
    /// The request of this index among the journey's steps.
    Request(usize),
    /// Nothing for so long, real time.
    Pause(Wait),
    /// Steps that are also timed together.
    Group {
        /// Its name.
        name: String,
        /// What is timed.
        steps: Vec<Flow<T>>,
    },
    /// Some passes take these steps, the others go on after them.
    Chance {
        /// Share of passes, above zero and below one.
        share: f64,
        /// What they do.
        steps: Vec<Flow<T>>,
    },
    /// One way or the other.
    If {
        /// What is asked.
        condition: Condition<T>,
        /// Where it holds.
        steps: Vec<Flow<T>>,
        /// Where it does not.
        otherwise: Vec<Flow<T>>,
    },
    /// So many times, any number between both ends being as likely.
    Repeat {
        /// Fewest, at least one.
        min: u32,
        /// Most.
        max: u32,
        /// What is repeated.
        steps: Vec<Flow<T>>,
    },
    /// Until a condition holds after a round.
    Until {
        /// What is asked after each round.
        condition: Condition<T>,
        /// Rounds at most.
        at_most: u32,
        /// Between two rounds, real time.
        pause: Option<Wait>,
        /// What is repeated.
        steps: Vec<Flow<T>>,
    },
    /// All of these at the same time; it goes on when all have ended.
    Together {
        /// Each of them is a row of steps.
        parts: Vec<Vec<Flow<T>>>,
        /// How many at once; all when none.
        at_most: Option<u32>,
    },
}

/// Two texts held against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition<T> {
    /// The one.
    pub left: T,
    /// How they are to be.
    pub relation: Relation,
    /// The other.
    pub right: T,
}

/// How two texts are to each other; the last four only hold between numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// The same text.
    #[serde(rename = "==")]
    Is,
    /// Another text.
    #[serde(rename = "!=")]
    IsNot,
    /// A smaller number.
    #[serde(rename = "<")]
    Less,
    /// No larger number.
    #[serde(rename = "<=")]
    AtMost,
    /// A larger number.
    #[serde(rename = ">")]
    More,
    /// No smaller number.
    #[serde(rename = ">=")]
    AtLeast,
}

impl Relation {
    /// Whether it is between these.
    #[must_use]
    pub fn holds(self, left: &[u8], right: &[u8]) -> bool {
        match self {
            Relation::Is => left == right,
            Relation::IsNot => left != right,
            Relation::Less => order(left, right).is_some_and(Ordering::is_lt),
            Relation::AtMost => order(left, right).is_some_and(Ordering::is_le),
            Relation::More => order(left, right).is_some_and(Ordering::is_gt),
            Relation::AtLeast => order(left, right).is_some_and(Ordering::is_ge),
        }
    }
}

/// How two numbers stand to each other, whole ones exactly; none where one of them is no number.
fn order(left: &[u8], right: &[u8]) -> Option<Ordering> {
    let text = |text| Some(std::str::from_utf8(text).ok()?.trim());
    let (left, right) = (text(left)?, text(right)?);
    let whole = |text: &str| text.parse::<i128>().ok();
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.parse::<f64>().ok()?.partial_cmp(&right.parse::<f64>().ok()?),
    }
}

/// Which passes an amount is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// The one that does least.
    Least,
    /// The mean, where nobody knows which way answers lead: half take either branch, and loops end half way.
    Mean,
    /// The one that does most.
    Most,
}

/// What takes part in an amount.
#[derive(Clone, Copy, Debug)]
pub enum Part<'f> {
    /// A request.
    Request,
    /// A pause.
    Pause(&'f Wait),
}

/// How the parts of a `together` count.
#[derive(Clone, Copy)]
enum Count {
    /// Each of them.
    All,
    /// As long as it takes until all have ended.
    Longest,
}

/// What `of` gives for each request and pause of `flow`, summed up over a pass.
pub fn amount<T>(flow: &[Flow<T>], passes: Passes, of: &impl Fn(Part<'_>) -> f64) -> f64 {
    all(flow, passes, Count::All, of)
}

/// The same where `of` gives times: of what goes on together the longest counts. Among [`Passes::Mean`] that is a little
/// less than the mean of the longest.
pub fn time<T>(flow: &[Flow<T>], passes: Passes, of: &impl Fn(Part<'_>) -> f64) -> f64 {
    all(flow, passes, Count::Longest, of)
}

fn all<T>(flow: &[Flow<T>], passes: Passes, count: Count, of: &impl Fn(Part<'_>) -> f64) -> f64 {
    flow.iter().map(|part| one(part, passes, count, of)).sum()
}

fn one<T>(flow: &Flow<T>, passes: Passes, count: Count, of: &impl Fn(Part<'_>) -> f64) -> f64 {
    let amount = |steps: &[Flow<T>]| all(steps, passes, count, of);
    let between = |least: f64, mean: f64, most: f64| match passes {
        Passes::Least => least,
        Passes::Mean => mean,
        Passes::Most => most,
    };
    match flow {
        Flow::Request(_) => of(Part::Request),
        Flow::Pause(wait) => of(Part::Pause(wait)),
        Flow::Group { steps, .. } => amount(steps),
        Flow::Chance { share, steps } => between(0.0, *share, 1.0) * amount(steps),
        Flow::If { steps, otherwise, .. } => {
            let (one, other) = (amount(steps), amount(otherwise));
            between(one.min(other), (one + other) / 2.0, one.max(other))
        }
        Flow::Repeat { min, max, steps } => {
            let (min, max) = (f64::from(*min), f64::from(*max));
            between(min, (min + max) / 2.0, max) * amount(steps)
        }
        Flow::Until {
            at_most, pause, steps, ..
        } => {
            let most = f64::from(*at_most);
            let rounds = between(1.0, (1.0 + most) / 2.0, most);
            let pause = pause.as_ref().map_or(0.0, |wait| of(Part::Pause(wait)));
            rounds * amount(steps) + (rounds - 1.0) * pause
        }
        Flow::Together { parts, at_most } => {
            let parts = parts.iter().map(|part| amount(part));
            match count {
                Count::All => parts.sum(),
                Count::Longest => until_all_ended(parts, *at_most),
            }
        }
    }
}

/// How long it takes until parts of these lengths have ended, which begin in their order, so many at once.
fn until_all_ended(lengths: impl Iterator<Item = f64>, at_most: Option<u32>) -> f64 {
    let mut ends: Vec<f64> = Vec::new();
    for length in lengths {
        let has_room = at_most.is_none_or(|most| ends.len() < most as usize);
        match ends.iter_mut().min_by(|one, other| one.total_cmp(other)) {
            Some(first) if !has_room => *first += length,
            _ => ends.push(length),
        }
    }
    ends.into_iter().fold(0.0, f64::max)
}

/// How many requests one pass has under way at once, at most.
pub fn at_once<T>(flow: &[Flow<T>]) -> usize {
    let of = |part: &Flow<T>| match part {
        Flow::Request(_) => 1,
        Flow::Pause(_) => 0,
        Flow::Group { steps, .. }
        | Flow::Chance { steps, .. }
        | Flow::Repeat { steps, .. }
        | Flow::Until { steps, .. } => at_once(steps),
        Flow::If { steps, otherwise, .. } => at_once(steps).max(at_once(otherwise)),
        Flow::Together { parts, at_most } => {
            let all = parts.iter().map(|part| at_once(part)).sum::<usize>();
            at_most.map_or(all, |most| all.min(most as usize))
        }
    };
    flow.iter().map(of).max().unwrap_or_default()
}

/// The names of the groups of `flow`, as they are written.
pub fn groups<T>(flow: &[Flow<T>]) -> Vec<&str> {
    flow.iter().flat_map(groups_of).collect()
}

fn groups_of<T>(part: &Flow<T>) -> Vec<&str> {
    match part {
        Flow::Request(_) | Flow::Pause(_) => Vec::new(),
        Flow::Group { name, steps } => std::iter::once(name.as_str()).chain(groups(steps)).collect(),
        Flow::If { steps, otherwise, .. } => groups(steps).into_iter().chain(groups(otherwise)).collect(),
        Flow::Chance { steps, .. } | Flow::Repeat { steps, .. } | Flow::Until { steps, .. } => groups(steps),
        Flow::Together { parts, .. } => parts.iter().flat_map(|part| groups(part)).collect(),
    }
}

impl<T> Flow<T> {
    /// The same flow with its texts as `text` makes them.
    pub fn map<U>(&self, text: &impl Fn(&T) -> U) -> Flow<U> {
        let all = |steps: &[Flow<T>]| steps.iter().map(|step| step.map(text)).collect();
        let asked = |condition: &Condition<T>| Condition {
            left: text(&condition.left),
            relation: condition.relation,
            right: text(&condition.right),
        };
        match self {
            Flow::Request(step) => Flow::Request(*step),
            Flow::Pause(wait) => Flow::Pause(*wait),
            Flow::Group { name, steps } => Flow::Group {
                name: name.clone(),
                steps: all(steps),
            },
            Flow::Chance { share, steps } => Flow::Chance {
                share: *share,
                steps: all(steps),
            },
            Flow::If {
                condition,
                steps,
                otherwise,
            } => Flow::If {
                condition: asked(condition),
                steps: all(steps),
                otherwise: all(otherwise),
            },
            Flow::Repeat { min, max, steps } => Flow::Repeat {
                min: *min,
                max: *max,
                steps: all(steps),
            },
            Flow::Until {
                condition,
                at_most,
                pause,
                steps,
            } => Flow::Until {
                condition: asked(condition),
                at_most: *at_most,
                pause: *pause,
                steps: all(steps),
            },
            Flow::Together { parts, at_most } => Flow::Together {
                parts: parts.iter().map(|part| all(part)).collect(),
                at_most: *at_most,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn texts_are_compared_as_texts_and_sizes_as_numbers() {
        use Relation::{AtLeast, AtMost, Is, IsNot, Less, More};
        for (left, relation, right, holds) in [
            ("paid", Is, "paid", true),
            ("paid", Is, "Paid", false),
            ("", IsNot, "", false),
            ("9", Less, "10", true),
            ("9", More, "10", false),
            ("10", AtMost, "10.0", true),
            ("10", AtLeast, "10.5", false),
            ("9007199254740992", Less, "9007199254740993", true),
            ("18446744073709551615", AtMost, "18446744073709551614", false),
            ("-9223372036854775809", More, "-9223372036854775810", true),
            ("9007199254740993", AtLeast, "1.5", true),
            ("many", AtLeast, "1", false),
            ("many", Less, "1", false),
        ] {
            let held = relation.holds(left.as_bytes(), right.as_bytes());
            assert_eq!(held, holds, "{left} {relation:?} {right}");
        }
    }

    #[test]
    fn amounts_have_a_least_a_mean_and_a_most() {
        let second = Wait::constant(Duration::from_secs(1));
        let condition = || Condition {
            left: (),
            relation: Relation::Is,
            right: (),
        };
        let flow = [
            Flow::Request(0),
            Flow::Chance {
                share: 0.25,
                steps: vec![Flow::Request(1)],
            },
            Flow::If {
                condition: condition(),
                steps: vec![Flow::Request(2), Flow::Request(3)],
                otherwise: vec![],
            },
            Flow::Repeat {
                min: 2,
                max: 4,
                steps: vec![Flow::Request(4)],
            },
            Flow::Until {
                condition: condition(),
                at_most: 5,
                pause: Some(second),
                steps: vec![Flow::Request(5)],
            },
        ];
        let requests = |part: Part<'_>| f64::from(u8::from(matches!(part, Part::Request)));
        let pauses = |part: Part<'_>| match part {
            Part::Pause(wait) => wait.mean(),
            Part::Request => 0.0,
        };
        let of = |passes| (amount(&flow, passes, &requests), amount(&flow, passes, &pauses));
        assert_eq!(of(Passes::Least), (4.0, 0.0));
        assert_eq!(of(Passes::Mean), (8.25, 2.0));
        assert_eq!(of(Passes::Most), (13.0, 4.0));
    }
    #[test]
    fn what_goes_on_together_counts_whole_as_work_and_as_its_longest_as_time() {
        let pause = |seconds| Flow::<()>::Pause(Wait::constant(Duration::from_secs(seconds)));
        let parts = || {
            vec![
                vec![Flow::Request(0), pause(2)],
                vec![Flow::Request(1), Flow::Request(2), pause(1)],
                vec![pause(4)],
                vec![Flow::Request(3)],
            ]
        };
        let requests = |part: Part<'_>| f64::from(u8::from(matches!(part, Part::Request)));
        let seconds = |part: Part<'_>| match part {
            Part::Pause(wait) => wait.mean(),
            Part::Request => 0.0,
        };
        // With two at once the third begins when the second has ended.
        for (at_most, turns, lasts, once) in [
            (None, 3.0, 5.0, 3),
            (Some(2), 3.0, 6.0, 2),
            (Some(1), 5.0, 8.0, 1),
            (Some(9), 3.0, 5.0, 3),
        ] {
            let together = Flow::Together {
                parts: parts(),
                at_most,
            };
            let flow = [Flow::Request(4), together, pause(1)];
            assert_eq!(amount(&flow, Passes::Mean, &requests), 5.0);
            assert_eq!(amount(&flow, Passes::Mean, &seconds), 8.0);
            assert_eq!(time(&flow, Passes::Mean, &seconds), lasts, "{at_most:?}");
            assert_eq!(at_once(&flow), once, "{at_most:?}");
            assert_eq!(time(&flow, Passes::Mean, &requests), turns, "{at_most:?}");
        }
    }
}
