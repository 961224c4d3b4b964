//! The loads of a run as one shard drives them: who is due when. Built before t0; starts nothing itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::arrivals::Arrivals;
use super::crowd::{Budget, Crowd};
use super::curve::Curve;
use super::steered::Steered;
use super::transport::Own;
use super::users::Journeys;
use crate::plan::{Iterations, LoadModel, LoadPlan, Plan};
use crate::units::Pace;

/// Spreads the choices of one load from those of the next; the first one's are the run's.
const SEED_STEP: u64 = 0xD1B5_4A32_D192_ED03;

/// One load, as all shards see it.
#[derive(Clone, Debug)]
struct Course {
    plan: LoadPlan,
    curve: Arc<Curve>,
    journeys: Journeys,
    seed: u64,
    /// Iterations that all users share.
    shared: Arc<AtomicU64>,
}

/// One load in one shard.
#[derive(Debug)]
pub struct Source {
    /// Users or arrivals.
    pub model: LoadModel,
    /// How many over time.
    pub curve: Arc<Curve>,
    /// How it is steered.
    pub steered: Steered,
    /// Picks among its journeys.
    pub journeys: Journeys,
    /// Of its choices.
    pub seed: u64,
    /// Users make a fixed number of passes; their number is not scaled.
    pub counted: bool,
    /// Its users; none in the open model.
    pub crowd: Crowd,
    /// Rows whose time has come and that were not started yet.
    pub due: VecDeque<(u64, u32)>,
    /// Connections of users who think, by row, where users have their own.
    pub own: Vec<Option<Own>>,
    /// Its arrivals; never looked at in the closed model.
    pub arrivals: Arrivals,
}

/// The curves of a plan's loads in their order, at `pace`.
#[must_use]
pub fn curves(plan: &Plan, pace: Pace) -> Vec<Curve> {
    let loads = plan.each_load();
    loads.iter().map(|load| curve(plan, load, pace)).collect()
}

fn curve(plan: &Plan, load: &LoadPlan, pace: Pace) -> Curve {
    if load.ends_at() < plan.ends_at {
        Curve::ending(&load.stages, pace)
    } else {
        Curve::new(&load.stages, pace)
    }
}

impl Source {
    /// The loads of every shard, with everyone in place who is there from the start. Blocks: ten million users take
    /// about a second.
    #[must_use]
    pub fn assemble(plan: &Plan, pace: Pace, shards: usize) -> Vec<Vec<Self>> {
        let courses: Vec<Course> = (plan.each_load().into_iter().enumerate())
            .map(|(index, load)| Course::new(plan, index, load, pace))
            .collect();
        std::thread::scope(|scope| {
            let build = |shard| {
                let courses = &courses;
                let all = move || {
                    courses
                        .iter()
                        .map(|course| Self::new(plan, course, shard, shards))
                        .collect()
                };
                scope.spawn(all)
            };
            let threads: Vec<_> = (0..shards).map(build).collect();
            let join =
                |thread: std::thread::ScopedJoinHandle<'_, Vec<Self>>| thread.join().expect("building does not panic");
            threads.into_iter().map(join).collect()
        })
    }

    fn new(plan: &Plan, course: &Course, shard: usize, shards: usize) -> Self {
        let load = &course.plan;
        let users = load.model == LoadModel::Users;
        let peak = if users { course.curve.peak() } else { 0.0 };
        let mut crowd = Crowd::new(course.seed, peak, shard, shards, course.budget());
        if users {
            crowd.set_level(course.curve.level(0), 0, plan, &course.journeys);
        }
        Self {
            model: load.model,
            curve: Arc::clone(&course.curve),
            steered: Steered::default(),
            journeys: course.journeys.clone(),
            seed: course.seed,
            counted: load.iterations.is_some(),
            crowd,
            due: VecDeque::new(),
            own: Vec::new(),
            arrivals: Arrivals::new(load.spacing, course.seed, shard, shards),
        }
    }

    /// How many users are wanted at a real instant.
    #[must_use]
    #[inline]
    pub fn level(&self, at_us: u64) -> f64 {
        let steering = &self.steered.steering;
        let level = self.curve.level(steering.schedule_us(at_us));
        if self.counted { level } else { level * steering.times() }
    }

    /// Whether a user has not been wanted for longer than `grace_us`; one that is wanted never has.
    #[must_use]
    pub fn overstays(&self, row: u32, now_us: u64, grace_us: u64) -> bool {
        if self.crowd.is_wanted(row) {
            return false;
        }
        let then_us = now_us.saturating_sub(grace_us);
        // Before it was steered anew, another level was wanted.
        then_us >= self.steered.steering.since_us() && self.crowd.number(row) >= self.level(then_us) as u64
    }

    /// How many arrivals were due by `at_us` and have not begun; they never will.
    pub fn pass_over_arrivals(&mut self, at_us: u64) -> u64 {
        let at_us = at_us.max(self.steered.steering.since_us());
        self.arrivals.pass_over(self.steered.arrivals_until(&self.curve, at_us))
    }

    /// Passes that were to be made and that the end of the load leaves unmade; told once.
    #[inline]
    pub fn unmade(&mut self, at_us: u64) -> u64 {
        if !self.counted || self.steered.steering.schedule_us(at_us) < self.curve.end_us() {
            return 0;
        }
        self.crowd.unmade()
    }
}

impl Course {
    fn new(plan: &Plan, index: usize, load: LoadPlan, pace: Pace) -> Self {
        let shared = match load.iterations {
            Some(Iterations::Shared(shared)) => shared,
            Some(Iterations::Each(_)) | None => 0,
        };
        Self {
            curve: Arc::new(curve(plan, &load, pace)),
            journeys: Journeys::new(&plan.journeys, &load.journeys),
            seed: plan.seed ^ (index as u64).wrapping_mul(SEED_STEP),
            shared: Arc::new(AtomicU64::new(shared)),
            plan: load,
        }
    }

    fn budget(&self) -> Option<Budget> {
        Some(match self.plan.iterations? {
            Iterations::Each(each) => Budget::Each { each, left: 0 },
            Iterations::Shared(_) => Budget::Shared(Arc::clone(&self.shared)),
        })
    }
}
