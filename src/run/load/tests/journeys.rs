//! Journeys: what a step extracts is what later steps send, and what a step expects is what it gets, or a failure.

use std::sync::Mutex;

use super::*;

fn parts(parts: &[Part]) -> Template {
    Template { parts: parts.to_vec() }
}

fn variable(name: &str) -> Part {
    Part::Variable(name.to_owned())
}

fn extract(name: &str, from: Source) -> Extract {
    Extract {
        name: name.to_owned(),
        from,
    }
}

/// A shop: `POST /orders` gives an id in JSON, a token in a header and a session in a cookie.
async fn shop(asked: Arc<Mutex<Vec<String>>>) -> Server {
    serve("127.0.0.1:0", move |request: Request<Bytes>| {
        let mut asked = asked.lock().unwrap();
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        asked.push(format!(
            "{} {}|{}|{body}",
            request.method(),
            request.uri(),
            header("authorization")
        ));
        let answer = match request.uri().path() {
            "/orders" => Response::builder()
                .status(201)
                .header("etag", "t-1")
                .header("set-cookie", "sid=s 1; Path=/")
                .body(Full::from(r#"{"order":{"id":"a \"b\"/7"},"state":"new"}"#)),
            "/broken" => Response::builder().status(500).body(Full::from("{}")),
            _ => Response::builder().status(200).body(Full::from("state=paid;")),
        };
        async move { answer.unwrap() }
    })
    .await
}

fn shopping(address: SocketAddr, first: &str) -> Plan {
    let mut plan = plan(address);
    let mut order = step("order", "POST", first);
    order.expect = Expect {
        status: Some(201),
        json: vec![("$.state".to_owned(), Wanted::Is("new".to_owned()))],
        ..Expect::default()
    };
    order.extract = vec![
        extract("order", Source::Json("$.order.id".to_owned())),
        extract("tag", Source::Header("etag".to_owned())),
        extract("sid", Source::Cookie("sid".to_owned())),
    ];
    let mut pay = step("pay", "PUT", "/");
    pay.path = parts(&[
        Part::Text("/orders/".to_owned()),
        variable("order"),
        Part::Text("/pay".to_owned()),
    ]);
    pay.headers = vec![("authorization".to_owned(), parts(&[variable("tag"), variable("sid")]))];
    pay.body = Some(Body {
        content_type: "application/json".to_owned(),
        template: parts(&[
            Part::Text("{\"order\":\"".to_owned()),
            variable("order"),
            Part::Text("\"}".to_owned()),
        ]),
        encoding: Encoding::Json,
        compress: None,
    });
    pay.extract = vec![extract("state", Source::Regex("state=([a-z]+);".to_owned()))];
    let mut look = step("look", "GET", "/");
    look.path = parts(&[Part::Text("/state/".to_owned()), variable("state")]);
    plan.steps = vec![order, pay, look];
    plan.journeys[0].steps = vec![0, 1, 2];
    stage(&mut plan, 5.0, Duration::ZERO, Duration::from_secs(1));
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_step_extracts_later_steps_send_each_in_its_place() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = shop(Arc::clone(&asked)).await;
    let ran = run(shopping(server.address, "/orders")).await;
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(ran.ok() > 50, "{}", ran.ok());
    let asked = asked.lock().unwrap();
    assert!(
        asked.contains(&r#"PUT /orders/a%20%22b%22/7/pay|t-1s 1|{"order":"a \"b\"/7"}"#.to_owned()),
        "{asked:?}"
    );
    assert!(asked.contains(&"GET /state/paid||".to_owned()), "{asked:?}");
    let of = |step: usize| -> u64 { ran.slices.iter().map(|slice| slice.steps[step].ok).sum() };
    assert!(of(0) - of(2) <= 5, "every pass went to its end: {} {}", of(0), of(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_as_expected_fails_and_ends_the_pass_that_needs_it() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = shop(Arc::clone(&asked)).await;
    for (first, kind, why) in [
        ("/broken", FailureKind::Status5xx, "status 500, not 201"),
        ("/orders", FailureKind::Expectation, "$.state is \"new\", not \"old\""),
    ] {
        let mut plan = shopping(server.address, first);
        plan.steps[0].expect.json[0].1 = Wanted::Is("old".to_owned());
        asked.lock().unwrap().clear();
        let ran = run(plan).await;
        assert_eq!(ran.failed().keys().collect::<Vec<_>>(), [&kind]);
        assert_eq!(ran.why(), BTreeMap::from([(kind, why.to_owned())]));
        assert_eq!(ran.ok(), 0);
        let asked = asked.lock().unwrap();
        assert!(asked.len() > 20, "users begin anew: {}", asked.len());
        assert!(asked.iter().all(|line| line.starts_with("POST")), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_was_not_sent_ends_the_pass_that_needs_its_answer() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = shop(Arc::clone(&asked)).await;
    let mut plan = shopping(server.address, "/orders");
    // So many ask at once that now and then a step is refused and the next one, a moment later, is not.
    plan.client.rate_limit = Some(39.0);
    plan.stages[0].level = 20_000.0;
    plan.journeys[0].think = Wait::Uniform {
        min: Duration::ZERO,
        max: Duration::ZERO,
    };
    let ran = run(plan).await;
    assert!(ran.dropped() > 0 && ran.ok() > 5, "{} {}", ran.dropped(), ran.ok());
    let asked = asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|line| !line.contains("/orders//pay") && !line.contains("/state/|")),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_to_be_kept_fails_its_check_and_no_other() {
    let server = serve("127.0.0.1:0", |_| async {
        Response::new(Full::from(vec![b'x'; 3 << 20]))
    })
    .await;
    let mut plan = plan(server.address);
    let looked = Expect {
        body: vec![Wanted::Contains("x".to_owned())],
        ..Expect::default()
    };
    let sized = Expect {
        size: Some((3 << 20, 3 << 20)),
        ..Expect::default()
    };
    plan.steps = vec![
        StepPlan {
            expect: looked,
            ..step("looked", "GET", "/")
        },
        StepPlan {
            expect: sized,
            ..step("sized", "GET", "/")
        },
    ];
    plan.journeys[0].steps = vec![0, 1];
    stage(&mut plan, 2.0, Duration::ZERO, Duration::from_secs(1));
    let ran = run(plan).await;
    let ok = |step: usize| -> u64 { ran.slices.iter().map(|slice| slice.steps[step].ok).sum() };
    assert_eq!(ok(0), 0);
    assert!(ok(1) > 5);
    assert_eq!(ran.failed().keys().collect::<Vec<_>>(), [&FailureKind::Expectation]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_is_fed_every_row_however_many_shards_there_are() {
    for order in [RowOrder::Sequential, RowOrder::Unique] {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let server = shop(Arc::clone(&asked)).await;
        let mut plan = plan(server.address);
        let csv: String = (0..20).map(|row| format!("{row}\n")).collect();
        plan.feeders = vec![FeederPlan {
            name: "seq".to_owned(),
            order,
            table: Arc::new(Table::from_csv(format!("id\n{csv}").as_bytes()).unwrap()),
        }];
        plan.journeys[0].feed = vec![0];
        plan.journeys[0].think = Wait::constant(Duration::from_millis(10));
        plan.steps[0].path = parts(&[Part::Text("/row/".to_owned()), variable("seq.id")]);
        stage(&mut plan, 1.0, Duration::ZERO, Duration::from_secs(1));
        let ran = run(plan).await;
        let asked = asked.lock().unwrap();
        let rows: Vec<&str> = asked
            .iter()
            .filter_map(|asked| asked.split(['/', '|']).nth(2))
            .collect();
        let wanted: Vec<String> = (0..20).map(|row| row.to_string()).collect();
        assert!(rows.len() >= 20, "{order:?}: {rows:?} {:?}", ran.failed());
        assert_eq!(rows[..20], wanted, "{order:?}");
        assert!(
            order != RowOrder::Unique || (rows.len(), ran.dropped()) == (20, 1),
            "{rows:?}"
        );
    }
}
