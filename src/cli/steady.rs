//! An experiment in place of a profile: it runs in the lab under a built-in steady load, `profiles/steady.yaml`, which
//! holds for as long as the experiment lasts and has what its faults need.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;

use crate::cli::args::ProfileArguments;
use crate::cli::exit::Failure;
use crate::cli::{out, profile};
use crate::config::catalogue::{Fault, Hits};
use crate::config::entry::Entry;
use crate::config::{self, At, Config, Experiment, Load, Sources, TargetRef};
use crate::lab::LabConfig;
use crate::units::{format_count, format_duration};

const NAME: &str = "profiles/steady.yaml";
const TEXT: &str = include_str!("../../profiles/steady.yaml");

/// The hold goes on for so long after the experiment has settled, cloud time.
const AFTER: Duration = Duration::from_secs(30);

/// Loads the experiment with the built-in load, and says so.
pub(super) fn load(arguments: &ProfileArguments, experiment: String) -> Result<Config, Failure> {
    let given = profile::overrides(&arguments.set)?;
    let sources = Sources {
        profile: (NAME.to_owned(), TEXT.to_owned()),
        experiments: vec![(arguments.profile.display().to_string(), experiment)],
        ..Sources::default()
    };
    let load = |overrides: &[(String, String)]| config::load(&sources, overrides).map_err(Failure::usage);
    let first = load(&given)?;
    if let Some(other) = first.profile.chaos.first() {
        return Err(Failure::usage(anyhow!(
            "{} runs alone under the built-in load, without {}\nhint: list both under `chaos` of a profile",
            arguments.profile.display(),
            other.value
        )));
    }
    only_in_a_lab(arguments, &first)?;
    // What the user sets comes after what the experiment needs.
    let needed = needed(&first);
    let mut config = load(&[needed.clone(), given].concat())?;
    tell(&arguments.profile, &config, &needed);
    let experiment = config.experiments.first().map(|experiment| experiment.name.clone());
    config.profile.name = format!("{}-on-steady-load", experiment.unwrap_or_default());
    Ok(config)
}

/// What the load must be for this experiment, as overrides.
fn needed(config: &Config) -> Vec<(String, String)> {
    let ramp = config
        .profile
        .stages
        .first()
        .map(|stage| stage.ramp)
        .unwrap_or_default();
    let lasts = config.experiments.iter().map(|experiment| ends_at(experiment, ramp));
    let hold = lasts.max().unwrap_or_default().saturating_add(AFTER);
    let mut needed = vec![("stages.0.hold".to_owned(), format!("{}s", hold.as_secs() + 1))];
    let has = |is: fn(&Fault) -> bool| {
        let mut faults = config.experiments.iter().flat_map(|experiment| &experiment.faults);
        faults.any(|entry| is(&entry.fault))
    };
    if has(|fault| *fault == Fault::Route53ZeroWeight) {
        needed.push(("lab.routing".to_owned(), "weighted".to_owned()));
    }
    if has(|fault| matches!(fault, Fault::Ec2SpotInterruption { .. })) {
        needed.push(("lab.web.on_demand_percentage".to_owned(), "0".to_owned()));
    }
    let mut faults = config.experiments.iter().flat_map(|experiment| &experiment.faults);
    // Nothing that the application does goes to another Region but what it asks of the primary there.
    let crossed = faults.find_map(|entry| match &entry.fault {
        Fault::NetworkCrossRegion { to } => Some(to.clone()),
        _ => None,
    });
    if crossed.is_some() || has(|fault| fault.entry().hits == Hits::Cluster) {
        needed.push(("lab.database.engine".to_owned(), "aurora-postgresql".to_owned()));
    }
    if crossed.is_some() || has(|fault| fault.hands_over_to().is_some()) {
        needed.push(("lab.database.global".to_owned(), "true".to_owned()));
    }
    // Of a Region that the lab has not, the fault itself is told.
    if let Some(region) = crossed.filter(|region| LabConfig::default().regions.contains(region)) {
        needed.push(("lab.database.primary".to_owned(), region));
    }
    needed
}

/// When an experiment has settled, after the hold began.
fn ends_at(experiment: &Experiment, ramp: Duration) -> Duration {
    let end = |at: At, lasts: Option<Duration>| {
        let begins = match at {
            At::Start(after) | At::Stage(_, after) => after.saturating_sub(ramp),
            At::Hold(_, after) => after,
        };
        begins
            .saturating_add(lasts.unwrap_or_default())
            .saturating_add(experiment.settle)
    };
    let ends = experiment.faults.iter().map(|fault| end(fault.at.value, fault.lasts));
    ends.max().unwrap_or_default()
}

/// The built-in users browse and order in the lab's shop; nobody else's is to be asked for that.
fn only_in_a_lab(arguments: &ProfileArguments, config: &Config) -> Result<(), Failure> {
    let named = arguments.target.as_deref().map(TargetRef::read);
    let target = named.as_ref().unwrap_or(&config.profile.target);
    let name = match target {
        TargetRef::Lab => return Ok(()),
        TargetRef::File(path) => {
            let file = config::load_target(path, &profile::read(Path::new(path))?).map_err(Failure::usage)?;
            if file.endpoint.as_deref().is_some_and(is_here) {
                return Ok(());
            }
            path
        }
        TargetRef::Url(url) => url,
    };
    Err(Failure::usage(anyhow!(
        "{} is an experiment, and the built-in load it would run under is for labs only, not for {name}\n\
         hint: list it under `chaos` of a profile whose journeys are those of your users",
        arguments.profile.display()
    )))
}

/// Whether an endpoint is on this machine, as that of a lab that runs alone is.
fn is_here(endpoint: &str) -> bool {
    let host = Entry::bare(endpoint).map(|entry| entry.host);
    host.is_ok_and(|host| host.parse().is_ok_and(|address: IpAddr| address.is_loopback()))
}

fn tell(path: &Path, config: &Config, needed: &[(String, String)]) {
    let stage = config.profile.stages.first();
    let load = stage.map(|stage| {
        let users = match stage.load {
            Load::Users(users) => format!("{} users", format_count(users)),
            Load::Arrivals(rate) => format!("{rate} users a second"),
        };
        let (ramp, hold) = (format_duration(stage.ramp), format_duration(stage.hold));
        format!("{users} who browse and order, ramp {ramp}, hold {hold}")
    });
    out::tell(&format!(
        "{} is an experiment, not a profile: it runs under the built-in load ({NAME}): {}",
        path.display(),
        load.unwrap_or_default()
    ));
    for (key, value) in needed.iter().filter(|(key, _)| key.starts_with("lab.")) {
        out::tell(&format!(
            "its faults need {key}={value}, which is set unless --set says otherwise"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::target;

    fn arguments(set: &[&str]) -> ProfileArguments {
        ProfileArguments {
            profile: "e.yaml".into(),
            set: set.iter().map(|one| (*one).to_owned()).collect(),
            target: None,
            pace: None,
            seed: None,
        }
    }

    fn load(faults: &str, set: &[&str]) -> Result<Config, Failure> {
        let text = format!("{{name: e, hypothesis: h, settle: 4m, faults: [{faults}]}}");
        assert!(config::is_experiment(&text));
        super::load(&arguments(set), text)
    }

    #[test]
    fn the_hold_is_as_long_as_the_experiment() {
        let stop = "{fault: rds.stop, role: database, at: hold + 2m, lasts: 6m}";
        let config = load(stop, &[]).expect("it is right");
        assert_eq!(config.profile.name, "e-on-steady-load");
        let hold = config.profile.stages[0].hold;
        assert!((750..=760).contains(&hold.as_secs()), "{hold:?}");
        assert!(config.lab.get("routing").is_none());
        target::check(&config, &arguments(&[])).expect("it fits");
        let early = "{fault: rds.reboot, role: database, at: 3m, irreversible: true}";
        let config = load(early, &[]).expect("it is right");
        target::check(&config, &arguments(&[])).expect("it fits");
        let own = load(stop, &["stages.0.hold=1h", "stages.0.users=7"]).expect("it is right");
        assert_eq!(own.profile.stages[0].hold, Duration::from_secs(3600));
    }

    #[test]
    fn weights_are_there_for_a_weight_of_zero_unless_the_user_says_otherwise() {
        let zero = "{fault: route53.zero_weight, role: dns, at: hold + 2m, lasts: 6m}";
        let routing = |set: &[&str]| load(zero, set).expect("it is right").lab["routing"].clone();
        assert_eq!(routing(&[]), "weighted");
        assert_eq!(routing(&["lab.routing=latency"]), "latency");
    }

    #[test]
    fn there_are_spot_instances_for_an_interruption() {
        let spot = "{fault: ec2.spot_interruption, role: web, share: 34%, at: hold + 2m, irreversible: true}";
        let config = load(spot, &[]).expect("it is right");
        assert_eq!(config.lab["web"]["on_demand_percentage"], 0);
    }

    #[test]
    fn a_cluster_is_there_for_the_faults_of_clusters() {
        let failover = "{fault: rds.failover_cluster, role: database, at: hold + 2m, irreversible: true}";
        let config = load(failover, &[]).expect("it is right");
        assert_eq!(config.lab["database"]["engine"], "aurora-postgresql");
        assert!(config.lab["database"].get("global").is_none());
        let switchover =
            "{fault: rds.switchover_global, role: database, to: eu-west-1, at: hold + 2m, irreversible: true}";
        let config = load(switchover, &[]).expect("it is right");
        assert_eq!(config.lab["database"]["global"], true);
    }

    #[test]
    fn the_application_crosses_over_to_the_region_that_is_not_to_be_reached() {
        let crossed = "{fault: network.cross_region, role: web, to: eu-west-1, at: hold + 2m, lasts: 4m}";
        let config = load(crossed, &[]).expect("it is right");
        let database = &config.lab["database"];
        assert_eq!(
            (&database["engine"], &database["global"], &database["primary"]),
            (&"aurora-postgresql".into(), &true.into(), &"eu-west-1".into())
        );
    }

    #[test]
    fn nobody_but_a_lab_gets_the_built_in_load() {
        let stop = "{fault: rds.stop, role: database, at: hold + 2m, lasts: 6m}";
        let refused = load(stop, &["target=http://shop.example.com"]).expect_err("no lab");
        assert!(refused.to_string().contains("for labs only"), "{refused}");
        let several = load(stop, &["chaos=[chaos/instance-loss.yaml]"]).expect_err("it runs alone");
        assert!(
            several.to_string().contains("without chaos/instance-loss.yaml"),
            "{several}"
        );
        assert!(is_here("http://127.0.0.1:4566"));
        assert!(!is_here("https://ec2.us-east-1.amazonaws.com"));
        assert!(!is_here("http://localhost.example.com:4566"));
    }

    #[test]
    fn a_profile_is_no_experiment() {
        assert!(!config::is_experiment(TEXT));
        assert!(!config::is_experiment("faults: ["));
        assert!(!config::is_experiment("7"));
    }
}
