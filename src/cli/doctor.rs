//! `tenfold doctor`: what a run of this profile needs, looked at one by one before anything moves. Changes nothing.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::aws::{AwsError, Reader};
use crate::cli::args::ProfileArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::remedy::remedy;
use crate::cli::target::Target;
use crate::cli::{begin, limits, out, profile, quotas, target};
use crate::plan::{self, Plan, PlanOptions};
use crate::run::load;
use crate::run::observe;

/// SigV4 refuses signatures that are further off (AWS General Reference, signature elements: 5 minutes).
const SIGNATURE_TOLERANCE_S: f64 = 300.0;
/// Beyond it, times that AWS writes down cannot be laid beside ours without saying so.
const OFFSET_WARNING_S: f64 = 2.0;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// It works, or it may not matter here.
    Doubtful,
    Ill,
    /// AWS or the target does not answer.
    Unreachable,
}

struct Finding {
    state: State,
    what: String,
    says: String,
}

#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    /// What would help, below all of them.
    hint: Option<String>,
}

impl Findings {
    fn add(&mut self, state: State, what: impl Into<String>, says: impl Into<String>) {
        self.all.push(Finding {
            state,
            what: what.into(),
            says: says.into(),
        });
    }

    fn add_failure(&mut self, state: State, what: &str, failure: &Failure) {
        let said = failure.to_string();
        let (says, hint) = said.split_once("\nhint: ").unwrap_or((&said, ""));
        self.add(state, what, says);
        if !hint.is_empty() {
            self.hint.get_or_insert(hint.to_owned());
        }
    }

    fn exit(&self) -> Exit {
        let any = |state| self.all.iter().any(|one| one.state == state);
        match (any(State::Unreachable), any(State::Ill)) {
            (true, _) => Exit::Unreachable,
            (false, true) => Exit::Usage,
            (false, false) => Exit::Met,
        }
    }

    fn text(&self) -> String {
        let longest = self.all.iter().map(|one| one.what.len()).max().unwrap_or_default();
        let mut text = String::new();
        for one in &self.all {
            let state = match one.state {
                State::Well => "ok",
                State::Doubtful => "look",
                State::Ill => "bad",
                State::Unreachable => "away",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{state:<5} {:longest$}  {}", one.what, one.says);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

/// Looks at everything, and says how it stands.
pub(super) async fn doctor(arguments: ProfileArguments) -> Result<Exit, Failure> {
    let config = profile::load(&arguments)?;
    target::check(&config, &arguments)?;
    limits::raise();
    let scratch = tempdir()?;
    let looked = look(&config, &arguments, scratch.path()).await;
    let findings = looked?;
    out::print(&findings.text())?;
    Ok(findings.exit())
}

/// Where the lab's configuration and log go; gone with the value.
fn tempdir() -> Result<Scratch, Failure> {
    let path = std::env::temp_dir().join(format!("tenfold-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(|error| {
        Failure::usage(anyhow::Error::new(error).context(format!("cannot create {}", path.display())))
    })?;
    Ok(Scratch(path))
}

struct Scratch(std::path::PathBuf);

impl Scratch {
    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Its absence is no error.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn look(
    config: &crate::config::Config,
    arguments: &ProfileArguments,
    scratch: &std::path::Path,
) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let target = match target::connect(config, arguments, scratch).await {
        Ok(target) => target,
        Err(failure) if failure.exit == Exit::Unreachable => {
            let (described, pace) = target::foreseen(config, arguments)?;
            let seed = target::seed(config, arguments);
            let plan = plan::build(config, described, &PlanOptions { seed, pace }).map_err(Failure::usage)?;
            away(&mut findings, &plan, &failure);
            // A lab that did not start is nowhere.
            if target::is_elsewhere(config, arguments) {
                clock(&mut findings, &plan).await;
                of_this_process(&mut findings, &plan);
                from_here(&mut findings, &plan).await;
            }
            return Ok(findings);
        }
        Err(failure) => return Err(failure),
    };
    let looked = match target.plan(config, arguments) {
        Err(failure) => Err(failure),
        Ok(plan) => {
            if let Some((reader, _)) = &target.account {
                account(&mut findings, &plan, reader).await;
            }
            if plan.has_faults() && !target.is_own_lab() {
                other_runs(&mut findings, &target, &plan).await;
            }
            of_this_process(&mut findings, &plan);
            from_here(&mut findings, &plan).await;
            Ok(findings)
        }
    };
    target.end().await;
    looked
}

/// Who else is at the account, or has left something there.
async fn other_runs(findings: &mut Findings, target: &Target, plan: &Plan) {
    // Of whom the account is stands above already.
    if plan.is_of_another_account() {
        return;
    }
    let against = begin::against(target, plan).await;
    if against.is_empty() {
        findings.add(State::Well, "other runs", "none is under way here or has left anything");
    }
    for failure in against {
        let state = match failure.exit {
            Exit::Unreachable => State::Unreachable,
            _ => State::Ill,
        };
        findings.add_failure(state, "other runs", &failure);
    }
}

/// What nobody could be asked, for the target could not be described, and what may help.
fn away(findings: &mut Findings, plan: &Plan, failure: &Failure) {
    findings.add(State::Unreachable, "target", format!("{:#}", failure.error));
    let mut unasked = |what: String, question: String| {
        findings.add(State::Unreachable, what, format!("not asked {question}"));
    };
    unasked(
        "credentials".to_owned(),
        "whose they are (sts:GetCallerIdentity)".to_owned(),
    );
    for region in &plan.target.regions {
        unasked(format!("Region {region}"), "what the roles stand for there".to_owned());
    }
    let mut experiments = plan.experiments.iter();
    if experiments.any(|experiment| !experiment.faults.is_empty()) {
        unasked("experiments".to_owned(), "what their faults would hit".to_owned());
        for region in &plan.target.regions {
            let question = "whether what the faults need fits beside what is there";
            unasked(format!("quotas {region}"), question.to_owned());
        }
    }
    let actions = plan::actions(plan).len();
    let question = format!("whether {actions} actions are allowed (iam:SimulatePrincipalPolicy)");
    unasked("permissions".to_owned(), question);
    findings.hint = failure
        .error
        .downcast_ref::<AwsError>()
        .map(|error| remedy(error, plan.target.endpoint.as_deref()));
}

async fn account(findings: &mut Findings, plan: &Plan, reader: &Reader) {
    let Some(first) = plan.target.regions.first() else {
        return;
    };
    let caller = match reader.caller(first).await {
        Ok(caller) => caller.arn,
        Err(error) => return findings.add(State::Unreachable, "credentials", error.to_string()),
    };
    let (expected, found) = (&plan.target.account, &plan.target.inventory.account);
    if expected == found {
        let account = found.as_deref().unwrap_or("unknown");
        findings.add(State::Well, "credentials", format!("{caller} in account {account}"));
    } else {
        let (expected, found) = (expected.as_deref(), found.as_deref());
        let says = format!(
            "they belong to account {}, the target is {}",
            found.unwrap_or("unknown"),
            expected.unwrap_or("unknown")
        );
        findings.add(State::Ill, "credentials", says);
    }
    for region in &plan.target.regions {
        let found = plan.target.inventory.regions.get(region);
        let (groups, databases) = found.map_or((0, 0), |found| (found.groups.len(), found.databases.len()));
        let says = format!("answers: groups {groups}, databases {databases} of the roles");
        let state = if groups + databases > 0 {
            State::Well
        } else {
            State::Doubtful
        };
        findings.add(state, format!("Region {region}"), says);
    }
    roles(findings, plan);
    resources(findings, plan);
    permissions(findings, plan, reader, &caller).await;
    for region in &plan.target.regions {
        fits(findings, plan, reader, region).await;
    }
    clock(findings, plan).await;
}

/// Roles that stand for nothing.
fn roles(findings: &mut Findings, plan: &Plan) {
    for (name, role) in &plan.target.roles {
        if plan.target.inventory.has(role) == Some(false) {
            let regions = plan.target.regions.join(", ");
            findings.add(
                State::Ill,
                format!("role {name}"),
                format!("there is no {role} in {regions}"),
            );
        }
    }
}

/// Faults that would hit nothing, or nothing that they may, as the account is now.
fn resources(findings: &mut Findings, plan: &Plan) {
    for experiment in &plan.experiments {
        for fault in &experiment.faults {
            let name = fault.fault.name();
            let says = match plan::unmarked(fault, &plan.target) {
                Some(why) => format!("{name} would be refused: {why}"),
                None if fault.calls.is_empty() => format!("{name} finds nothing to hit in {}", fault.region),
                None => continue,
            };
            findings.add(State::Ill, format!("experiment {}", experiment.name), says);
        }
    }
}

/// Whether what the faults need fits beside what the account has.
async fn fits(findings: &mut Findings, plan: &Plan, reader: &Reader, region: &str) {
    match quotas::quotas(plan, reader, region).await {
        Err(error) => findings.add(State::Doubtful, format!("quotas {region}"), error.to_string()),
        Ok(quotas) => {
            for quota in quotas {
                // An account may have been given more.
                let state = if quota.fits() { State::Well } else { State::Doubtful };
                findings.add(state, format!("quotas {region}"), quota.in_words());
            }
        }
    }
}

async fn permissions(findings: &mut Findings, plan: &Plan, reader: &Reader, caller: &str) {
    let needed: Vec<&str> = plan::actions(plan).into_iter().collect();
    let Some(principal) = principal(caller) else {
        let says = format!("{caller} is no user and no role, so what it may do cannot be simulated");
        return findings.add(State::Doubtful, "permissions", says);
    };
    match reader.simulate(&principal, &needed).await {
        Err(error) => {
            let says = format!(
                "not known: {}; grant iam:SimulatePrincipalPolicy to have them looked at",
                error.brief()
            );
            findings.add(State::Doubtful, "permissions", says);
        }
        Ok(decisions) => {
            let refused = |action: &&&str| decisions.get(**action).is_none_or(|decision| decision != "allowed");
            let denied: Vec<&str> = needed.iter().filter(refused).copied().collect();
            if denied.is_empty() {
                let says = format!("{} actions are allowed, conditions on resources aside", needed.len());
                findings.add(State::Well, "permissions", says);
            } else {
                let says = format!("{principal} may not use {}", denied.join(", "));
                findings.add(State::Ill, "permissions", says);
            }
        }
    }
}

/// The user or role whose policies decide about a caller: a session of a role counts as the role.
fn principal(caller: &str) -> Option<String> {
    let (head, rest) = caller.split_once(":sts::").unwrap_or((caller, ""));
    if rest.is_empty() {
        let known = caller.contains(":user/") || caller.contains(":role/");
        return known.then(|| caller.to_owned());
    }
    let (account, session) = rest.split_once(":assumed-role/")?;
    // A role's path is not part of the session's ARN; a role below a path is then not found, and said not to be.
    let role = session.split('/').next()?;
    Some(format!("{head}:iam::{account}:role/{role}"))
}

async fn clock(findings: &mut Findings, plan: &Plan) {
    let url = match (&plan.target.endpoint, plan.target.regions.first()) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(region)) => format!("https://sts.{region}.amazonaws.com/"),
        (None, None) => return,
    };
    match observe::clock_offset(&url).await {
        Err(error) => findings.add(State::Doubtful, "clock", error.to_string()),
        Ok(offset) => {
            let says = format!("the endpoint's is {offset:+.1} s from ours, to the second");
            let state = match offset.abs() {
                far if far > SIGNATURE_TOLERANCE_S => State::Ill,
                off if off > OFFSET_WARNING_S => State::Doubtful,
                _ => State::Well,
            };
            findings.add(state, "clock", says);
        }
    }
}

/// What this machine can do, and how it reaches the users' entry.
async fn from_here(findings: &mut Findings, plan: &Plan) {
    let answer = observe::entry_answer(plan).await;
    // What the account would have told, DNS does.
    let told: Option<Vec<SocketAddr>> =
        answer
            .as_ref()
            .ok()
            .filter(|_| plan.target.edge.is_empty())
            .map(|(addresses, _)| {
                let all = addresses.iter();
                all.map(|address| SocketAddr::new(*address, plan.target.port)).collect()
            });
    match answer {
        Ok((addresses, ttl)) => {
            let known = addresses
                .iter()
                .filter(|one| plan.target.edge.contains_key(one))
                .count();
            let (host, count) = (&plan.target.host, addresses.len());
            // An address stands for itself for ever.
            let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
            let lasts = if is_name {
                format!(" for {ttl:?}")
            } else {
                String::new()
            };
            let says = format!("{host} is {count} addresses{lasts}, {known} of them in a known Region");
            findings.add(State::Well, "DNS", says);
        }
        Err(error) => findings.add(State::Unreachable, "DNS", format!("{}: {error}", plan.target.host)),
    }
    let accepted = match told {
        Some(addresses) => target::accepts(&plan.target.host, addresses).await,
        None => target::check_entry(plan).await,
    };
    match accepted {
        Err(failure) => {
            let says = format!("{:#}", failure.error);
            findings.add(State::Unreachable, "entry", says.lines().next().unwrap_or_default());
        }
        Ok(addresses) => {
            findings.add(
                State::Well,
                "entry",
                format!("{} accepts connections", plan.target.host),
            );
            match limits::verdict(plan, &addresses) {
                plan::Capacity::Enough => {
                    let limits = load::limits();
                    let says = format!("{} descriptors, {} local ports", limits.descriptors, limits.ports);
                    findings.add(State::Well, "limits", says);
                }
                plan::Capacity::Doubtful(why) => findings.add(State::Doubtful, "limits", why),
                plan::Capacity::Lacking(why) => findings.add(State::Ill, "limits", why),
            }
        }
    }
}

/// What a run takes from this process: variables of its environment, and addresses to send from.
fn of_this_process(findings: &mut Findings, plan: &Plan) {
    let filled = plan.clone().with_environment(|name| std::env::var(name).ok());
    let lacking = [
        ("environment", filled.map(|_| ()).map_err(Failure::usage)),
        ("sources", limits::check_sources(plan)),
    ];
    for (what, checked) in lacking {
        if let Err(failure) = checked {
            findings.add_failure(State::Ill, what, &failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_role_counts_as_the_role() {
        for (caller, expected) in [
            (
                "arn:aws:iam::111122223333:user/ops/tenfold",
                Some("arn:aws:iam::111122223333:user/ops/tenfold"),
            ),
            (
                "arn:aws:sts::111122223333:assumed-role/game-day/session-1",
                Some("arn:aws:iam::111122223333:role/game-day"),
            ),
            (
                "arn:aws-cn:sts::111122223333:assumed-role/game-day/s",
                Some("arn:aws-cn:iam::111122223333:role/game-day"),
            ),
            ("arn:aws:iam::111122223333:root", None),
            ("arn:aws:sts::111122223333:federated-user/x", None),
        ] {
            assert_eq!(principal(caller).as_deref(), expected, "{caller}");
        }
    }

    #[test]
    fn the_worst_finding_is_the_exit_code() {
        let exit = |states: &[State]| {
            let mut findings = Findings::default();
            states.iter().for_each(|state| findings.add(*state, "x", "y"));
            findings.exit()
        };
        assert_eq!(exit(&[State::Well, State::Doubtful]), Exit::Met);
        assert_eq!(exit(&[State::Well, State::Ill]), Exit::Usage);
        assert_eq!(exit(&[State::Ill, State::Unreachable]), Exit::Unreachable);
    }
}
