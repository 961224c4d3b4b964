//! What a run leaves behind when it dies, and who undoes it. Here is the lab that such runs are pointed at, with its files;
//! the tests are beside, by subject.

mod meanwhile;
mod scan;
mod secrets;
mod watchdog;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenfold::aws::{Clients, ConnectOptions, Reader};
use tenfold::lab::{self, Lab, LabConfig, LabOptions};
use tenfold::units::Pace;

use crate::chaos_in_lab::REGION;
use crate::support::tenfold;

const PACE: &str = "75";
const BLACKOUT: &str = "name: blackout\nhypothesis: users move\n\
                        faults:\n  - { fault: network.deny_region, role: web, at: 1m, lasts: 20m }\nsettle: 1m\n";

/// A lab that the runs do not know, a target file for it, and a profile whose blackout begins soon and lasts. The lab
/// lives here, as long as the runtime does, so that all of its state can be looked at.
struct Scene {
    lab: Arc<Lab>,
    announcement: Value,
    dir: TempDir,
    reader: Reader,
    runtime: tokio::runtime::Runtime,
    before: Network,
}

/// The ACL of every subnet, and how many ACLs there are.
type Network = (BTreeMap<String, String>, usize);

impl Scene {
    fn new() -> Self {
        Self::with(BLACKOUT)
    }

    /// With another experiment than the blackout.
    fn with(experiment: &str) -> Self {
        Self::holding(experiment, "40m")
    }

    /// The same, under a load that holds for so long.
    fn holding(experiment: &str, hold: &str) -> Self {
        let pace: Pace = PACE.parse().expect("a pace");
        let config = LabConfig::from_json(json!({"control_plane": {"lag": "2s"}})).expect("a lab configuration");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let started = runtime.block_on(lab::start(config, LabOptions::at_pace(pace)));
        let (lab, announcement) = started.expect("a lab");
        let announcement = serde_json::to_value(announcement).expect("serialises");
        let dir = TempDir::new().expect("a temporary directory");
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).expect("is written");
        write("target.yaml", announcement.to_string());
        write("blackout.yaml", experiment.to_owned());
        let chaos = dir.path().join("blackout.yaml").display().to_string();
        let stages = format!(
            "journeys: {{ browse: {{ think: 1s..2s, steps: [{{ get: /products/1 }}] }} }}\n\
             stages: [{{ tier: 1, users: 20, hold: {hold} }}]\n"
        );
        write("profile.yaml", format!("name: cut\n{stages}chaos: [{chaos}]\n"));
        let options = ConnectOptions {
            endpoint: announcement["endpoint"].as_str().map(str::to_owned),
            regions: vec![REGION.to_owned(), "eu-west-1".to_owned()],
            pace,
            assume: Vec::new(),
            credentials: Some(("test".to_owned(), "test".to_owned())),
        };
        let reader = runtime.block_on(Clients::connect(&options)).reader();
        let before = runtime.block_on(network(&reader));
        Self {
            lab,
            announcement,
            dir,
            reader,
            runtime,
            before,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The network is as before, once its Describe calls show it: they lag.
    fn comes_back(&self) {
        wait_for("the network", Duration::from_secs(5), || self.network() == self.before);
    }

    fn network(&self) -> Network {
        self.runtime.block_on(network(&self.reader))
    }

    /// Starts a run and waits until its blackout is in the world.
    fn run_until_it_is_dark(&self, environment: &[(&str, &str)]) -> Child {
        let run = self.run_until_observed(1, environment);
        assert_ne!(self.network(), self.before);
        run
    }

    /// Starts a run and waits until so many of its faults are in the world.
    fn run_until_observed(&self, faults: usize, environment: &[(&str, &str)]) -> Child {
        let with = |command: &str| {
            let mut with = tenfold();
            with.arg(command)
                .arg(self.path("profile.yaml"))
                .arg("--target")
                .arg(self.path("target.yaml"))
                .env("XDG_STATE_HOME", self.path("state"))
                .envs(environment.iter().copied());
            with
        };
        let planned = with("plan").output().expect("tenfold runs");
        let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
        let hash = planned.lines().last().and_then(|line| line.strip_prefix("hash "));
        let run = with("run")
            .arg("--out")
            .arg(self.path("run"))
            .args(["--approve", hash.unwrap_or_else(|| panic!("no hash in {planned}"))])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tenfold starts");
        let journal = self.path("run/journal.jsonl");
        wait_for("the faults", Duration::from_secs(60), || {
            let text = std::fs::read_to_string(&journal).unwrap_or_default();
            text.matches("\"observed\"").count() >= faults
        });
        assert!(watchdog_of(&self.path("run")).is_some(), "nobody watches");
        run
    }

    fn revert(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = tenfold().arg("revert").args(arguments).output().expect("tenfold runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}

async fn network(reader: &Reader) -> Network {
    let group = reader
        .group(REGION, "shop-web")
        .await
        .expect("an answer")
        .expect("a group");
    let subnets = reader.subnets(REGION, &group.subnets).await.expect("subnets");
    let acls = reader.network_acls(REGION, &subnets[0].vpc).await.expect("ACLs");
    let under = acls
        .iter()
        .flat_map(|acl| acl.associations.iter().map(|one| (one.subnet.clone(), acl.id.clone())));
    (under.collect(), acls.len())
}

fn wait_for(what: &str, patience: Duration, mut found: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !found() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).unwrap_or_default().contains(text)
}

/// The process that watches this run.
pub fn watchdog_of(run: &Path) -> Option<Pid> {
    let run = run.display().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc is readable").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|process| {
            // One that ended since then is none.
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.get(1) == Some(&&b"watchdog"[..]) && words.get(2) == Some(&run.as_bytes())
        })
        .map(Pid::from_raw)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}
