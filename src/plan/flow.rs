//! The flow of a journey as one line of the plan. Decides nothing.

use super::{Condition, Flow, JourneyPlan, Part, Passes, Plan, Relation, Template, Wait};
use crate::units::format_duration;

/// The steps of a journey in order, with what they are asked for and repeated.
pub(super) fn written(plan: &Plan, journey: &JourneyPlan) -> String {
    let name = |place: usize| {
        let step = journey.steps.get(place).and_then(|index| plan.steps.get(*index));
        step.map_or("", |step| step.name.as_str())
    };
    if journey.flow.is_empty() {
        let names: Vec<&str> = (0..journey.steps.len()).map(name).collect();
        return names.join(", ");
    }
    let least = journey.requests(Passes::Least);
    let most = journey.requests(Passes::Most);
    let once = match journey.at_once() {
        0 | 1 => String::new(),
        once => format!(", {once} at once"),
    };
    format!(
        "{}; {least} to {most} requests a pass{once}",
        list(&journey.flow, &name)
    )
}

fn list<'p>(flow: &[Flow<Template>], name: &impl Fn(usize) -> &'p str) -> String {
    let parts: Vec<String> = flow.iter().map(|part| one(part, name)).collect();
    parts.join(", ")
}

fn one<'p>(flow: &Flow<Template>, name: &impl Fn(usize) -> &'p str) -> String {
    match flow {
        Flow::Request(place) => name(*place).to_owned(),
        Flow::Group { name: group, steps } => format!("{group} ({})", list(steps, name)),
        Flow::Pause(wait) => format!("pause {}", pause(wait)),
        Flow::Chance { share, steps } => {
            format!("{} of the time ({})", super::print::percent(*share), list(steps, name))
        }
        Flow::If {
            condition,
            steps,
            otherwise,
        } => {
            let first = format!("if {} ({})", asked(condition), list(steps, name));
            match otherwise.as_slice() {
                [] => first,
                otherwise => format!("{first} else ({})", list(otherwise, name)),
            }
        }
        Flow::Repeat { min: 1, max: 1, steps } => list(steps, name),
        Flow::Repeat { min, max, steps } if min == max => format!("{min} times ({})", list(steps, name)),
        Flow::Repeat { min, max, steps } => format!("{min} to {max} times ({})", list(steps, name)),
        Flow::Until {
            condition,
            at_most,
            pause: between,
            steps,
        } => {
            let between = between.map_or(String::new(), |wait| format!(", pausing {}", pause(&wait)));
            let steps = list(steps, name);
            format!("until {} at most {at_most} times{between} ({steps})", asked(condition))
        }
        Flow::Together { parts, at_most } => {
            let parts: Vec<String> = parts.iter().map(|part| self::part(part, name)).collect();
            let most = at_most.map_or(String::new(), |most| format!(", {most} at once"));
            format!("together{most} ({})", parts.join(", "))
        }
    }
}

/// In brackets where it is a row of several.
fn part<'p>(steps: &[Flow<Template>], name: &impl Fn(usize) -> &'p str) -> String {
    match steps {
        [only] => one(only, name),
        several => format!("({})", list(several, name)),
    }
}

fn pause(wait: &Wait) -> String {
    match wait {
        Wait::Uniform { min, max } if min == max => format_duration(*min),
        Wait::Uniform { min, max } => format!("{}..{}", format_duration(*min), format_duration(*max)),
        Wait::Exponential { mean } => format!("exponential({})", format_duration(*mean)),
        Wait::LogNormal { median, sigma } => format!("log_normal({}, {sigma})", format_duration(*median)),
    }
}

fn asked(condition: &Condition<Template>) -> String {
    let relation = match condition.relation {
        Relation::Is => "==",
        Relation::IsNot => "!=",
        Relation::Less => "<",
        Relation::AtMost => "<=",
        Relation::More => ">",
        Relation::AtLeast => ">=",
    };
    format!("{} {relation} {}", side(&condition.left), side(&condition.right))
}

/// Only texts, variables and random numbers are compared.
fn side(template: &Template) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Variable(name) => name.clone(),
        Part::Random(low, high) => format!("random({low}, {high})"),
        _ => String::new(),
    });
    parts.collect()
}
