//! The report of one synthetic run in each of its forms.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Report, html, json, junit, terminal};
use crate::config::objective::{Limit, Measure};
use crate::event::Event;
use crate::judge::fixture::{EAST, Fate, Fixture, INJECTED, steady, under_test, well};
use crate::judge::{fixture, judge};
use crate::plan::{ClassPlan, DnsPolicy, Fault, Plan};
use crate::recording::{ClassSlice, Ended, FailureKind, LedgerResult, Recording, StepSlice};

/// A blackout of the first Region: 4.4 s of failures, users away by then, back 5 s after the revert; one scale-out.
fn blackout() -> Fixture {
    let fate: Fate = |step, start| {
        if (INJECTED + 0.1..INJECTED + 4.4).contains(&start) {
            (start + 0.5, Some(FailureKind::ConnectTimeout))
        } else {
            let (finish, failure) = well(step, start);
            (finish + 0.02 * (start * 1.7).sin().abs() * (1 + step) as f64, failure)
        }
    };
    let of = fixture::objective;
    let seconds = |seconds| Limit::Duration(Duration::from_secs(seconds));
    let objectives = vec![
        of(
            "latency p99 < 300ms during steady",
            Measure::Latency,
            None,
            Limit::Duration(Duration::from_millis(300)),
            steady(),
        ),
        of(
            "scale_out(web) <= 6m",
            Measure::ScaleOut,
            Some("web"),
            seconds(360),
            crate::plan::Scope::Run,
        ),
        of(
            "shift(dns) <= 150s",
            Measure::Shift,
            Some("dns"),
            seconds(150),
            under_test(),
        ),
        of(
            "fail_back(dns) <= 2m",
            Measure::FailBack,
            Some("dns"),
            seconds(120),
            under_test(),
        ),
        of(
            "lost_writes(orders) == 0",
            Measure::LostWrites,
            Some("orders"),
            Limit::Count(0),
            under_test(),
        ),
    ];
    let mut fixture = Fixture::new(Fault::NetworkDenyRegion, "dns", objectives, fate);
    fixture.routes(|second| if (25..40).contains(&second) { 0.0 } else { 1.0 });
    fixture.dns(0.0, "127.10.0.5");
    fixture.unhealthy(23.0);
    fixture.dns(24.4, "127.11.0.5");
    fixture.cpu(2.0, 4.0, 40.0);
    fixture.cpu(6.0, 12.0, 85.0);
    fixture.cpu(14.0, 58.0, 50.0);
    fixture.event(
        11.0,
        Event::AlarmChanged {
            region: EAST.to_owned(),
            alarm: "TargetTracking-shop-web-AlarmHigh-1".to_owned(),
            state: "ALARM".to_owned(),
            reason: "3 datapoints".to_owned(),
        },
    );
    fixture.launch(11.2, 14.0, "i-9");
    fixture.serves("i-9", 14);
    fixture.poll(1.0, 2, &["i-1", "i-2"], &["i-1", "i-2"]);
    fixture.poll(14.0, 2, &["i-1", "i-2", "i-9"], &["i-1", "i-2", "i-9"]);
    fixture
}

fn report(plan: &Plan, recording: &Recording) -> Report {
    Report::new(plan, recording, judge(plan, recording))
}

#[test]
fn the_terminal_summary_reads_well() {
    let fixture = blackout();
    let report = report(&fixture.plan, &fixture.recording);
    insta::assert_snapshot!(terminal(&report, false));
    assert!(terminal(&report, true).contains("\u{1b}["));
    assert!(!terminal(&report, false).contains('\u{1b}'));
}

#[test]
fn a_run_that_was_cut_short_says_so_and_by_what_above_everything() {
    let headed = |ended: Ended| {
        let mut fixture = blackout();
        fixture.event(
            50.0,
            Event::StopConditionMet {
                condition: "errors > 90% for 3m".to_owned(),
                experiment: "under-test".to_owned(),
            },
        );
        fixture.recording.ended = ended;
        let report = report(&fixture.plan, &fixture.recording);
        let text = terminal(&report, false);
        let page = html(&report);
        let title = page.split("<title>").nth(1).and_then(|rest| rest.split(" ·").next());
        (
            text.lines().next().unwrap_or_default().to_owned(),
            title.unwrap_or_default().to_owned(),
        )
    };
    let (first, title) = headed(Ended::Stopped);
    let says = "STOPPED  Stopped by the stop condition \"errors > 90% for 3m\" and reverted. ";
    assert!(first.starts_with(says), "{first}");
    assert_eq!(title, "stopped");
    for (ended, word) in [
        (Ended::Interrupted, "INTERRUPTED  Interrupted and reverted. "),
        (
            Ended::Unreachable,
            "UNREACHABLE  The target or AWS could not be reached. ",
        ),
        (Ended::Unreverted, "NOT REVERTED  A fault is still in the world. "),
        (Ended::Finished, "MISSED  It did not hold: "),
    ] {
        let (first, _) = headed(ended);
        assert!(first.starts_with(word), "{first}");
    }
}

/// Two classes of clients: one follows the DNS, the other stays and tries again.
fn classes() -> Fixture {
    let mut fixture = blackout();
    fixture.plan.client.classes = vec![
        ClassPlan::example("browser", 0.75, DnsPolicy::HonourTtl),
        ClassPlan::example("<b>device", 0.25, DnsPolicy::Pin),
    ];
    for (at, address) in [(0.0, "127.10.0.5"), (24.4, "127.11.0.5")] {
        let event = Event::DnsChanged {
            class: Some("browser".to_owned()),
            name: "shop.test".to_owned(),
            addresses: vec![address.parse().expect("an address")],
            ttl: Duration::from_secs(60),
        };
        fixture.event(at, event);
    }
    for slice in &mut fixture.recording.slices {
        let away = slice.second >= 25;
        let of = |away: bool, intended, again| ClassSlice {
            intended,
            retries: again,
            ok: intended - again / 2,
            failed: again / 2,
            attempts: intended + again,
            sent: BTreeMap::from([(
                if away { "127.11.0.5" } else { "127.10.0.5" }
                    .parse()
                    .expect("an address"),
                intended + again,
            )]),
            ..ClassSlice::default()
        };
        slice.classes = vec![of(away, 75, 0), of(false, 25, if away { 50 } else { 0 })];
    }
    fixture
}

#[test]
fn classes_of_clients_and_their_moves_read_well() {
    let fixture = classes();
    let report = report(&fixture.plan, &fixture.recording);
    let text = terminal(&report, false);
    let from = text.find("Classes of clients").expect("the section");
    let to = text.find("Where the time went").expect("the next one");
    insta::assert_snapshot!(text[from..to].trim_end());
    let page = html(&report);
    assert!(page.contains("id=\"classes\"") && page.contains("id=\"c-move-0\""));
    assert!(!page.contains("<b>device") && page.contains("&lt;b&gt;device"));
    let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("is JSON");
    let seconds = value["series"]["cloud"].as_array().map(Vec::len);
    let tried = &value["series"]["classes"]["<b>device"]["amplification"];
    assert_eq!(
        (tried.as_array().map(Vec::len), &tried[30]),
        (seconds, &serde_json::json!(3.0))
    );
    assert_eq!(value["verdict"]["moves"][0]["classes"][1]["left"], 1.0);
    let alike = blackout();
    let alike = self::report(&alike.plan, &alike.recording);
    assert!(!html(&alike).contains("id=\"classes\"") && !terminal(&alike, false).contains("Classes of clients"));
}

#[test]
fn a_steered_run_says_so_and_lists_its_commands() {
    let fixture = blackout();
    let untouched = report(&fixture.plan, &fixture.recording);
    let told = |report: &Report| (terminal(report, false), html(report));
    for text in <[String; 2]>::from(told(&untouched)) {
        assert!(!text.contains("Commands") && !text.contains("does not make the same one"));
    }
    let mut fixture = fixture;
    fixture.event(
        4.0,
        Event::Marked {
            text: "<i>deploy".to_owned(),
        },
    );
    let marked = told(&report(&fixture.plan, &fixture.recording));
    assert!(marked.0.contains("     2m  mark: <i>deploy"), "{}", marked.0);
    assert!(marked.1.contains("id=\"commands\"") && !marked.1.contains("<i>deploy"));
    assert!(
        !marked.0.contains("does not make the same one"),
        "a mark changes nothing"
    );
    fixture.event(8.0, Event::ScheduleHeld);
    fixture.event(10.0, Event::Resumed);
    let steered = report(&fixture.plan, &fixture.recording);
    for text in <[String; 2]>::from(told(&steered)) {
        assert!(text.contains("steered by 2 commands while it went on"), "{text}");
    }
    let value: serde_json::Value = serde_json::from_str(&json(&steered)).expect("is JSON");
    assert_eq!(value["commands"][1]["at"], 240.0);
    assert_eq!(value["commands"][1]["steers"], true);
    assert_eq!(value["commands"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_card_does_not_say_that_nothing_was_lost_when_nothing_was_read_back() {
    let mut fixture = blackout();
    let orders = LedgerResult {
        acknowledged: BTreeMap::from([(EAST.to_owned(), 600)]),
        unreadable: 600,
        ..Default::default()
    };
    fixture.recording.ledgers.insert("orders".to_owned(), orders);
    let report = report(&fixture.plan, &fixture.recording);
    let text = terminal(&report, false);
    assert!(text.contains("lost writes      unknown: 600 not read back"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("is JSON");
    assert!(value["verdict"]["faults"][0]["lost_writes"].is_null());
}

#[test]
fn a_saved_run_gives_the_same_bytes() {
    let fixture = blackout();
    let first = json(&report(&fixture.plan, &fixture.recording));
    let plan: Plan = serde_json::from_str(&serde_json::to_string(&fixture.plan).expect("writes")).expect("reads");
    let recording: Recording =
        serde_json::from_str(&serde_json::to_string(&fixture.recording).expect("writes")).expect("reads");
    assert_eq!(first, json(&report(&plan, &recording)));
    let value: serde_json::Value = serde_json::from_str(&first).expect("is JSON");
    assert_eq!(value["schema"], 2);
    assert_eq!(value["verdict"]["outcome"], "missed");
    let seconds = value["series"]["cloud"].as_array().expect("an array").len();
    assert_eq!(value["series"]["p99"].as_array().expect("an array").len(), seconds);
}

#[test]
fn the_page_is_whole_and_escapes_what_the_run_says() {
    let mut fixture = blackout();
    fixture.plan.experiments[0].hypothesis = "</script><script>alert(1)</script>".to_owned();
    fixture.plan.target.regions.push("<b>".to_owned());
    let page = html(&report(&fixture.plan, &fixture.recording));
    if let Ok(path) = std::env::var("TENFOLD_TEST_PAGE") {
        let fixture = classes();
        std::fs::write(path, html(&report(&fixture.plan, &fixture.recording))).expect("writes");
    }
    assert!(!page.contains("<script>alert"));
    assert!(!page.contains("<b>,") && page.contains("&lt;b&gt;"));
    for section in [
        "objectives",
        "timeline",
        "faults",
        "scale-outs",
        "convergence",
        "times",
        "places",
        "honesty",
        "again",
    ] {
        assert!(page.contains(&format!("id=\"{section}\"")), "{section}");
    }
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"));
}

#[test]
fn what_failed_is_told_by_step_and_kind() {
    let mut fixture = blackout();
    let failing = fixture.recording.slices.iter_mut().flat_map(|slice| &mut slice.steps);
    for step in failing.filter(|step| step.failures() > 0) {
        step.why.insert(FailureKind::ConnectTimeout, "<b>no route".to_owned());
    }
    let report = report(&fixture.plan, &fixture.recording);
    assert!(terminal(&report, false).contains("connect timeout  <b>no route\n"));
    let told: Vec<_> = report.failures.iter().map(|of| (of.step.as_str(), of.kind)).collect();
    assert_eq!(told, [("browse", "connect timeout"), ("order", "connect timeout")]);
    let all: u64 = report.failures.iter().map(|of| of.count).sum();
    let steps = fixture.recording.slices.iter().flat_map(|slice| &slice.steps);
    assert_eq!(all, steps.map(StepSlice::failures).sum::<u64>());
    let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("is JSON");
    assert_eq!(value["failures"][0]["kind"], "connect timeout");
    assert_eq!(value["failures"][0]["count"], report.failures[0].count);
    let page = html(&report);
    assert!(page.contains("id=\"failures\"") && page.contains(">connect timeout</td>"));
    assert!(page.contains("&lt;b&gt;no route") && !page.contains("<b>no route"));

    let well = Fixture::new(Fault::RdsFailover, "database", Vec::new(), well);
    let well = self::report(&well.plan, &well.recording);
    assert!(well.failures.is_empty());
    assert!(!html(&well).contains("id=\"failures\"") && !terminal(&well, false).contains("What failed"));
}

#[test]
fn junit_tells_missed_from_inconclusive() {
    let fixture = blackout();
    let xml = junit(&report(&fixture.plan, &fixture.recording));
    assert!(
        xml.contains("tests=\"5\" skipped=\"0\" failures=\"1\" errors=\"1\""),
        "{xml}"
    );
    assert!(xml.contains("type=\"missed\"") && xml.contains("type=\"inconclusive\""));
}

#[test]
fn junit_without_objectives_is_not_green() {
    let mut fixture = blackout();
    fixture.plan.objectives.clear();
    let xml = junit(&report(&fixture.plan, &fixture.recording));
    assert!(
        xml.contains("tests=\"1\" skipped=\"0\" failures=\"0\" errors=\"1\""),
        "{xml}"
    );
    assert!(
        xml.contains("there are no objectives") && xml.contains("no objective to judge by"),
        "{xml}"
    );
}
