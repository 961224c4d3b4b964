//! `tenfold run`: the flow on one page: config -> plan -> target -> run -> judge -> report -> exit code.

use std::sync::Arc;

use anyhow::{Context, anyhow};

use crate::cli::args::RunArguments;
use crate::cli::control::{Keys, Listening};
use crate::cli::exit::{Exit, Failure};
use crate::cli::limits;
use crate::cli::profile;
use crate::cli::progress;
use crate::cli::reflection;
use crate::cli::report::save_reports;
use crate::cli::run_dir::{JOURNAL, RunDir, SECONDS};
use crate::cli::target::{self, Target};
use crate::cli::watchdog::Watchdog;
use crate::cli::{approval, begin, claim, dry_run, out, signals};
use crate::config::Config;
use crate::judge::judge;
use crate::plan::Plan;
use crate::recording::Recording;
use crate::run::chaos::{Journal, RevertSummary, RunHeader};
use crate::run::control::{self, Control};
use crate::run::director::{self, Keep, RunError, Setup};

/// Runs a profile.
pub(super) async fn run(arguments: RunArguments) -> Result<Exit, Failure> {
    if arguments.dry_run {
        return dry_run::dry_run(&arguments.profile, arguments.approve.as_deref()).await;
    }
    let config = profile::load(&arguments.profile)?;
    target::check(&config, &arguments.profile)?;
    let run_dir = RunDir::create(arguments.out.as_deref(), &config.profile.name)?;
    let done = run_in(&run_dir, config, &arguments).await;
    // A refused run leaves nothing to look at, and the next one may have the same directory.
    if done.is_err() && !run_dir.has_begun() {
        run_dir.withdraw();
    }
    done
}

async fn run_in(run_dir: &RunDir, mut config: Config, arguments: &RunArguments) -> Result<Exit, Failure> {
    limits::raise();
    let (interrupts_tx, mut interrupts) = signals::channel();
    signals::listen(interrupts_tx.clone(), Some(run_dir.path().to_owned())).context("cannot listen for signals")?;

    let target = target::connect(&config, &arguments.profile, run_dir.path()).await?;
    target.watch(interrupts_tx.clone());
    reflection::ask(&mut config, &target).await?;
    let plan = target.plan(&config, &arguments.profile)?;
    keys_have_a_file(&plan)?;
    // First who else is at it: what another run left in the world would be approved as how the world was.
    let _lock = begin::may(&target, &plan, run_dir).await?;
    let approved = arguments.approve.as_deref();
    approval::demand(&plan, target.is_own_lab(), approved, &arguments.profile)?;
    let plan = Arc::new(approval::with_approval(plan, approved));
    run_dir.save_plan(&plan)?;
    // What is written down keeps the names of the environment's variables; only what runs has their values.
    let runs = Plan::clone(&plan).with_environment(|name| std::env::var(name).ok());
    let runs = Arc::new(runs.map_err(Failure::usage)?);
    limits::check(&plan, &target::check_entry(&plan).await?)?;

    // A lab of its own ends with the run, and takes with it what would have to be undone.
    let watchdog = match (&target.account, target.is_own_lab()) {
        (Some(_), false) => Watchdog::start(&plan, &target.clock, run_dir).await?,
        _ => None,
    };
    let journal = journal(&target, &plan, run_dir)?;
    let claimed = match claim::claim(&target, &plan, journal.as_ref(), &mut interrupts, run_dir).await {
        Ok(claimed) => claimed,
        Err(failure) => return Err(ended(watchdog, failure).await),
    };
    let (control, orders) = control::control();
    let quiet = arguments.quiet || arguments.json;
    let listening = listen(run_dir, control.clone(), quiet);
    let keys = if quiet { None } else { Keys::listen(control) };
    let (progress, shown) = progress::follow(&plan, quiet);
    let setup = Setup {
        plan: runs,
        clock: target.clock,
        account: target.account.clone(),
        journal,
        interrupts,
        orders,
        progress,
        keep: Keep::OnDisk(run_dir.file(SECONDS)),
    };
    let directed = claimed.during(&interrupts_tx, director::run(setup)).await;
    let (recording, mut reverts) = match directed {
        Ok(done) => done,
        Err(RunError::Broken(mut reverts)) => {
            reverts.failed.extend(claimed.give_back().await);
            return Err(broken(reverts, &plan, run_dir, target.is_own_lab()));
        }
        Err(error) => {
            let failure = claimed.withdraw(not_started(error), &plan, run_dir).await;
            return Err(ended(watchdog, failure).await);
        }
    };
    drop((keys, listening));
    let still_claimed = claimed.give_back().await;
    let is_claimed = !still_claimed.is_empty();
    reverts.failed.extend(still_claimed);
    if let Some(watchdog) = watchdog {
        watchdog.end().await;
    }
    shown.await.context("the progress view failed")?;
    let (gone, was_own_lab) = (target.gone(), target.is_own_lab());
    target.end().await;

    let saved = save(run_dir, &recording);
    let verdict = judge(&plan, &recording);
    let exit = match is_claimed {
        true => Exit::Unreverted,
        false => Exit::of_run(recording.ended, verdict.outcome),
    };
    // What became of the target is told, and is the exit code, whatever becomes of the report.
    let reported = save_reports(run_dir, &plan, &recording, &verdict, arguments.json);
    if let Some(how) = gone {
        tell_gone(&how, &reverts);
    }
    if saved.is_err() {
        for fault in &reverts.reverted {
            out::tell(&format!("reverted: {fault}"));
        }
    }
    tell_unreverted(&reverts, &plan, run_dir, was_own_lab);
    let Err(failure) = saved.and(reported) else {
        return Ok(exit);
    };
    out::tell(&format!("error: {failure}"));
    // Not even success is one without its report.
    Ok(if exit == Exit::Met { failure.exit } else { exit })
}

/// Keeps what was measured: in the recording, or else where it was collected.
fn save(run_dir: &RunDir, recording: &Recording) -> Result<(), Failure> {
    run_dir.save_recording(recording)?;
    if let Err(error) = run_dir.remove(SECONDS) {
        out::tell(&format!("warning: {error:#}"));
    }
    Ok(())
}

/// What kept a run from its start, with the exit code it leads to.
fn not_started(error: RunError) -> Failure {
    let exit = match &error {
        RunError::Token(token) if token.is_unreachable() => Exit::Unreachable,
        RunError::Interrupted => Exit::Interrupted,
        _ => Exit::Usage,
    };
    Failure {
        exit,
        error: anyhow::Error::new(error).context("the run could not start"),
    }
}

/// Why a run did not begin, once its watchdog is gone too: what is left is told, and nobody but the user goes on with it.
async fn ended(watchdog: Option<Watchdog>, failure: Failure) -> Failure {
    if let Some(watchdog) = watchdog {
        watchdog.end().await;
    }
    failure
}

/// A run that panicked proves nothing, and may have left something.
fn broken(reverts: RevertSummary, plan: &Plan, run_dir: &RunDir, is_own_lab: bool) -> Failure {
    tell_unreverted(&reverts, plan, run_dir, is_own_lab);
    let exit = match reverts.failed.is_empty() {
        true => Exit::Inconclusive,
        false => Exit::Unreverted,
    };
    Failure {
        exit,
        error: RunError::Broken(reverts).into(),
    }
}

/// What this run does to an account is written down here; a plain URL has none.
fn journal(target: &Target, plan: &Plan, run_dir: &RunDir) -> anyhow::Result<Option<Arc<Journal>>> {
    if target.account.is_none() {
        return Ok(None);
    }
    let path = run_dir.file(JOURNAL);
    let journal = Journal::create(&path, RunHeader::new(plan));
    let journal = journal.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(Arc::new(journal)))
}

/// Where the run can be steered; one that cannot goes on without.
fn listen(run_dir: &RunDir, control: Control, quiet: bool) -> Option<Listening> {
    let path = run_dir.path().display();
    match Listening::in_dir(run_dir.path(), control) {
        Ok(listening) => {
            if !quiet {
                out::tell(&format!(
                    "steer it with: tenfold control {path} pause|resume|hold|skip|scale X|mark TEXT|status"
                ));
            }
            Some(listening)
        }
        Err(error) => {
            out::tell(&format!(
                "warning: this run cannot be steered: cannot listen in {path}: {error}\n\
                 hint: a socket's path has at most 107 bytes; choose a shorter --out"
            ));
            None
        }
    }
}

/// The file that TLS keys are logged to, by the convention of browsers and curl (NSS Key Log Format).
const KEY_LOG_FILE: &str = "SSLKEYLOGFILE";

/// Keys that are to be logged and have no file to go to would be missed only when somebody wants to read what was sent.
fn keys_have_a_file(plan: &Plan) -> Result<(), Failure> {
    if plan.client.tls.key_log && std::env::var_os(KEY_LOG_FILE).is_none() {
        return Err(Failure::usage(anyhow!(
            "`client.tls.key_log` has no file to write to\n\
             hint: name one: {KEY_LOG_FILE}=keys.log tenfold run ..., or leave `key_log` out"
        )));
    }
    Ok(())
}

fn tell_gone(how: &str, reverts: &RevertSummary) {
    out::tell(&format!("error: {how}"));
    for fault in &reverts.gone {
        out::tell(&format!(
            "{fault} was in the world of that lab and ended with it; nothing is left to undo"
        ));
    }
}

/// Tells what is left, and what to do about it; a lab of the run's own ends with it, and what is left in it too.
fn tell_unreverted(reverts: &RevertSummary, plan: &Plan, run_dir: &RunDir, is_own_lab: bool) {
    if reverts.failed.is_empty() {
        return;
    }
    let endpoint = plan.target.endpoint.as_deref().filter(|_| !is_own_lab);
    out::tell_left(&reverts.failed, endpoint);
    let hint = match is_own_lab {
        true => {
            "the lab ends with its run, and this with it; in an account it would stay until it is undone".to_owned()
        }
        false => format!("undo it with: tenfold revert {}", run_dir.path().display()),
    };
    out::tell(&format!("hint: {hint}"));
}
