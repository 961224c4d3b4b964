//! tenfold grows load on an AWS architecture tenfold at a time, breaks it at every step, and proves from the
//! users' side whether it held.
//!
//! # The map
//! Data flows one way: `config -> plan -> run -> judge -> report`, and `cli/run.rs` is that flow on one page.
//!
//! - [`units`], [`clock`]: words and time. *Cloud time* governs the schedule and everything AWS dates; *real time*
//!   governs latencies, think time and rates; the [`units::Pace`] lies between them.
//! - [`config`]: what the user wrote, typed, every mistake at once with file, line and remedy.
//! - [`plan`]: what will happen, as pure data: stages, fault windows, every API call and its revert.
//! - [`run`]: making it happen. The director selects over samples, the timeline, signals and stop conditions;
//!   `load` is the generator, `chaos` puts faults into the world and takes them out, `observe` watches.
//! - [`event`], [`recording`]: what happened.
//! - [`judge`]: (plan, recording) -> verdict: met, missed or inconclusive.
//! - [`report`]: terminal, JSON (the contract), HTML, JUnit.
//! - [`aws`]: the AWS SDK lives there and nowhere else.
//! - [`lab`]: a small cloud in one process. It does not know the harness, which meets it only through sockets.
//! - [`cli`]: the only door to arguments, environment, files and terminal.
//!
//! # Invariants
//! 1. Below `cli`, nothing knows whether it talks to AWS or to the lab.
//! 2. No request waits for an earlier answer before its intended start; what could not be sent in time is counted,
//!    never hidden.
//! 3. An injection is in the journal, fsynced, before it is in the world; the undo data is typed before-images.
//! 4. `plan` and `judge` are pure.
//! 5. Every queue is bounded; every overflow is counted and shown.
//! 6. A measurement the generator could not keep up with is inconclusive, not a pass.
//! 7. Dry run holds a client type that has no write methods.
//! 8. Percentiles are only ever computed from merged histograms, never averaged.

pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
pub mod judge;
pub mod lab;
pub mod plan;
pub mod recording;
pub mod report;
pub mod run;
pub mod units;
