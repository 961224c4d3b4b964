//! Users follow the DNS: a small server whose answer changes, and what each policy does then.

use std::sync::Mutex;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

use super::*;

#[derive(Clone, Default)]
pub(super) struct Zone {
    pub(super) addresses: Vec<[u8; 4]>,
    pub(super) ttl: u32,
    pub(super) broken: bool,
    pub(super) truncate: bool,
    pub(super) asked: Vec<Instant>,
}

impl Zone {
    pub(super) fn of(addresses: &[[u8; 4]], ttl: u32) -> Self {
        Self {
            addresses: addresses.to_vec(),
            ttl,
            ..Self::default()
        }
    }
}

pub(super) fn reply(zone: &Mutex<Zone>, question: &[u8], tcp: bool) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let mut zone = zone.lock().unwrap();
    zone.asked.push(Instant::now());
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.add_queries(question.queries.iter().cloned());
    let name = question.queries[0].name().clone();
    if zone.broken {
        answer.metadata.response_code = ResponseCode::ServFail;
    } else if zone.truncate && !tcp {
        answer.metadata.truncation = true;
    } else {
        for address in &zone.addresses {
            let [a, b, c, d] = *address;
            answer.add_answer(Record::from_rdata(name.clone(), zone.ttl, RData::A(A::new(a, b, c, d))));
        }
    }
    answer.to_vec().unwrap()
}

pub(super) async fn dns(first: Zone) -> (SocketAddr, Arc<Mutex<Zone>>) {
    let zone = Arc::new(Mutex::new(first));
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let (over_udp, over_tcp) = (Arc::clone(&zone), Arc::clone(&zone));
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let answer = reply(&over_udp, &buffer[..length], false);
            udp.send_to(&answer, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let answer = reply(&over_tcp, &question, true);
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    (address, zone)
}

/// Two servers on one port, named by their Region.
pub(super) async fn two_regions() -> (Server, Server) {
    let east = serve("127.0.0.1:0", |_| async { answer(200, "i-1/us-east-1a/us-east-1") }).await;
    let west = format!("127.0.0.2:{}", east.address.port());
    let west = serve(&west, |_| async { answer(200, "i-2/eu-west-1a/eu-west-1") }).await;
    (east, west)
}

pub(super) const EAST: [u8; 4] = [127, 0, 0, 1];
pub(super) const WEST: [u8; 4] = [127, 0, 0, 2];

pub(super) fn named(east: &Server, resolver: SocketAddr, policy: DnsPolicy) -> Plan {
    let mut plan = plan(east.address);
    plan.target.host = "shop.example.com".to_owned();
    plan.target.resolver = Some(resolver);
    plan.target.edge.insert(IpAddr::from(WEST), "eu-west-1".to_owned());
    plan.client.dns = policy;
    stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(4));
    plan
}

fn sent(slice: &Slice, region: &str) -> u64 {
    slice.sent.get(region).copied().unwrap_or(0)
}

/// Runs with an answer that changes from east to west after about 1.5 s; its TTL is one second.
async fn run_with_change(policy: DnsPolicy) -> (Ran, u64, usize) {
    let (east, west) = two_regions().await;
    let (resolver, zone) = dns(Zone {
        addresses: vec![EAST],
        ttl: 1,
        ..Zone::default()
    })
    .await;
    let changing = async {
        tokio::time::sleep(Duration::from_millis(1700)).await;
        zone.lock().unwrap().addresses = vec![WEST];
    };
    let (ran, ()) = tokio::join!(run(named(&east, resolver, policy)), changing);
    let asked = zone.lock().unwrap().asked.len();
    (ran, west.connections(), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honour_ttl_moves_all_connections_within_one_ttl() {
    let (ran, west_connections, asked) = run_with_change(DnsPolicy::HonourTtl).await;
    assert!(sent(&ran.slices[0], "us-east-1") > 300);
    assert_eq!(sent(&ran.slices[0], "eu-west-1"), 0);
    assert_eq!(sent(&ran.slices[3], "us-east-1"), 0);
    assert!(sent(&ran.slices[3], "eu-west-1") > 300);
    let answers: Vec<_> = ran.answers().into_iter().map(|(_, addresses)| addresses).collect();
    assert_eq!(answers, [vec![IpAddr::from(EAST)], vec![IpAddr::from(WEST)]]);
    assert!(
        (1_500..2_900).contains(&(ran.answers()[1].0.as_millis() as u64)),
        "{:?}",
        ran.answers()
    );
    assert!((4..=6).contains(&asked), "once per TTL: {asked}");
    // Old connections were closed: what is open now is open to the new address only.
    assert_eq!(ran.slices[3].generator.connections, west_connections);
    assert_eq!(ran.failed(), BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pin_keeps_old_connections_and_forever_asks_once() {
    let (ran, _, asked) = run_with_change(DnsPolicy::Pin).await;
    assert!(sent(&ran.slices[3], "us-east-1") > 200, "{:?}", ran.slices[3].sent);
    assert!(asked >= 4);
    assert_eq!(ran.answers().len(), 2);
    let (ran, west_connections, asked) = run_with_change(DnsPolicy::Forever).await;
    assert_eq!((west_connections, asked), (0, 1));
    assert_eq!(
        ran.ok(),
        ran.slices.iter().map(|slice| sent(slice, "us-east-1")).sum::<u64>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ttl_is_cloud_time() {
    let (east, _west) = two_regions().await;
    let (resolver, zone) = dns(Zone {
        addresses: vec![EAST, WEST],
        ttl: 60,
        ..Zone::default()
    })
    .await;
    let mut plan = named(&east, resolver, DnsPolicy::HonourTtl);
    plan.pace = Pace::new(60.0).unwrap();
    plan.stages.clear();
    plan.ends_at = Duration::ZERO;
    stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(180));
    let ran = run(plan).await;
    let asked = zone.lock().unwrap().asked.clone();
    assert!((3..=5).contains(&asked.len()), "{}", asked.len());
    for pair in asked.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(
            apart > Duration::from_millis(900) && apart < Duration::from_millis(1300),
            "{apart:?}"
        );
    }
    assert_eq!(ran.answers().len(), 1, "an unchanged answer is no event");
    let (one, other) = (sent(&ran.slices[1], "us-east-1"), sent(&ran.slices[1], "eu-west-1"));
    assert!(one.abs_diff(other) <= 2, "addresses take turns: {one} {other}");
}

/// Four real seconds of two cloud minutes under `jvm-30s`: when the server was asked.
async fn asked_by_a_jvm(zone: Zone) -> (Ran, Vec<Instant>) {
    let (east, _west) = two_regions().await;
    let (resolver, zone) = dns(zone).await;
    let mut plan = named(&east, resolver, DnsPolicy::Jvm);
    plan.pace = Pace::new(30.0).unwrap();
    plan.stages.clear();
    plan.ends_at = Duration::ZERO;
    stage(&mut plan, 50.0, Duration::ZERO, Duration::from_secs(120));
    let changing = async {
        tokio::time::sleep(Duration::from_millis(1700)).await;
        zone.lock().unwrap().addresses = vec![WEST];
    };
    let (ran, ()) = tokio::join!(run(plan), changing);
    let asked = zone.lock().unwrap().asked.clone();
    (ran, asked)
}

fn apart(asked: &[Instant], real: std::ops::Range<u128>) {
    for pair in asked.windows(2) {
        let apart = (pair[1] - pair[0]).as_millis();
        assert!(real.contains(&apart), "{apart} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jvm_asks_every_thirty_seconds_whatever_the_ttl_and_keeps_its_connections() {
    let by = |ttl| asked_by_a_jvm(Zone::of(&[EAST], ttl));
    let (short, long) = tokio::join!(by(1), by(600));
    for (ttl, (ran, asked)) in [(1, short), (600, long)] {
        assert!((4..=6).contains(&asked.len()), "TTL {ttl}: {}", asked.len());
        apart(&asked, 900..1300);
        assert_eq!(ran.answers().len(), 2, "TTL {ttl}");
        let last = &ran.slices[3];
        assert!(sent(last, "us-east-1") > 0, "old connections stay: {:?}", last.sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jvm_keeps_a_failed_lookup_for_ten_seconds() {
    let (ran, asked) = asked_by_a_jvm(Zone {
        broken: true,
        ..Zone::default()
    })
    .await;
    assert!(ran.end.lookups_failed >= 8, "{}", ran.end.lookups_failed);
    apart(&asked, 300..500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_lookup_keeps_the_last_answer_and_a_cut_one_is_asked_over_tcp() {
    let (east, _west) = two_regions().await;
    let (resolver, zone) = dns(Zone {
        addresses: vec![EAST],
        ttl: 1,
        truncate: true,
        ..Zone::default()
    })
    .await;
    let breaking = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        zone.lock().unwrap().broken = true;
    };
    let (ran, ()) = tokio::join!(run(named(&east, resolver, DnsPolicy::HonourTtl)), breaking);
    assert!(ran.end.lookups_failed >= 2, "{}", ran.end.lookups_failed);
    assert_eq!(ran.failed(), BTreeMap::new());
    assert!(sent(&ran.slices[3], "us-east-1") > 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_answer_requests_fail_as_dns() {
    let (east, _west) = two_regions().await;
    let (resolver, _zone) = dns(Zone {
        broken: true,
        ..Zone::default()
    })
    .await;
    let ran = run(named(&east, resolver, DnsPolicy::HonourTtl)).await;
    assert_eq!(ran.ok(), 0);
    assert!(ran.failed()[&FailureKind::Dns] > 300, "{:?}", ran.failed());
    assert!(ran.slices.iter().all(|slice| slice.sent.is_empty()));
}
