//! The socket against clients of every kind.

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::run::control::{Done, Orders, Refusal, Status, control};

/// A socket whose run pauses gladly and refuses everything else.
fn listening() -> (TempDir, Listening, JoinHandle<()>) {
    let dir = TempDir::new().unwrap();
    let (control, orders) = control();
    let listening = Listening::in_dir(dir.path(), control).unwrap();
    (dir, listening, tokio::spawn(obey(orders)))
}

async fn obey(mut orders: Orders) {
    while let Some(order) = orders.recv().await {
        let answer = match order.command {
            Command::Pause => Ok(Done {
                said: "paused".to_owned(),
                status: Status::default(),
            }),
            _ => Err(Refusal::Mark),
        };
        order.answer.send(answer).unwrap();
    }
}

async fn connect(dir: &TempDir) -> BufReader<UnixStream> {
    BufReader::new(UnixStream::connect(dir.path().join(SOCKET)).await.unwrap())
}

async fn said(client: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

async fn ask(client: &mut BufReader<UnixStream>, line: &[u8]) -> Value {
    client.get_mut().write_all(line).await.unwrap();
    said(client).await
}

#[tokio::test]
async fn the_socket_is_the_owner_s_alone_and_gone_afterwards() {
    let (dir, listening, _run) = listening();
    let path = dir.path().join(SOCKET);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        Listening::in_dir(dir.path(), control().0).is_err(),
        "a run listens there"
    );
    drop(listening);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_dead_run_left_is_replaced() {
    let dir = TempDir::new().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    let (control, orders) = control();
    let _listening = Listening::in_dir(dir.path(), control).unwrap();
    let _run = tokio::spawn(obey(orders));
    let mut client = connect(&dir).await;
    assert_eq!(ask(&mut client, b"{\"command\":\"pause\"}\n").await["said"], "paused");
}

#[tokio::test]
async fn what_is_no_command_gets_an_error_and_the_next_one_is_heard() {
    let (dir, _listening, _run) = listening();
    let mut client = connect(&dir).await;
    for garbage in [
        &b"\n"[..],
        b"pause\n",
        b"{\"command\":\"explode\"}\n",
        b"{\"command\":\"scale\"}\n",
        b"\xff\xfe\x00\n",
        b"[1,2,3]\n",
    ] {
        let answer = ask(&mut client, garbage).await;
        assert!(
            answer["error"].as_str().unwrap().starts_with("not a command: "),
            "{garbage:?}: {answer}"
        );
    }
    assert_eq!(ask(&mut client, b"{\"command\":\"pause\"}\n").await["said"], "paused");
}

#[tokio::test]
async fn a_refusal_reads_as_its_reason_and_a_last_line_needs_no_end() {
    let (dir, _listening, _run) = listening();
    let mut client = connect(&dir).await;
    client.get_mut().write_all(b"{\"command\":\"skip\"}").await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    assert_eq!(said(&mut client).await["error"], Refusal::Mark.to_string());
}

#[tokio::test]
async fn a_line_without_end_is_refused_and_harms_nobody() {
    let (dir, _listening, _run) = listening();
    let mut endless = connect(&dir).await;
    let answer = ask(&mut endless, &[b'x'; LINE_MAX as usize]).await;
    assert!(
        answer["error"].as_str().unwrap().contains("at most 4096 bytes"),
        "{answer}"
    );
    let mut rest = Vec::new();
    // Closed, whether in order or because more was on its way.
    let _ = endless.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    let mut client = connect(&dir).await;
    assert_eq!(ask(&mut client, b"{\"command\":\"pause\"}\n").await["said"], "paused");
}

#[tokio::test]
async fn one_client_too_many_is_told_and_comes_in_once_another_leaves() {
    let (dir, _listening, _run) = listening();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS_MAX {
        let mut client = connect(&dir).await;
        ask(&mut client, b"{\"command\":\"pause\"}\n").await;
        clients.push(client);
    }
    let mut late = connect(&dir).await;
    assert_eq!(said(&mut late).await["error"], "16 others are connected already");
    let mut first = clients.swap_remove(0);
    first.get_mut().shutdown().await.unwrap();
    // Its end of the socket closes once its place is free.
    first.read_to_end(&mut Vec::new()).await.unwrap();
    loop {
        let mut client = connect(&dir).await;
        let answer = ask(&mut client, b"{\"command\":\"pause\"}\n").await;
        if answer["said"] == "paused" {
            break;
        }
    }
}

#[tokio::test]
async fn a_run_that_ends_says_so() {
    let (dir, _listening, run) = listening();
    let mut client = connect(&dir).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    let answer = ask(&mut client, b"{\"command\":\"pause\"}\n").await;
    assert_eq!(answer["error"], "the run is ending");
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting_and_two_are_answered_in_turn() {
    let (dir, _listening, _run) = listening();
    let mut silent = connect(&dir).await;
    let mut half = connect(&dir).await;
    half.get_mut().write_all(b"{\"command\":").await.unwrap();
    let (mut one, mut other) = (connect(&dir).await, connect(&dir).await);
    for _ in 0..3 {
        assert_eq!(ask(&mut one, b"{\"command\":\"pause\"}\n").await["said"], "paused");
        assert!(ask(&mut other, b"{\"command\":\"skip\"}\n").await["error"].is_string());
    }
    assert_eq!(
        ask(&mut half, b"\"pause\"}\n").await["said"],
        "paused",
        "its line was kept"
    );
    drop((one, other, half));
    assert_eq!(ask(&mut silent, b"{\"command\":\"pause\"}\n").await["said"], "paused");
}

#[tokio::test]
async fn who_says_nothing_for_too_long_makes_room() {
    let (mut silent, stream) = UnixStream::pair().unwrap();
    let (control, _orders) = control();
    serve(stream, &control, Duration::from_millis(20)).await.unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "closed without a word");
}
