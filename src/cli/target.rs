//! From what the user named to a target that can be reached: starts the lab, reads a target file, or takes a URL.
//! Below this door nothing knows which of them it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;

use crate::aws::{Clients, ConnectOptions, Reader, Writer, own_instance};
use crate::cli::args::ProfileArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::lab_child::LabChild;
use crate::cli::{out, profile, typed};
use crate::clock::{Clock, from_unix};
use crate::config::entry::Entry;
use crate::config::{self, Config, TargetFile, TargetRef};
use crate::lab::Announcement;
use crate::plan::{self, Inventory, Plan, PlanOptions, RunnerPlan, TargetPlan, Via};
use crate::run::director::Interrupt;
use crate::run::observe;
use crate::units::Pace;

/// The variable that names the instance on which this runs, where the target file does not.
const RUNNER_INSTANCE: &str = "TENFOLD_RUNNER_INSTANCE";
/// Pace of the lab when neither the profile nor the user says one.
const LAB_PACE: f64 = 30.0;
/// Real time within which the entry must accept a connection before the run.
const REACHABLE_WITHIN: Duration = Duration::from_secs(5);

/// A connected target.
pub(super) struct Target {
    /// Its clock.
    pub(super) clock: Clock,
    /// Its account; none for a plain URL.
    pub(super) account: Option<(Reader, Writer)>,
    /// What is known of it before anything is planned.
    pub(super) described: TargetPlan,
    lab: Option<LabChild>,
}

/// What can be said to be wrong before anything is started or written.
pub(super) fn check(config: &Config, arguments: &ProfileArguments) -> Result<(), Failure> {
    let (described, pace) = foreseen(config, arguments)?;
    // Which resources there are is not known yet; roles, Regions and what is allowed are.
    let options = PlanOptions {
        seed: seed(config, arguments),
        pace,
    };
    plan::build(config, described, &options)
        .map(|_| ())
        .map_err(Failure::usage)
}

/// What is known of a target before it is reached, and how fast its cloud lives.
pub(super) fn foreseen(config: &Config, arguments: &ProfileArguments) -> Result<(TargetPlan, Pace), Failure> {
    let described = |file: &TargetFile| TargetPlan::new(file, BTreeMap::new(), Inventory::default());
    let pace = arguments.pace.or(config.profile.pace);
    match named(config, arguments) {
        TargetRef::Lab => {
            let lab = profile::check_lab(config)?;
            let text = serde_json::to_string(&Announcement::foreseen(&lab)).context("cannot describe the lab")?;
            let file = config::load_target("what the lab will announce", &text).map_err(Failure::usage)?;
            let azs = lab.regions.iter();
            let azs = azs.map(|region| (region.clone(), lab.azs_of(region).into_iter().collect()));
            let described = TargetPlan {
                azs: azs.collect(),
                ..described(&file)
            };
            Ok((described, pace.map_or_else(lab_pace, Ok)?))
        }
        TargetRef::Url(url) => Ok((describe_url(&url)?, pace.unwrap_or(Pace::REAL))),
        TargetRef::File(path) => {
            let file = config::load_target(&path, &profile::read(Path::new(&path))?).map_err(Failure::usage)?;
            let pace = file.clock.map_or(Pace::REAL, |clock| clock.pace);
            check_pace(arguments.pace, pace, &path)?;
            Ok((described(&file), pace))
        }
    }
}

/// The target that the arguments name, or else the profile.
fn named(config: &Config, arguments: &ProfileArguments) -> TargetRef {
    let given = arguments.target.as_deref();
    given.map_or_else(|| config.profile.target.clone(), TargetRef::read)
}

/// Whether the target is not a lab that is started for this command.
pub(super) fn is_elsewhere(config: &Config, arguments: &ProfileArguments) -> bool {
    !matches!(named(config, arguments), TargetRef::Lab)
}

/// The pace of a lab of which none is written.
fn lab_pace() -> Result<Pace, Failure> {
    Pace::new(LAB_PACE).map_err(Failure::usage)
}

/// Connects to the target that the arguments or the profile name; the lab's files go into `dir`.
pub(super) async fn connect(config: &Config, arguments: &ProfileArguments, dir: &Path) -> Result<Target, Failure> {
    let pace = arguments.pace.or(config.profile.pace);
    match named(config, arguments) {
        TargetRef::Lab => {
            let pace = pace.map_or_else(lab_pace, Ok)?;
            let lab = LabChild::start(&profile::lab_section(config), pace, seed(config, arguments), dir)
                .await
                .map_err(Failure::unreachable)?;
            let text = lab.announcement.clone();
            from_file(
                "what the lab announced",
                &text,
                &config.alarms(),
                Some(lab),
                asks_fis(config),
            )
            .await
        }
        // A URL has no cloud that could live faster; a pace still shortens the schedule.
        TargetRef::Url(url) => {
            let pace = pace.unwrap_or(Pace::REAL);
            if pace != Pace::REAL {
                out::tell(&format!(
                    "warning: {url} is no lab, and at pace {pace} the schedule takes 1/{pace} of the time that it names\n\
                     hint: `--pace 1` for the times as they are written"
                ));
            }
            from_url(&url, pace)
        }
        TargetRef::File(path) => {
            let text = profile::read(Path::new(&path))?;
            from_file(&path, &text, &config.alarms(), None, asks_fis(config)).await
        }
    }
}

/// How fast a cloud lives is its own, so a pace that is asked for must be that one; of a profile it is for its lab.
fn check_pace(asked: Option<Pace>, pace: Pace, path: &str) -> Result<(), Failure> {
    match asked {
        Some(asked) if asked != pace => Err(Failure::usage(anyhow!(
            "--pace {asked}: the cloud of {path} lives at pace {pace}\n\
             hint: leave `--pace` out; only a lab that is started for the run can have another"
        ))),
        _ => Ok(()),
    }
}

/// The seed of the run.
pub(super) fn seed(config: &Config, arguments: &ProfileArguments) -> u64 {
    arguments.seed.or(config.profile.seed).unwrap_or(1)
}

/// Credentials for an endpoint that is not AWS and does not check them; real ones come from the SDK's own sources.
pub(super) fn credentials(endpoint: Option<&str>) -> Option<(String, String)> {
    endpoint?;
    match std::env::var("AWS_ACCESS_KEY_ID") {
        Ok(_) => None,
        Err(_) => Some(("lab".to_owned(), "lab".to_owned())),
    }
}

fn from_url(url: &str, pace: Pace) -> Result<Target, Failure> {
    Ok(Target {
        clock: Clock::starting_now(pace),
        account: None,
        described: describe_url(url)?,
        lab: None,
    })
}

fn describe_url(url: &str) -> Result<TargetPlan, Failure> {
    let entry = Entry::bare(url).map_err(Failure::usage)?;
    Ok(TargetPlan::entry(
        entry.host.clone(),
        entry.scheme,
        entry.host,
        entry.port,
    ))
}

/// Whether a fault may be injected by AWS FIS, so that the plan has to know what the account has of it.
fn asks_fis(config: &Config) -> bool {
    let mut faults = config.experiments.iter().flat_map(|experiment| &experiment.faults);
    faults.any(|fault| fault.via() != Via::Api)
}

async fn from_file(
    name: &str,
    text: &str,
    alarms: &[String],
    lab: Option<LabChild>,
    asks_fis: bool,
) -> Result<Target, Failure> {
    let file = config::load_target(name, text).map_err(Failure::usage)?;
    let clock = match file.clock {
        Some(clock) => Clock::new(from_unix(clock.epoch), clock.pace),
        None => Clock::starting_now(Pace::REAL),
    };
    let bare = TargetPlan::new(&file, BTreeMap::new(), Inventory::default());
    if file.regions.is_empty() {
        return Ok(Target {
            clock,
            account: None,
            described: bare,
            lab,
        });
    }
    let clients = Clients::connect(&ConnectOptions {
        endpoint: file.endpoint.clone(),
        regions: file.regions.clone(),
        pace: clock.pace(),
        assume: file.assume.clone(),
        credentials: credentials(file.endpoint.as_deref()),
    })
    .await;
    let reader = clients.reader();
    let undescribed = |error| Failure::unreachable(anyhow::Error::new(error).context("cannot describe the target"));
    let mut inventory = observe::inventory(&reader, &bare.regions, &bare.roles, bare.resolver, clock.pace())
        .await
        .map_err(undescribed)?;
    observe::alarms(&reader, &mut inventory, alarms)
        .await
        .map_err(undescribed)?;
    if asks_fis {
        observe::ask_fis(&reader, &mut inventory).await;
    }
    let mut described = TargetPlan::new(&file, observe::edge(&inventory), inventory);
    if described.runner == RunnerPlan::default() {
        described.runner = runner(file.endpoint.is_none()).await;
    }
    Ok(Target {
        clock,
        account: Some((reader, clients.writer())),
        described,
        lab,
    })
}

/// Where this runs, when the target file does not say: by the variable, or where the account is a real one by the
/// metadata service.
async fn runner(is_aws: bool) -> RunnerPlan {
    if let Ok(instance) = std::env::var(RUNNER_INSTANCE) {
        return RunnerPlan {
            instance: Some(instance),
            subnet: None,
        };
    }
    let disabled = std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|text| text.eq_ignore_ascii_case("true"));
    let own = match is_aws && !disabled {
        true => own_instance(None).await,
        false => None,
    };
    own.map_or_else(RunnerPlan::default, |own| RunnerPlan {
        instance: Some(own.instance),
        subnet: own.subnet,
    })
}

/// Fails when nobody answers at the entry: a run would only measure that. Gives the addresses there are.
pub(super) async fn check_entry(plan: &Plan) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = entry_addresses(&plan.target).await.map_err(Failure::unreachable)?;
    resolves(plan).await.map_err(Failure::unreachable)?;
    accepts(&plan.target.host, addresses).await
}

/// Users go by the name, whatever addresses are known behind it.
async fn resolves(plan: &Plan) -> anyhow::Result<()> {
    if plan.target.edge.is_empty() {
        return Ok(());
    }
    let host = &plan.target.host;
    let hint = "hint: correct `entry` or `resolver` of the target; `addresses` only say where an answer comes from";
    match observe::entry_answer(plan).await {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow!("cannot resolve {host}: {error}\n{hint}")),
    }
}

/// The same of these addresses of it.
pub(super) async fn accepts(host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
    let mut last = anyhow!("{host} has no address");
    for address in &addresses {
        match tokio::time::timeout(REACHABLE_WITHIN, tokio::net::TcpStream::connect(*address)).await {
            Ok(Ok(_)) => return Ok(addresses),
            Ok(Err(error)) => last = anyhow::Error::new(error).context(format!("cannot connect to {address}")),
            Err(_) => last = anyhow!("no connection to {address} within {REACHABLE_WITHIN:?}"),
        }
    }
    let hint = "hint: start what is to answer there, or correct the URL, `target`, `entry` or --target";
    Err(Failure {
        exit: Exit::Unreachable,
        error: anyhow!("{last:#}\n{hint}"),
    })
}

async fn entry_addresses(target: &TargetPlan) -> anyhow::Result<Vec<SocketAddr>> {
    if !target.edge.is_empty() {
        return Ok(target
            .edge
            .keys()
            .map(|address| SocketAddr::new(*address, target.port))
            .collect());
    }
    let found = tokio::net::lookup_host((target.host.as_str(), target.port))
        .await
        .map_err(|error| {
            let hint = "hint: correct the URL, `target` or --target, or the machine's name server";
            anyhow!("cannot resolve {}: {error}\n{hint}", target.host)
        })?;
    Ok(found.collect())
}

impl Target {
    /// Where its users go.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        entry_addresses(&self.described).await.map_err(Failure::unreachable)
    }

    /// The plan of the configuration against this target.
    pub(super) fn plan(&self, config: &Config, arguments: &ProfileArguments) -> Result<Plan, Failure> {
        let options = PlanOptions {
            seed: seed(config, arguments),
            pace: self.clock.pace(),
        };
        let plan = plan::build(config, self.described.clone(), &options).map_err(Failure::usage)?;
        Ok(Plan {
            rerun: typed::rerun(arguments, &plan),
            ..plan
        })
    }

    /// Whether it is a lab that was started for this command alone, and ends with it.
    pub(super) fn is_own_lab(&self) -> bool {
        self.lab.is_some()
    }

    /// Tells the run when the lab ends by itself, if it is one of ours.
    pub(super) fn watch(&self, interrupts: mpsc::Sender<Interrupt>) {
        let Some(mut ended) = self.lab.as_ref().map(LabChild::ended) else {
            return;
        };
        tokio::spawn(async move {
            let reason = ended.wait_for(Option::is_some).await.ok().and_then(|how| how.clone());
            if let Some(reason) = reason {
                // A run that is over has no use for it.
                let _ = interrupts.send(Interrupt::TargetGone(reason)).await;
            }
        });
    }

    /// How the lab ended by itself, if it did.
    pub(super) fn gone(&self) -> Option<String> {
        self.lab.as_ref().and_then(|lab| lab.ended().borrow().clone())
    }

    /// Ends the lab, if it is one of ours.
    pub(super) async fn end(self) {
        if let Some(lab) = self.lab {
            lab.end().await;
        }
    }
}
