//! What users do, resolved: journeys, their requests, the texts of these and the test data that fills them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::in_base64;
use crate::config::body::Encoding;
use crate::config::checks::{Expect, Extract};
use crate::config::compression::Coding;
use crate::config::feeder::{RowOrder, Table};
use crate::config::flow::{self, Flow, Passes, amount, groups, time};
use crate::config::protocol::Protocol;
use crate::config::wait::Wait;
use crate::units::seconds;

/// A table of test data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeederPlan {
    /// Its name.
    pub name: String,
    /// Order of its rows.
    pub order: RowOrder,
    /// Its rows; not written down, for they may be many or nobody's business.
    #[serde(skip)]
    pub table: Arc<Table>,
}

/// One journey.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JourneyPlan {
    /// Its name.
    pub name: String,
    /// Relative weight, positive.
    pub weight: f64,
    /// Think time after each pass, real time.
    pub think: Wait,
    /// From the start of one pass to that of the next at least, real time; users of the closed model only.
    #[serde(default)]
    pub pacing: Option<Wait>,
    /// Answers' cookies are sent back within the pass.
    #[serde(default)]
    pub cookies: bool,
    /// Indexes into [`Plan::feeders`]: each pass takes a row of each.
    #[serde(default)]
    pub feed: Vec<usize>,
    /// Indexes into [`Plan::steps`].
    pub steps: Vec<usize>,
    /// In what order they come, by their place in `steps`; empty where it is that of `steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flow: Vec<Flow<Template>>,
}

impl JourneyPlan {
    /// The names of its groups, in the order of its flow.
    #[must_use]
    pub fn groups(&self) -> Vec<&str> {
        groups(&self.flow)
    }

    /// The wait that mostly decides when a user comes again.
    #[must_use]
    pub fn cycle(&self) -> Wait {
        match self.pacing {
            Some(pacing) if pacing.mean() > self.think.mean() => pacing,
            _ => self.think,
        }
    }

    /// Mean time from the start of one pass to that of the next, in seconds of real time, answers taken as instant and
    /// the pauses within as those of `passes`.
    #[must_use]
    pub fn cycle_seconds(&self, passes: Passes) -> f64 {
        let pacing = self.pacing.map_or(0.0, |pacing| pacing.mean());
        (self.think.mean() + self.pauses(passes)).max(pacing)
    }

    /// All but few passes wait no longer than this altogether, real time; answers taken as instant.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let pauses = time(&self.flow, Passes::Most, &|part| match part {
            flow::Part::Pause(wait) => wait.longest().as_secs_f64(),
            flow::Part::Request => 0.0,
        });
        let pauses = Duration::try_from_secs_f64(pauses).unwrap_or(Duration::MAX);
        self.cycle().longest().saturating_add(pauses)
    }

    /// Mean time that passes spend in pauses between their requests, in seconds of real time.
    fn pauses(&self, passes: Passes) -> f64 {
        time(&self.flow, passes, &|part| match part {
            flow::Part::Pause(wait) => wait.mean(),
            flow::Part::Request => 0.0,
        })
    }

    /// Requests of a pass.
    #[must_use]
    pub fn requests(&self, passes: Passes) -> f64 {
        if self.flow.is_empty() {
            return self.steps.len() as f64;
        }
        amount(&self.flow, passes, &is_request)
    }

    /// Requests of a pass that come one after the other: of those that go together, the longest row.
    #[must_use]
    pub fn turns(&self, passes: Passes) -> f64 {
        if self.flow.is_empty() {
            return self.steps.len() as f64;
        }
        time(&self.flow, passes, &is_request)
    }

    /// Requests of a pass under way at once, at most.
    #[must_use]
    pub fn at_once(&self) -> usize {
        if self.flow.is_empty() {
            return self.steps.len().min(1);
        }
        flow::at_once(&self.flow)
    }
}

fn is_request(part: flow::Part<'_>) -> f64 {
    f64::from(u8::from(matches!(part, flow::Part::Request)))
}

/// One request of a journey.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StepPlan {
    /// Unique over the plan: the journey's name, with `.2` and so on for further steps, or the given name.
    pub name: String,
    /// Journey index.
    pub journey: usize,
    /// What it speaks, and what only that protocol knows.
    #[serde(default)]
    pub protocol: Protocol,
    /// HTTP method, upper case; another protocol's name where there is none.
    pub method: String,
    /// Path template.
    pub path: Template,
    /// Extra headers.
    pub headers: Vec<(String, Template)>,
    /// How it is signed; not at all when none.
    #[serde(default)]
    pub sign: Option<SigV4Plan>,
    /// Body template with its content type.
    pub body: Option<Body>,
    /// Patience for its answer (cloud time, never below 200 ms real); the client's when none.
    #[serde(default, with = "seconds::option")]
    pub timeout: Option<Duration>,
    /// Redirects within the target that are followed at most; none by default, and a redirect is then an answer.
    #[serde(default)]
    pub redirects: u32,
    /// What an answer must be.
    #[serde(default)]
    pub expect: Expect,
    /// What later steps of the journey take from the answer.
    #[serde(default)]
    pub extract: Vec<Extract>,
    /// Ledger that records the acknowledged id.
    pub ledger: Option<String>,
}

/// How requests are signed for AWS (Signature Version 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigV4Plan {
    /// The service's name in signatures.
    pub service: String,
    /// The Region.
    pub region: String,
    /// Access key id.
    pub access_key: Template,
    /// Secret access key: the name of its variable, until the environment is filled in.
    pub secret_key: Template,
    /// Session token of temporary credentials.
    pub session_token: Option<Template>,
}

impl SigV4Plan {
    /// The texts that the environment may have a part in.
    pub(super) fn templates(&mut self) -> impl Iterator<Item = &mut Template> {
        [&mut self.access_key, &mut self.secret_key]
            .into_iter()
            .chain(&mut self.session_token)
    }
}

/// A body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Body {
    /// Content-Type.
    pub content_type: String,
    /// The text.
    pub template: Template,
    /// How holes are filled.
    #[serde(default)]
    pub encoding: Encoding,
    /// The content coding it is sent in; as it is when none.
    #[serde(default)]
    pub compress: Option<Coding>,
}

/// A compiled text with holes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Pieces in order.
    pub parts: Vec<Part>,
}

impl Template {
    /// The text, with nothing where it has holes.
    #[must_use]
    pub fn text(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.parts.iter().filter_map(text).collect()
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Literal text.
    Text(String),
    /// `{{ random(min, max) }}`, both ends included.
    Random(u64, u64),
    /// `{{ unique }}`: an id no other request of the run has; the same within one request.
    Unique,
    /// `{{ id }}`: only in a ledger's read path.
    Id,
    /// `{{ name }}`: what an earlier step of the pass extracted, or a feeder brought.
    Variable(String),
    /// `{{ name | number }}`: the same as a value of JSON, without quotes where it is a number.
    Number(String),
    /// `{{ env(NAME) }}`: a variable of the environment; see [`Plan::with_environment`].
    Env(String),
    /// The token of the client of this index in [`Plan::token_clients`], which its users have at the time.
    Token(usize),
    /// What this gives, in Base64.
    Base64(Template),
    /// Bytes as they are.
    #[serde(with = "in_base64")]
    Bytes(Vec<u8>),
}
