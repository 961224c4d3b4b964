//! What may be asked of a run while it goes on, and what becomes of it: commands, refusals, the state that is told.
//! How a command travels here (a socket, a key) is the command line's; what the load does about it is `load`'s.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::event::Event;
use crate::plan::{LoadModel, Plan, Steer, SteerError, Steering};
use crate::run::load::{Curve, Steered, curves};
use crate::units::format_duration;

/// Commands that wait for the director at most; who sends one more waits.
const WAITING_MAX: usize = 32;
/// Characters of a mark.
const MARK_MAX: usize = 200;

/// A command to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Start no new passes; the schedule goes on.
    Pause,
    /// End a pause and a hold.
    Resume,
    /// Stop the schedule's time.
    Hold,
    /// Go to the start of the next stage.
    Skip,
    /// Multiply the level of the schedule.
    Scale {
        /// With this.
        times: f64,
    },
    /// Put a mark on the time axis.
    Mark {
        /// What it says.
        text: String,
    },
    /// Say how the run is.
    Status,
}

/// How a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Seconds of real time since t0.
    pub elapsed: f64,
    /// Where the schedule is, seconds of cloud time.
    pub schedule: f64,
    /// When it ends, seconds of cloud time.
    pub ends_at: f64,
    /// The stage, from one.
    pub stage: usize,
    /// How many there are.
    pub stages: usize,
    /// The stage holds its level.
    pub holding: bool,
    /// Users, or requests in flight in the open model.
    pub users: u64,
    /// Which model it is.
    #[serde(default)]
    pub model: Option<LoadModel>,
    /// Requests finished in the last second.
    pub rate: u64,
    /// No new passes are started.
    pub paused: bool,
    /// The schedule's time stands still.
    pub held: bool,
    /// What the level of the schedule is multiplied with.
    pub times: f64,
    /// Faults in the world.
    pub faults: Vec<String>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// In a sentence.
    pub said: String,
    /// How the run is now.
    pub status: Status,
}

/// Why a command had no effect.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The plan forbids it.
    #[error(transparent)]
    Steer(#[from] SteerError),
    /// A mark without text, or not one line.
    #[error("a mark is one line of 1 to {MARK_MAX} characters")]
    Mark,
    /// The run takes no commands any more.
    #[error("the run is ending")]
    Ending,
}

/// A command under way, with the way back of its answer.
#[derive(Debug)]
pub struct Order {
    /// What is asked.
    pub command: Command,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Done, Refusal>>,
}

/// The way of commands into a run.
#[derive(Clone, Debug)]
pub struct Control(mpsc::Sender<Order>);

/// The director's end of it.
pub type Orders = mpsc::Receiver<Order>;

/// A way into a run.
#[must_use]
pub fn control() -> (Control, Orders) {
    let (tx, rx) = mpsc::channel(WAITING_MAX);
    (Control(tx), rx)
}

/// For a run that nobody can steer.
#[must_use]
pub fn uncontrolled() -> Orders {
    control().1
}

impl Control {
    /// Sends a command and waits for what becomes of it.
    pub async fn send(&self, command: Command) -> Result<Done, Refusal> {
        let (answer, answered) = oneshot::channel();
        let order = Order { command, answer };
        self.0.send(order).await.map_err(|_| Refusal::Ending)?;
        answered.await.map_err(|_| Refusal::Ending)?
    }
}

/// Steers one run: keeps the steering, tells the load, and says what is to be recorded.
#[derive(Debug)]
pub(super) struct Helm {
    /// Of each load.
    curves: Vec<Curve>,
    /// Each load; the schedule is the same for all of them.
    steered: Vec<Steered>,
    steering: Steering,
    told: watch::Sender<Vec<Steered>>,
}

impl Helm {
    /// Of a run that nobody has steered yet, and where its load listens.
    pub(super) fn new(plan: &Plan) -> (Self, watch::Receiver<Vec<Steered>>) {
        let curves = curves(plan, plan.pace);
        let steered = vec![Steered::default(); curves.len()];
        let (told, listens) = watch::channel(steered.clone());
        let helm = Self {
            curves,
            steered,
            steering: Steering::default(),
            told,
        };
        (helm, listens)
    }

    /// How it is steered now.
    pub(super) fn steering(&self) -> Steering {
        self.steering
    }

    /// Does at `at_us` what is asked; what it did as an event, none where nothing changed, and in a sentence.
    /// `in_world` are the faults that are in the world.
    pub(super) fn take(
        &mut self,
        plan: &Plan,
        at_us: u64,
        command: &Command,
        in_world: &[String],
    ) -> Result<(Option<Event>, String), Refusal> {
        let now = self.steering();
        let unchanged = |said: &str| Ok((None, said.to_owned()));
        let (steer, event) = match command {
            Command::Status => return unchanged("it runs"),
            Command::Mark { text } => return mark(text),
            Command::Pause if now.paused() => return unchanged("it was paused already"),
            Command::Hold if now.held() => return unchanged("it was held already"),
            Command::Resume if !now.paused() && !now.held() => return unchanged("it was neither paused nor held"),
            Command::Pause => (Steer::Pause, Event::LoadPaused),
            Command::Hold => (Steer::Hold, Event::ScheduleHeld),
            Command::Resume => (Steer::Resume, Event::Resumed),
            Command::Scale { times } => {
                plan.check_scale(*times)?;
                if *times == now.times() {
                    return unchanged("that is its scale already");
                }
                (Steer::Scale(*times), Event::LoadScaled { times: *times })
            }
            Command::Skip => {
                if let Some(fault) = in_world.first() {
                    let fault = fault.clone();
                    return Err(SteerError::InWorld { fault }.into());
                }
                let stage = plan.skip_from(now.schedule_us(at_us))?;
                let to_us = plan.schedule_us(plan.stages[stage].starts_at);
                (Steer::Skip(to_us), Event::Skipped { stage })
            }
        };
        self.steering = self.steering.steered(at_us, steer);
        for (steered, curve) in self.steered.iter_mut().zip(&self.curves) {
            *steered = steered.steered(curve, at_us, steer);
        }
        // A load that has ended listens no more, and has nothing left to steer.
        let _ = self.told.send(self.steered.clone());
        let said = event.command().unwrap_or_default();
        Ok((Some(event), said))
    }
}

fn mark(text: &str) -> Result<(Option<Event>, String), Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MARK_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::Mark);
    }
    let event = Event::Marked { text: text.to_owned() };
    let said = event.command().unwrap_or_default();
    Ok((Some(event), said))
}

impl Status {
    /// On one line, for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let time = |seconds: f64| format_duration(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let mut line = format!(
            "stage {} of {} ({}), {} of {}, {} {}, rate {}/s",
            self.stage,
            self.stages,
            if self.holding { "hold" } else { "ramp" },
            time(self.schedule),
            time(self.ends_at),
            self.model.map_or("users", LoadModel::counted),
            self.users,
            self.rate
        );
        if let Some(steered) = steered(self.paused, self.held, self.times) {
            line.push_str(&format!(", {steered}"));
        }
        if !self.faults.is_empty() {
            line.push_str(&format!(", fault {}", self.faults.join(", ")));
        }
        line
    }
}

/// How a run differs from its schedule, in a few words; none where it does not.
#[must_use]
pub fn steered(paused: bool, held: bool, times: f64) -> Option<String> {
    let scaled = format!("× {}", (times * 1000.0).round() / 1000.0);
    let parts: Vec<&str> = [(paused, "paused"), (held, "held"), (times != 1.0, scaled.as_str())]
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
