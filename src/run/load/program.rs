//! Journeys compiled into flat programs: instructions in a row, jumps instead of nesting. A journey of plain steps is a
//! row of requests. Follows none of them: that is `flow`'s work.

use super::pieces::{Filling, Piece, Pieces, Place, write};
use super::request::{jar, variables};
use crate::plan::{Condition, Flow, Plan, Relation, StepPlan, Template, Wait};

/// One instruction. Targets of jumps are places in the program; the one behind its last instruction ends the pass.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sends the step of this index among the plan's.
    Request(u32),
    /// Waits.
    Pause(Wait),
    /// Jumps, but for this share of passes.
    Chance { share: f64, to: u32 },
    /// Jumps where asking the condition gives `when`.
    Branch { asked: Box<Asked>, when: bool, to: u32 },
    /// Jumps.
    Jump(u32),
    /// The steps of this group begin, by its number among the plan's.
    Enter(u32),
    /// The innermost group is over.
    Leave,
    /// A loop begins: its counter is set to a number between both ends.
    Loop { counter: u32, min: u32, max: u32 },
    /// A round of a loop is over: jumps, as long as rounds are left.
    Again { counter: u32, to: u32 },
    /// Begins parts that stand behind it, and goes on behind them when all have ended.
    Together(Box<Together>),
    /// A part is over.
    Done,
}

/// What goes on at the same time.
#[derive(Clone, Debug)]
pub struct Together {
    /// In the order in which they begin.
    pub parts: Box<[Part]>,
    /// How many of them at once.
    pub at_most: usize,
    /// Where the pass goes on.
    pub to: u32,
}

/// A part of a pass; it ends with [`Op::Done`].
#[derive(Clone, Debug)]
pub struct Part {
    /// Its first instruction.
    pub from: u32,
    /// The numbers of the values that its steps extract; no other part's do.
    pub keeps: Box<[usize]>,
}

/// A condition ready to be asked.
#[derive(Clone, Debug)]
pub struct Asked {
    left: Box<[Piece]>,
    relation: Relation,
    right: Box<[Piece]>,
}

impl Asked {
    /// Whether it holds for what a pass knows.
    pub fn holds(&self, filling: &mut Filling<'_>) -> bool {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        write(&self.left, filling, 0, &mut left);
        write(&self.right, filling, 0, &mut right);
        self.relation.holds(&left, &right)
    }
}

/// The program of one journey.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// In order.
    pub ops: Box<[Op]>,
    /// How many loops stand within one another at most, and so how many counters a pass needs.
    pub counters: usize,
    /// The number of the value that keeps a pass's cookies; none where it keeps none.
    pub jar: Option<usize>,
}

impl Program {
    /// Those of all journeys of a plan, in its order.
    #[must_use]
    pub fn all(plan: &Plan) -> Vec<Self> {
        let mut groups = 0;
        let compile = |index| {
            let mut compiler = Compiler {
                variables: variables(plan, index),
                steps: &plan.journeys[index].steps,
                all: &plan.steps,
                ops: Vec::new(),
                depth: 0,
                counters: 0,
                groups,
            };
            let flow = &plan.journeys[index].flow;
            if flow.is_empty() {
                (0..compiler.steps.len()).for_each(|place| compiler.request(place));
            }
            compiler.list(flow);
            groups = compiler.groups;
            Self {
                ops: compiler.ops.into(),
                counters: compiler.counters,
                jar: jar(&compiler.variables),
            }
        };
        (0..plan.journeys.len()).map(compile).collect()
    }
}

struct Compiler<'p> {
    variables: Vec<String>,
    steps: &'p [usize],
    /// The plan's.
    all: &'p [StepPlan],
    ops: Vec<Op>,
    depth: usize,
    counters: usize,
    /// Those before the next one.
    groups: u32,
}

impl Compiler<'_> {
    fn here(&self) -> u32 {
        u32::try_from(self.ops.len()).expect("a program is no longer than the file that it comes from")
    }

    /// A jump to wherever [`Compiler::land`] is called for it.
    fn leap(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    fn land(&mut self, leap: usize) {
        let here = self.here();
        match &mut self.ops[leap] {
            Op::Chance { to, .. } | Op::Branch { to, .. } | Op::Jump(to) => *to = here,
            _ => {}
        }
    }

    fn request(&mut self, place: usize) {
        let step = self.steps.get(place).and_then(|step| u32::try_from(*step).ok());
        self.ops.extend(step.map(Op::Request));
    }

    fn list(&mut self, flow: &[Flow<Template>]) {
        flow.iter().for_each(|part| self.one(part));
    }

    fn one(&mut self, flow: &Flow<Template>) {
        match flow {
            Flow::Request(place) => self.request(*place),
            Flow::Pause(wait) => self.ops.push(Op::Pause(*wait)),
            Flow::Group { steps, .. } => {
                self.ops.push(Op::Enter(self.groups));
                self.groups += 1;
                self.list(steps);
                self.ops.push(Op::Leave);
            }
            Flow::Chance { share, steps } => {
                let past = self.leap(Op::Chance { share: *share, to: 0 });
                self.list(steps);
                self.land(past);
            }
            Flow::If {
                condition,
                steps,
                otherwise,
            } => {
                let other = self.branch(condition, false);
                self.list(steps);
                if otherwise.is_empty() {
                    self.land(other);
                    return;
                }
                let past = self.leap(Op::Jump(0));
                self.land(other);
                self.list(otherwise);
                self.land(past);
            }
            Flow::Repeat { min: 1, max: 1, steps } => self.list(steps),
            Flow::Repeat { min, max, steps } => {
                let counter = self.enter(*min, *max);
                let first = self.here();
                self.list(steps);
                self.again(counter, first);
            }
            Flow::Until {
                condition,
                at_most,
                pause,
                steps,
            } => {
                let counter = self.enter(*at_most, *at_most);
                let past_pause = pause.map(|_| self.leap(Op::Jump(0)));
                let next = self.here();
                self.ops.extend(pause.map(Op::Pause));
                past_pause.into_iter().for_each(|leap| self.land(leap));
                self.list(steps);
                let done = self.branch(condition, true);
                self.again(counter, next);
                self.land(done);
            }
            Flow::Together { parts, at_most } => self.together(parts, *at_most),
        }
    }

    fn together(&mut self, parts: &[Vec<Flow<Template>>], at_most: Option<u32>) {
        let place = self.leap(Op::Done);
        let parts: Box<[Part]> = parts.iter().map(|part| self.part(part)).collect();
        self.ops[place] = Op::Together(Box::new(Together {
            at_most: at_most.map_or(parts.len(), |most| most as usize),
            parts,
            to: self.here(),
        }));
    }

    fn part(&mut self, steps: &[Flow<Template>]) -> Part {
        let from = self.here();
        self.list(steps);
        let own = self.ops[from as usize..].iter().filter_map(|op| match op {
            Op::Request(step) => self.all.get(*step as usize),
            _ => None,
        });
        let number = |name: &String| self.variables.iter().position(|variable| variable == name);
        let extracts = own.flat_map(|step| &step.extract);
        let mut keeps: Vec<usize> = extracts.filter_map(|extract| number(&extract.name)).collect();
        keeps.sort_unstable();
        keeps.dedup();
        self.ops.push(Op::Done);
        Part {
            from,
            keeps: keeps.into(),
        }
    }

    fn branch(&mut self, condition: &Condition<Template>, when: bool) -> usize {
        let side = |template: &Template| {
            let mut pieces = Pieces::new(&self.variables);
            pieces.template(template, Place::Body);
            pieces.done()
        };
        let asked = Asked {
            left: side(&condition.left),
            relation: condition.relation,
            right: side(&condition.right),
        };
        self.leap(Op::Branch {
            asked: Box::new(asked),
            when,
            to: 0,
        })
    }

    fn enter(&mut self, min: u32, max: u32) -> u32 {
        let counter = u32::try_from(self.depth).expect("nesting is bounded");
        self.depth += 1;
        self.counters = self.counters.max(self.depth);
        self.ops.push(Op::Loop { counter, min, max });
        counter
    }

    fn again(&mut self, counter: u32, to: u32) {
        self.ops.push(Op::Again { counter, to });
        self.depth -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Extract, JourneyPlan, Passes, Source};

    fn condition() -> Condition<Template> {
        Condition {
            left: Template::default(),
            relation: Relation::Is,
            right: Template::default(),
        }
    }

    /// Any flow that a profile can have, less its bounds on how much.
    fn flows() -> impl Strategy<Value = Vec<Flow<Template>>> {
        let leaf = prop_oneof![
            Just(Flow::Request(0)),
            Just(Flow::Pause(Wait::constant(std::time::Duration::from_secs(1)))),
        ];
        let one = leaf.prop_recursive(5, 40, 4, |inner| {
            let steps = || prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                steps().prop_map(|steps| Flow::Group {
                    name: "g".to_owned(),
                    steps
                }),
                steps().prop_map(|steps| Flow::Chance { share: 0.5, steps }),
                (steps(), steps()).prop_map(|(steps, otherwise)| Flow::If {
                    condition: condition(),
                    steps,
                    otherwise
                }),
                (1u32..4, 0u32..3, steps()).prop_map(|(min, more, steps)| Flow::Repeat {
                    min,
                    max: min + more,
                    steps
                }),
                (1u32..5, any::<bool>(), steps()).prop_map(|(at_most, pauses, steps)| Flow::Until {
                    condition: condition(),
                    at_most,
                    pause: pauses.then(Wait::default),
                    steps
                }),
                (prop::collection::vec(steps(), 1..4), prop::option::of(1u32..4))
                    .prop_map(|(parts, at_most)| Flow::Together { parts, at_most }),
            ]
        });
        prop::collection::vec(one, 1..5)
    }

    /// Follows a program with an answer of `choose` wherever it asks; how many requests it makes.
    fn follow(program: &Program, mut choose: impl FnMut(u32, u32) -> u32) -> f64 {
        part(program, 0, &mut choose)
    }

    fn part(program: &Program, from: u32, choose: &mut dyn FnMut(u32, u32) -> u32) -> f64 {
        let (mut at, mut requests, mut open, mut rounds) = (from as usize, 0.0, 0, vec![0; program.counters]);
        while let Some(op) = program.ops.get(at) {
            at += 1;
            match op {
                Op::Request(_) => requests += 1.0,
                Op::Pause(_) => {}
                Op::Enter(_) => open += 1,
                Op::Leave => open -= 1,
                Op::Chance { to, .. } | Op::Branch { to, .. } if choose(0, 1) == 1 => at = *to as usize,
                Op::Chance { .. } | Op::Branch { .. } => {}
                Op::Jump(to) => at = *to as usize,
                Op::Loop { counter, min, max } => rounds[*counter as usize] = choose(*min, *max),
                Op::Again { counter, to } => {
                    rounds[*counter as usize] -= 1;
                    if rounds[*counter as usize] > 0 {
                        at = *to as usize;
                    }
                }
                Op::Together(together) => {
                    let parts = together.parts.iter();
                    requests += parts.map(|one| part(program, one.from, choose)).sum::<f64>();
                    at = together.to as usize;
                }
                Op::Done => break,
            }
        }
        assert_eq!(open, 0, "groups that are entered are left");
        requests
    }

    proptest! {
        #[test]
        fn any_flow_compiles_and_ends_whatever_is_answered(flow in flows(), seed: u64) {
            let journey = JourneyPlan { steps: vec![0], flow, ..JourneyPlan::default() };
            let (least, most) = (journey.requests(Passes::Least), journey.requests(Passes::Most));
            let mut compiler = Compiler { variables: Vec::new(), steps: &[0], all: &[], ops: Vec::new(), depth: 0, counters: 0, groups: 0 };
            compiler.list(&journey.flow);
            let program = Program { counters: compiler.counters, ops: compiler.ops.into(), jar: None };
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..5 {
                let requests = follow(&program, |low, high| random.u32(low..=high));
                prop_assert!((least..=most).contains(&requests), "{requests} of {least} to {most}");
            }
        }
    }
    #[test]
    fn a_part_keeps_what_its_own_steps_extract() {
        let extracting = |names: &[&str]| StepPlan {
            extract: names
                .iter()
                .map(|name| Extract {
                    name: (*name).to_owned(),
                    from: Source::Cookie(String::new()),
                })
                .collect(),
            ..StepPlan::default()
        };
        let all = [extracting(&["b"]), extracting(&["c", "a"]), extracting(&[])];
        let mut compiler = Compiler {
            variables: ["a", "b", "c"].map(str::to_owned).to_vec(),
            steps: &[0, 1, 2],
            all: &all,
            ops: Vec::new(),
            depth: 0,
            counters: 0,
            groups: 0,
        };
        let rows = [vec![0, 2], vec![1], vec![2]];
        let together = Flow::Together {
            parts: rows.map(|row| row.into_iter().map(Flow::Request).collect()).to_vec(),
            at_most: None,
        };
        compiler.list(&[together, Flow::Request(2)]);
        let Op::Together(together) = &compiler.ops[0] else {
            panic!("{:?}", compiler.ops);
        };
        let parts: Vec<(u32, &[usize])> = together.parts.iter().map(|part| (part.from, &*part.keeps)).collect();
        assert_eq!(parts, [(1, &[1][..]), (4, &[0, 2]), (6, &[])]);
        assert_eq!((together.at_most, together.to), (3, 8));
        assert!(matches!(compiler.ops[8..], [Op::Request(2)]));
    }
}
