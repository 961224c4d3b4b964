//! The schedule as it was steered, put together again from the recording: which seconds were the plan's own load, and
//! which held it. It judges nothing itself.
//!
//! The rule:
//! - Phases follow the steered schedule: a hold that was held longer is steady for longer, and a ramp that was held
//!   stays a ramp. A second is steady when holds cover all of it, one or several that follow each other without a
//!   ramp. The second of a skip belongs to no hold.
//! - A second in which the load was scaled counts nowhere: no profile asked for that load. Users who are too many after
//!   a scale leave after their think time, so such seconds last until the longest one is over.
//! - A paused second keeps its phase, for what ends in it was started by the planned load, and a pause must not hide
//!   what fails. Only throughput leaves it out, which would measure the pause.
//! - An experiment in whose window the load was paused or scaled was another experiment: what it finds is inconclusive,
//!   except a write that was lost.

use crate::event::Event;
use crate::plan::{JourneyPlan, LoadModel, Plan, Steer, Steering};
use crate::recording::Recording;

/// Microseconds by which an instant of the schedule may miss a whole second, after rounding.
const ROUNDED_US: u64 = 2;

/// How the schedule was steered from one instant on.
#[derive(Clone, Copy, Debug)]
struct Turn {
    from_us: u64,
    steering: Steering,
    /// Until then there are users of an earlier, higher scale.
    settled_us: u64,
}

/// Every turn of a run, in order of time; the first is the plan's own.
#[derive(Clone, Debug)]
pub(super) struct Steered {
    turns: Vec<Turn>,
}

impl Steered {
    pub fn new(plan: &Plan, recording: &Recording) -> Self {
        let mut last = Turn {
            from_us: 0,
            steering: Steering::default(),
            settled_us: 0,
        };
        let mut turns = vec![last];
        for stamped in &recording.events {
            let Some(steer) = steer(plan, &stamped.event) else {
                continue;
            };
            let from_us = stamped.at.as_micros() as u64;
            if let Steer::Scale(times) = steer
                && times < last.steering.times()
            {
                last.settled_us = from_us + leaving_us(plan);
            }
            last.steering = last.steering.steered(from_us, steer);
            last.from_us = from_us;
            turns.push(last);
        }
        Self { turns }
    }

    /// What was in force in a whole real second, each with the part of it.
    fn in_second(&self, second: u64) -> impl Iterator<Item = (&Turn, u64, u64)> {
        let (from_us, to_us) = (second * 1_000_000, (second + 1) * 1_000_000);
        let ends = self.turns.iter().skip(1).map(|turn| turn.from_us).chain([u64::MAX]);
        self.turns.iter().zip(ends).filter_map(move |(turn, end_us)| {
            let (begin_us, end_us) = (turn.from_us.max(from_us), end_us.min(to_us));
            (begin_us < end_us).then_some((turn, begin_us, end_us))
        })
    }

    /// No new passes were started in a part of the second.
    pub fn paused(&self, second: u64) -> bool {
        self.in_second(second).any(|(turn, ..)| turn.steering.paused())
    }

    /// The level was another than the schedule's in a part of the second.
    pub fn scaled(&self, second: u64) -> bool {
        self.in_second(second)
            .any(|(turn, begin_us, _)| turn.steering.times() != 1.0 || begin_us < turn.settled_us)
    }

    /// The schedule was within holds all through the second, and nothing of it was skipped in there.
    pub fn steady(&self, plan: &Plan, second: u64) -> bool {
        let mut reached_us = None;
        self.in_second(second).all(|(turn, begin_us, end_us)| {
            let from_us = turn.steering.schedule_us(begin_us);
            let to_us = turn.steering.schedule_us(end_us);
            let skipped = reached_us
                .replace(to_us)
                .is_some_and(|reached| from_us > reached + ROUNDED_US);
            !skipped && held(plan, from_us, to_us)
        })
    }

    /// When the steered schedule ends, real seconds; never where it was held to the end.
    pub fn end(&self, plan: &Plan) -> f64 {
        let last = self.turns.last().and_then(|turn| {
            let end_us = turn.steering.real_us(plan.schedule_us(plan.ends_at))?;
            Some(end_us as f64 / 1e6)
        });
        last.unwrap_or(f64::INFINITY)
    }

    /// How much of a whole second, in seconds, the schedule was within these windows of its own (in microseconds, in order
    /// and apart), until the run ended.
    pub fn within(&self, windows: &[(u64, u64)], second: u64, ended_us: u64) -> f64 {
        let part = |(turn, begin_us, end_us): (&Turn, u64, u64)| -> u64 {
            let end_us = end_us.min(ended_us);
            if end_us <= begin_us {
                return 0;
            }
            let [from_us, to_us] = [begin_us, end_us].map(|at| turn.steering.schedule_us(at));
            // A schedule that is held stands still while users go on.
            if from_us == to_us {
                let inside = windows.iter().any(|(from, to)| (*from..*to).contains(&from_us));
                return if inside { end_us - begin_us } else { 0 };
            }
            let overlap = |(from, to): &(u64, u64)| to_us.min(*to).saturating_sub(from_us.max(*from));
            windows.iter().map(overlap).sum()
        };
        self.in_second(second).map(part).sum::<u64>() as f64 / 1e6
    }

    /// Whole seconds within these real seconds in which the load was not the plan's.
    pub fn unplanned(&self, from: f64, to: f64) -> usize {
        let seconds = from.max(0.0) as u64..to.max(0.0).ceil() as u64;
        seconds
            .filter(|second| self.paused(*second) || self.scaled(*second))
            .count()
    }
}

/// Whether this part of the schedule is within one hold, or within several that follow each other without a ramp.
fn held(plan: &Plan, from_us: u64, to_us: u64) -> bool {
    let mut until_us = None;
    for stage in &plan.stages {
        let (holds_us, ends_us) = (plan.schedule_us(stage.holds_at), plan.schedule_us(stage.ends_at));
        if (holds_us..=ends_us + ROUNDED_US).contains(&until_us.unwrap_or(from_us)) {
            until_us = Some(ends_us);
        }
    }
    until_us.is_some_and(|until| to_us <= until + ROUNDED_US)
}

fn steer(plan: &Plan, event: &Event) -> Option<Steer> {
    Some(match event {
        Event::LoadPaused => Steer::Pause,
        Event::Resumed => Steer::Resume,
        Event::ScheduleHeld => Steer::Hold,
        Event::LoadScaled { times } => Steer::Scale(*times),
        Event::Skipped { stage } => Steer::Skip(plan.schedule_us(plan.stages.get(*stage)?.starts_at)),
        _ => return None,
    })
}

/// How long users that are too many stay at most: real time.
fn leaving_us(plan: &Plan) -> u64 {
    let loads = plan.each_load();
    let of_users = loads.iter().filter(|load| load.model == LoadModel::Users);
    let waits = of_users
        .flat_map(|load| &load.journeys)
        .filter_map(|index| plan.journeys.get(*index))
        .map(JourneyPlan::longest);
    waits.max().map_or(0, |wait| wait.as_micros() as u64)
}
