//! What can be typed. Says nothing about what it means: each command's own file does.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::cli::{control, load};
use crate::plan::Wait;
use crate::units::Pace;

/// Grows load on an AWS architecture tenfold at a time, breaks it at every step, and proves from the users' side
/// whether it held.
#[derive(Debug, Parser)]
#[command(name = "tenfold", version, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 objectives met, 1 missed, 2 usage or configuration, 3 inconclusive, \
4 stopped by a stop condition, 5 target or AWS unreachable, 6 a fault is still in the world, 130 interrupted and reverted.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a profile: load, faults, verdict, report
    Run(RunArguments),
    /// Put load on one URL, without a file: users who wait for their answers, or a rate
    Load(LoadArguments),
    /// Print everything `run` would do, with every API call and its revert, and the hash to approve; changes nothing
    Plan(PlanArguments),
    /// Check a profile and its experiments; starts nothing
    Validate(ProfileArguments),
    /// Run the lab alone, for the aws CLI, boto3 and your own experiments
    Lab(LabArguments),
    /// Steer a run that goes on: pause, resume, scale, hold, skip to the next stage, mark an event
    #[command(override_usage = "tenfold control [--json] <RUN_DIR> <pause|resume|hold|skip|scale|mark|status>")]
    Control(ControlArguments),
    /// Look at what a run of this profile needs: credentials, permissions, clock, DNS, limits; changes nothing
    Doctor(ProfileArguments),
    /// Write a target file from what carries a tag in an account, or belongs to a CloudFormation stack
    Discover(DiscoverArguments),
    /// List the faults, or explain one
    Faults(FaultsArguments),
    /// Write an experiment down for another tool
    Export(ExportArguments),
    /// Render a saved run again
    Report(ReportArguments),
    /// Undo what a dead run left in the world, or with --scan what any run left in an account
    #[command(override_usage = "tenfold revert <RUN_DIR>\n       tenfold revert --scan --target <FILE> [--all]")]
    Revert(RevertArguments),
    /// Revert when the run that started it dies; started by `run`
    #[command(hide = true)]
    Watchdog(WatchdogArguments),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// The profile and what overrides it.
#[derive(Debug, Clone, Args)]
pub(super) struct ProfileArguments {
    /// The profile, e.g. profiles/game-day.yaml
    pub(super) profile: PathBuf,
    /// Override any key: `--set stages.0.users=500`, `--set lab.database.multi_az=false`,
    /// `--set experiments.instance-loss.faults.0.role=api`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// The target instead of the profile's: `lab`, a URL, or a target file
    #[arg(long)]
    pub(super) target: Option<String>,
    /// How many times faster than real the lab's cloud lives (1 on AWS)
    #[arg(long)]
    pub(super) pace: Option<Pace>,
    /// Seed of every random choice
    #[arg(long)]
    pub(super) seed: Option<u64>,
}

/// `tenfold run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// The profile and its overrides.
    #[command(flatten)]
    pub(super) profile: ProfileArguments,
    /// Where the run is saved [default: reports/runs/<time>-<profile>]
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
    /// The hash that `tenfold plan` ended with; without it nothing is broken outside the lab. With --dry-run it is only
    /// checked
    #[arg(long, value_name = "HASH")]
    pub(super) approve: Option<String>,
    /// Resolve everything, look for other runs, ask the guards, print what would be called, and end; changes nothing
    #[arg(long, conflicts_with = "json")]
    pub(super) dry_run: bool,
    /// Print the report as JSON instead of the summary
    #[arg(long)]
    pub(super) json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// `tenfold load`.
#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// What to ask for, e.g. http://localhost:8080/products
    pub(super) url: String,
    /// Users, each waiting for its answer before it asks again [default: 50]
    #[arg(long, short = 'u', conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(super) users: Option<u32>,
    /// Requests a second, whatever becomes of those before, e.g. 5000/s
    #[arg(long, short = 'r', value_parser = load::rate)]
    pub(super) rate: Option<f64>,
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = load::some_time)]
    pub(super) duration: Duration,
    /// Time a user thinks between two requests, as in a profile: 5s, 5s..25s, exponential(10s), log_normal(8s, 0.6)
    #[arg(long, value_name = "TIME", default_value = "0s", conflicts_with = "rate")]
    pub(super) think: Wait,
    /// Connections in all, at most, to each address of the host [default: 1000, or one a user who does not think where
    /// these are more]
    #[arg(long, short = 'c', value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) connections: Option<u16>,
    /// Speak HTTP/2: by ALPN to https, else by prior knowledge
    #[arg(long)]
    pub(super) http2: bool,
    /// Requests at once on each connection of HTTP/2
    #[arg(long, default_value = "1", requires = "http2", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) streams: u16,
    /// Cores to use, a thread each [default: all]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) cores: Option<u16>,
    /// Method [default: GET, or POST with a body]
    #[arg(long, short = 'X')]
    pub(super) method: Option<String>,
    /// A header field; may be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub(super) header: Vec<String>,
    /// Body; `@FILE` sends what stands in the file
    #[arg(long, short = 'd')]
    pub(super) body: Option<String>,
    /// How long a request may take
    #[arg(long, default_value = "30s", value_parser = load::some_time)]
    pub(super) timeout: Duration,
    /// File of certificate authorities (PEM) to believe besides the system's
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Do not verify the server's certificate
    #[arg(long)]
    pub(super) insecure: bool,
    /// Response header that says who served, as instance/AZ/Region
    #[arg(long, value_name = "HEADER")]
    pub(super) served_by: Option<String>,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Take the commands of `tenfold control DIR` while it goes on
    #[arg(long, value_name = "DIR")]
    pub(super) control: Option<PathBuf>,
    /// Write the latency of each second to this file, as an HdrHistogram interval log
    #[arg(long, value_name = "FILE")]
    pub(super) hlog: Option<PathBuf>,
    /// Print JSON instead of the summary
    #[arg(long)]
    pub(super) json: bool,
    /// Print no progress
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// `tenfold plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// The profile and its overrides.
    #[command(flatten)]
    pub(super) profile: ProfileArguments,
    /// Print the plan as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Let AWS FIS resolve the targets of the faults it would inject, by experiments whose actions are skipped; creates
    /// templates and deletes them again. With --json the answer is `preview` in the plan
    #[arg(long)]
    pub(super) preview: bool,
}

/// `tenfold lab`.
#[derive(Debug, Args)]
pub(super) struct LabArguments {
    /// A profile whose `lab:` section describes the cloud; without it, the defaults
    #[arg(long, value_name = "PROFILE")]
    pub(super) profile: Option<PathBuf>,
    /// Override a key of the lab: `--set database.multi_az=false`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// How many times faster than real the cloud lives
    #[arg(long, default_value = "30")]
    pub(super) pace: Pace,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Loopback address of the control plane and the DNS server
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) bind: IpAddr,
    /// Port of the control plane; any free one by default
    #[arg(long, default_value_t = 0)]
    pub(super) port: u16,
    /// Write what really happened to this file, one JSON object a line
    #[arg(long)]
    pub(super) truth: Option<PathBuf>,
    /// Print the target as one JSON line instead of what to export
    #[arg(long)]
    pub(super) json: bool,
    /// The lab's configuration as JSON; given by `run`
    #[arg(long, hide = true)]
    pub(super) config: Option<PathBuf>,
    /// End when standard input ends; given by `run`, so that no lab outlives it
    #[arg(long, hide = true)]
    pub(super) until_stdin_closes: bool,
}

/// `tenfold control`.
#[derive(Debug, Args)]
pub(super) struct ControlArguments {
    /// The directory of the run, as `run` printed it, or of `load --control`
    pub(super) run_dir: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub(super) command: ControlCommand,
    /// Print the answer as one line of JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What a run can be told.
#[derive(Debug, Subcommand)]
pub(super) enum ControlCommand {
    /// Start no new passes; the schedule goes on
    Pause,
    /// End a pause and a hold
    Resume,
    /// Let the schedule stand still at the present level; faults in the world keep their own time
    Hold,
    /// Go to the start of the next stage
    Skip,
    /// Multiply the level of the schedule from now on
    Scale {
        /// With this, above 0 and at most 100; 1 is the schedule's own level
        #[arg(allow_negative_numbers = true, value_parser = control::times)]
        times: f64,
    },
    /// Put a mark on the time axis of the report
    Mark {
        /// What it says
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Say how the run is
    Status,
}

/// `tenfold report`.
#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The directory of the run
    pub(super) run_dir: PathBuf,
    /// Print the report as JSON instead of the summary
    #[arg(long)]
    pub(super) json: bool,
}

/// `tenfold revert`.
#[derive(Debug, Args)]
pub(super) struct RevertArguments {
    /// The directory of the run
    #[arg(required_unless_present = "scan")]
    pub(super) run_dir: Option<PathBuf>,
    /// Look for what runs left in the account of a target, by tags, when their directories are lost
    #[arg(long, requires = "target", conflicts_with = "run_dir")]
    pub(super) scan: bool,
    /// The target file of the account to look in
    #[arg(long, value_name = "FILE", requires = "scan")]
    pub(super) target: Option<PathBuf>,
    /// Undo also what has not expired, which a run that goes on may have put there
    #[arg(long, requires = "scan")]
    pub(super) all: bool,
}

/// `tenfold watchdog`.
#[derive(Debug, Args)]
pub(super) struct WatchdogArguments {
    /// The directory of the run
    pub(super) run_dir: PathBuf,
    /// Unix seconds at which the target's clock and real time agreed
    #[arg(long)]
    pub(super) epoch: f64,
}

/// `tenfold export`.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// For which
    #[command(subcommand)]
    pub(super) command: ExportCommand,
}

/// For whom an experiment is written down.
#[derive(Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// Print the template of AWS FIS that injects an experiment's faults into the target as it is now; creates nothing
    Fis {
        /// The experiment, e.g. chaos/region-blackout.yaml
        experiment: PathBuf,
        /// `lab` or a target file
        #[arg(long, default_value = "lab")]
        target: String,
    },
}

/// `tenfold faults`.
#[derive(Debug, Args)]
pub(super) struct FaultsArguments {
    /// The one to explain, e.g. rds.failover
    pub(super) name: Option<String>,
}

/// `tenfold discover`.
#[derive(Debug, Args)]
pub(super) struct DiscoverArguments {
    /// What belongs to this CloudFormation stack (by the tag aws:cloudformation:stack-name, which CloudFormation sets)
    #[arg(long, value_name = "NAME", required_unless_present = "tag", conflicts_with = "tag")]
    pub(super) stack: Option<String>,
    /// What carries this tag
    #[arg(long, value_name = "KEY=VALUE", value_parser = crate::cli::discover::tag)]
    pub(super) tag: Option<(String, String)>,
    /// Regions to look in, the primary first
    #[arg(
        long = "region",
        value_name = "REGION",
        required = true,
        env = "AWS_REGION",
        value_delimiter = ','
    )]
    pub(super) regions: Vec<String>,
    /// Another endpoint than AWS, such as that of `tenfold lab`
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    pub(super) endpoint: Option<String>,
    /// Roles to assume one after the other to reach the account
    #[arg(long, value_name = "ROLE_ARN", value_delimiter = ',')]
    pub(super) assume: Vec<String>,
    /// Name of the target; that of the stack or the tag's value when none is given
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The file to write; standard output when none is given
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}
