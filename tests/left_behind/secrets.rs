//! Nothing that a run leaves behind holds the credentials it used.

use nix::sys::signal::{Signal, kill};

use super::{Scene, pid};
use crate::support::{little_of_the_machine, nowhere_in, tenfold};

#[test]
fn credentials_reach_neither_the_run_directory_nor_the_terminal() {
    const SECRETS: [&str; 3] = [
        "AKIAQ7TENFOLDTESTKEY",
        "wJalrXUtnFEMIbPxRfiCYTENFOLDTEST",
        "FwoGZXIvYXdzTENFOLDTOKEN",
    ];
    let _turn = little_of_the_machine();
    let scene = Scene::new();
    let environment = [
        ("AWS_ACCESS_KEY_ID", SECRETS[0]),
        ("AWS_SECRET_ACCESS_KEY", SECRETS[1]),
        ("AWS_SESSION_TOKEN", SECRETS[2]),
    ];
    let run = scene.run_until_it_is_dark(&environment);
    kill(pid(&run), Signal::SIGINT).expect("the run goes on");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let dir = scene.path("run");
    nowhere_in(&dir, &SECRETS);
    let mut said = [output.stdout, output.stderr].concat();
    // An account that cannot be reached is when a harness is most tempted to say everything it knows.
    let journal = std::fs::read_to_string(dir.join("journal.jsonl")).expect("a journal");
    std::fs::write(
        dir.join("journal.jsonl"),
        journal.replace("\"reverted\"", "\"revert_failed\""),
    )
    .expect("written");
    let target = scene.path("target.yaml");
    scene.runtime.shutdown_background();
    for arguments in [
        vec![dir.as_os_str()],
        vec!["--scan".as_ref(), "--target".as_ref(), target.as_os_str()],
    ] {
        let output = tenfold()
            .arg("revert")
            .args(arguments)
            .envs(environment)
            .output()
            .expect("tenfold runs");
        assert!(matches!(output.status.code(), Some(5 | 6)), "{output:?}");
        said.extend([output.stdout, output.stderr].concat());
    }
    nowhere_in(&dir, &SECRETS);
    let said = String::from_utf8_lossy(&said);
    for secret in SECRETS {
        assert!(!said.contains(secret), "{said}");
    }
}
