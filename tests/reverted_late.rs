//! A fault whose revert fails for a while: that is told at once, in every form of the report, and nothing is met under it.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{machine, tenfold};

const REFUSED: &str = "ec2:ReplaceNetworkAclAssociation: UnauthorizedOperation";

/// A run of a fault from 4m to 6m, under a load that holds for so long; of the calls that undo it, so many are refused.
/// What it said on its standard output and error, and its directory.
fn run(hold: &str, refused: u32) -> (Option<i32>, String, String, TempDir) {
    let dir = TempDir::new().expect("a temporary directory");
    let chaos = dir.path().join("cut.yaml");
    let experiment = "name: cut\nhypothesis: two AZs carry it\nsettle: 1m\n\
                      faults:\n  - { fault: network.deny_az, role: web, az: us-east-1b, at: 4m, lasts: 2m }\n\
                      objectives: [ errors <= 100%, recovery <= 1h ]\n";
    std::fs::write(&chaos, experiment).expect("is written");
    let profile = dir.path().join("profile.yaml");
    let text = format!(
        "name: late\ntarget: lab\npace: 75\nhonesty: {{ requests: 1, lag_p99: 5s, steal: 100% }}\n\
         journeys: {{ browse: {{ think: 1s..2s, steps: [{{ get: /products/1 }}] }} }}\n\
         stages: [{{ tier: 1, users: 20, hold: {hold} }}]\nchaos: [{}]\n\
         objectives: [ errors <= 100% during steady ]\n\
         lab: {{ control_plane: {{ misbehave: [\
         {{ action: ReplaceNetworkAclAssociation, skip: 1, times: {refused}, answer: denied }}] }} }}\n",
        chaos.display()
    );
    std::fs::write(&profile, text).expect("is written");
    let output = tenfold()
        .args(["run".as_ref(), profile.as_os_str(), "--out".as_ref()])
        .arg(dir.path().join("run"))
        .output()
        .expect("tenfold runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr), dir)
}

/// Asserts that it is told everywhere; the seconds of cloud time by which it was late.
fn told_everywhere((code, stdout, stderr, dir): (Option<i32>, String, String, TempDir)) -> f64 {
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains(REFUSED)).collect();
    assert!(
        told.len() == 1 && told[0].contains("cut[0]: cannot revert, trying again"),
        "once, while the reason stays the same:\n{stderr}"
    );
    assert!(stderr.contains("cut[0]: reverted"), "{stderr}");
    let read = |name: &str| std::fs::read_to_string(dir.path().join("run").join(name)).expect("it is there");
    let report: Value = serde_json::from_str(&read("report.json")).expect("JSON");
    let (verdict, fault) = (&report["verdict"], &report["verdict"]["faults"][0]);
    let late = &fault["reverted_late"];
    assert!(
        late["why"].as_str().is_some_and(|why| why.starts_with(REFUSED)),
        "{fault}"
    );
    let (due, at) = (late["due"].as_f64(), late["at"].as_f64());
    assert_eq!(late["at"], fault["reverted_at"]);
    for name in ["report.html", "junit.xml"] {
        assert!(
            read(name).contains("was to be reverted at 6m"),
            "{name} has no word of it"
        );
    }
    assert!(read("report.html").contains("reverted late: it was to be reverted at 6m"));
    let both = stdout.matches("was to be reverted at 6m").count();
    assert!(both >= 2, "the sentence and the card say so:\n{stdout}");
    assert_eq!(verdict["outcome"], "inconclusive", "{verdict}");
    for objective in verdict["objectives"].as_array().expect("objectives") {
        let of_fault = objective["experiment"] == "cut";
        let expected = if of_fault { "inconclusive" } else { "met" };
        // Of recovery, what users felt may have been over before.
        if objective["objective"] != "recovery <= 1h" {
            assert_eq!(objective["outcome"], expected, "{objective}");
        }
    }
    at.zip(due).map(|(at, due)| at - due).expect("both are told")
}

#[test]
fn a_revert_that_fails_for_a_while_is_told_and_meets_nothing() {
    let _turn = machine();
    let late = told_everywhere(run("20m", 15));
    assert!((60.0..12.0 * 60.0).contains(&late), "{late}");
}

#[test]
fn a_revert_that_fails_until_the_load_is_over_is_told_and_meets_nothing() {
    let _turn = machine();
    let late = told_everywhere(run("8m", 40));
    assert!(late > 240.0, "{late}");
}

#[test]
fn a_fault_that_waits_for_a_sound_group_has_its_whole_time() {
    let _turn = machine();
    let dir = TempDir::new().expect("a temporary directory");
    let chaos = dir.path().join("two.yaml");
    let experiment = "name: two\nhypothesis: the second waits until the group has healed\nfaults:\n  \
                      - { fault: ec2.terminate, role: web, share: 34%, at: hold + 1m, irreversible: true }\n  \
                      - { fault: ec2.stop, role: web, share: 34%, at: hold + 90s, lasts: 40s }\n";
    std::fs::write(&chaos, experiment).expect("is written");
    let output = tenfold()
        .args(["run".as_ref(), chaos.as_os_str(), "--quiet".as_ref(), "--out".as_ref()])
        .arg(dir.path().join("run"))
        .args(["--pace", "30", "--set", "honesty.steal=100%"])
        .output()
        .expect("tenfold runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let read =
        std::fs::read_to_string(dir.path().join("run/report.json")).unwrap_or_else(|error| panic!("{error}: {said}"));
    let report: Value = serde_json::from_str(&read).expect("JSON");
    let faults = &report["verdict"]["faults"];
    let at = |fault: usize, what: &str| {
        faults[fault][what]
            .as_f64()
            .unwrap_or_else(|| panic!("{what}: {faults:#}"))
    };
    let waited = at(1, "injected_at") - at(0, "injected_at") - 30.0;
    let lasted = at(1, "reverted_at") - at(1, "injected_at");
    assert!(waited > 10.0, "the group was not sound: {waited} {lasted}");
    assert!((38.0..60.0).contains(&lasted), "{lasted} of 40 s, after {waited} s");
}
