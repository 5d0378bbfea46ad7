//! Every limit, over a real socket: it holds, and the next good request is served.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::serving::client::{self, closed, head, post, reply};
use crate::serving::{Running, constant, roomy, short, start};
use prefect_guard::answer::{Answer, Record};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use prefect_guard::serve::{Engine, Limits, Stage};

const SOON: Duration = Duration::from_secs(10);

fn refused(reason: &str) -> String {
    format!("prefect_guard_connections_refused_total{{reason=\"{reason}\"}}")
}

/// Everything must work afterwards, and nothing may be held.
fn serves_on(server: &Running) {
    // Again, where a busy machine made the client itself too slow for the short limits.
    crate::serving::wait_until("a good request is served", || {
        let answer = server.client().try_connect().and_then(|mut stream| post(&mut stream, "/mutate", b"{}"));
        answer.is_ok_and(|reply| reply.status == 200)
    });
    crate::serving::wait_until("all requests are gone", || {
        server.metric("prefect_guard_requests_in_flight") == 0.0
    });
}

#[test]
fn a_client_that_never_shakes_hands_is_closed() {
    let server = start(constant(), short());
    let begun = Instant::now();
    let mut silent = server.client().tcp();
    assert!(closed(&mut silent));
    assert!(begun.elapsed() >= Duration::from_millis(250) && begun.elapsed() < SOON);
    server.wait_for(&refused("handshake_timeout"), 1.0);
    serves_on(&server);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let server = start(constant(), Limits { head: Duration::from_millis(500), ..roomy() });
    let begun = Instant::now();
    assert!(closed(&mut server.client().connect()));
    assert!(begun.elapsed() < SOON);
    server.wait_for(&refused("head_timeout"), 1.0);
    serves_on(&server);
}

#[test]
fn a_head_that_trickles_is_cut_off() {
    let server = start(constant(), Limits { head: Duration::from_millis(800), ..roomy() });
    let mut stream = server.client().connect();
    // First a good request: the limit is for every head, not for the first one alone.
    assert_eq!(post(&mut stream, "/mutate", b"{}").unwrap().status, 200);
    let begun = Instant::now();
    let mut sent = 0;
    for byte in head("/mutate", 2).bytes().cycle() {
        // One byte at a time, for ever if nobody stops it.
        if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() || begun.elapsed() > SOON {
            break;
        }
        sent += 1;
        std::thread::sleep(Duration::from_millis(40));
        if server.metric(&refused("head_timeout")) > 0.0 {
            break;
        }
    }
    assert!(begun.elapsed() < SOON && sent > 3, "{:?} {sent}", begun.elapsed());
    assert!(closed(&mut stream));
    serves_on(&server);
}

#[test]
fn a_body_that_trickles_is_answered_408() {
    let server = start(constant(), Limits { body: Duration::from_millis(500), ..roomy() });
    let mut stream = server.client().connect();
    stream.write_all(head("/mutate", 1000).as_bytes()).unwrap();
    for _ in 0..5 {
        stream.write_all(b" ").unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(reply(&mut stream).unwrap().status, 408);
    assert!(closed(&mut stream));
    serves_on(&server);
}

#[test]
fn an_idle_connection_is_closed_with_a_goodbye() {
    let server = start(constant(), Limits { idle: Duration::from_millis(1_500), ..roomy() });
    let mut stream = server.client().connect();
    assert_eq!(post(&mut stream, "/mutate", b"{}").unwrap().status, 200);
    // Still good within the limit.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(post(&mut stream, "/mutate", b"{}").unwrap().status, 200);
    let begun = Instant::now();
    // `close_notify` makes it a clean end and not an error.
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    assert!(
        begun.elapsed() > Duration::from_millis(1_200) && begun.elapsed() < 2 * SOON,
        "{:?}",
        begun.elapsed()
    );
    serves_on(&server);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    fn huge(
        _: prefect_guard::decision::Endpoint,
        _: &[u8],
        _: &prefect_guard::policy::Policy,
    ) -> prefect_guard::answer::Answer {
        prefect_guard::answer::Answer { status: 200, body: vec![b' '; 64 << 20], record: Default::default() }
    }
    let server =
        start(Engine { answer: huge, ..Engine::real() }, Limits { idle: Duration::from_secs(60), ..short() });
    let mut stream = server.client().connect();
    stream.write_all(&[head("/mutate", 2).as_bytes(), b"{}"].concat()).unwrap();
    server.wait_for(&refused("write_timeout"), 1.0);
}

#[test]
fn connections_over_the_cap_are_closed_at_once() {
    let server = start(constant(), Limits { connections: 3, ..roomy() });
    let client = server.client();
    let mut held: Vec<_> = (0..3).map(|_| client.connect()).collect();
    let begun = Instant::now();
    assert!(closed(&mut client.tcp()));
    assert!(client.try_connect().is_err());
    assert!(begun.elapsed() < SOON, "before any handshake");
    assert!(server.metric(&refused("limit")) >= 2.0);
    // Those inside are served on, and a place that becomes free is given away.
    assert_eq!(post(&mut held[0], "/mutate", b"{}").unwrap().status, 200);
    drop(held.pop());
    crate::serving::wait_until("a place is free", || client.try_connect().is_ok());
}

#[test]
fn requests_over_the_cap_get_503() {
    let server = start(constant(), Limits { requests: 2, ..roomy() });
    let client = server.client();
    let mut waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = client.connect();
            stream.write_all(head("/mutate", 2).as_bytes()).unwrap();
            stream
        })
        .collect();
    server.wait_for("prefect_guard_requests_in_flight", 2.0);
    let begun = Instant::now();
    let answer = client.post("/mutate", b"{}");
    assert_eq!(answer.status, 503);
    assert!(answer.has("retry-after: 1") && begun.elapsed() < SOON);
    for stream in &mut waiting {
        stream.write_all(b"{}").unwrap();
        assert_eq!(reply(stream).unwrap().status, 200);
    }
    serves_on(&server);
}

/// Takes two seconds over everything that is larger than 64 KiB.
fn slow_on_large(_: Endpoint, body: &[u8], _: &Policy) -> Answer {
    if body.len() > 64 << 10 {
        std::thread::sleep(Duration::from_secs(2));
    }
    Answer { status: 200, body: b"{}".to_vec(), record: Record::default() }
}

#[test]
fn a_verdict_that_takes_too_long_is_not_waited_for_and_holds_up_nobody() {
    let server = start(Engine { answer: slow_on_large, ..Engine::real() }, roomy());
    let large = vec![b' '; 100 << 10];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let begun = Instant::now();
                let answer = server.client().post("/mutate?timeout=500ms", &large);
                assert_eq!(answer.status, 504);
                assert!(begun.elapsed() < Duration::from_millis(1_900), "{:?}", begun.elapsed());
            });
        }
        server.wait_for("prefect_guard_requests_in_flight", 4.0);
        let begun = Instant::now();
        assert_eq!(server.client().post("/mutate", b"{}").status, 200);
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    });
    // Whoever has the time still gets the verdict.
    assert_eq!(server.client().post("/mutate", &large).status, 200);
    serves_on(&server);
}

#[test]
fn eight_mebibytes_are_answered_413() {
    let server = start(constant(), roomy());
    // A client that sends everything before it listens still gets the answer, and one that asks first gets it at once.
    let reply_to_all = server.client().post("/mutate", &vec![b' '; 8 << 20]);
    assert_eq!(reply_to_all.status, 413);
    assert!(reply_to_all.body.contains("--max-body"));
    let mut asking = server.client().connect();
    let polite = head("/mutate", 8 << 20).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    asking.write_all(polite.as_bytes()).unwrap();
    assert_eq!(reply(&mut asking).unwrap().status, 413);
    assert_eq!(server.client().post("/mutate", &vec![b' '; 7 << 20]).status, 200);
    serves_on(&server);
}

#[test]
fn chunked_bodies_are_read_and_limited() {
    let server = start(constant(), Limits { body_size: 100, ..roomy() });
    let mut stream = server.client().connect();
    let chunked = head("/mutate", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    stream.write_all(format!("{chunked}2\r\n{{}}\r\n0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(reply(&mut stream).unwrap().status, 200);
    let long = format!("{:x}\r\n{}\r\n0\r\n\r\n", 101, " ".repeat(101));
    stream.write_all(format!("{chunked}{long}").as_bytes()).unwrap();
    assert_eq!(reply(&mut stream).unwrap().status, 413);
    serves_on(&server);
}

#[test]
fn a_head_of_many_kilobytes_is_refused() {
    let server = start(constant(), roomy());
    let mut stream = server.client().connect();
    let long = head("/mutate", 2).replace("Host:", &format!("X-Long: {}\r\nHost:", "x".repeat(64 << 10)));
    let _ = stream.write_all(long.as_bytes());
    // Either the answer comes through or the connection was reset under what was still being sent.
    if let Ok(reply) = reply(&mut stream) {
        assert_eq!(reply.status, 431);
    }
    assert!(closed(&mut stream));
    serves_on(&server);
}

#[test]
fn http_1_0_and_nonsense_are_tolerated() {
    let server = start(constant(), Limits { head: Duration::from_secs(3), ..roomy() });
    let mut old = server.client().connect();
    old.write_all(b"POST /mutate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    assert_eq!(reply(&mut old).unwrap().status, 200);
    assert!(closed(&mut old), "HTTP/1.0 without keep-alive ends the connection");
    for nonsense in ["\r\n\r\n\r\n", "POST\r\n\r\n", "\0\0\0\0\r\n\r\n", "POST /mutate HTTP/9.9\r\n\r\n"] {
        let mut stream = server.client().connect();
        stream.write_all(nonsense.as_bytes()).unwrap();
        assert!(closed(&mut stream), "{nonsense:?}");
    }
    // Two lengths, or a length and chunks, are how requests are smuggled.
    for smuggled in ["Content-Length: 2\r\nContent-Length: 3", "Content-Length: 2\r\nContent-Length: 2, 7"] {
        let mut stream = server.client().connect();
        let text = head("/mutate", 2).replace("Content-Length: 2", smuggled) + "{}";
        stream.write_all(text.as_bytes()).unwrap();
        assert_eq!(reply(&mut stream).unwrap().status, 400, "{smuggled}");
    }
    serves_on(&server);
}

#[test]
fn a_client_that_resets_mid_body_is_forgotten() {
    let server = start(constant(), roomy());
    for length in [1000, 7 << 20] {
        for _ in 0..5 {
            let mut stream = server.client().connect();
            stream.write_all(head("/mutate", length).as_bytes()).unwrap();
            stream.write_all(&[b' '; 500]).unwrap();
            server.wait_for("prefect_guard_requests_in_flight", 1.0);
            drop(stream);
        }
    }
    serves_on(&server);
    crate::serving::wait_until("all connections are gone", || {
        server.metric("prefect_guard_connections") == 0.0
    });
    // Their memory went back: twice the large share passes through.
    for _ in 0..5 {
        assert_eq!(server.client().post("/mutate", &vec![b' '; 7 << 20]).status, 200);
    }
}

mod http2 {
    use super::*;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::sync::Arc;

    type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

    async fn connect(server: &Running) -> (Sender, tokio::task::JoinHandle<hyper::Result<()>>) {
        let mut config = (*server.client().config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = tokio::net::TcpStream::connect(server.address).await.unwrap();
        // As Go's client has it: with Nagle's algorithm each window would wait for a delayed acknowledgement.
        tcp.set_nodelay(true).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        (sender, tokio::spawn(connection))
    }

    fn request(body: Vec<u8>) -> Request<Full<Bytes>> {
        Request::post("https://localhost/mutate?timeout=5s")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_streams_of_one_connection_are_answered() {
        let server = start(Engine::real(), roomy());
        let (sender, _connection) = connect(&server).await;
        let mut answers = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let mut sender = sender.clone();
            answers.spawn(async move {
                let answer = sender.send_request(request(crate::serving::REVIEW.to_vec())).await.unwrap();
                let status = answer.status();
                (status, answer.into_body().collect().await.unwrap().to_bytes())
            });
        }
        let uid = crate::serving::review_uid();
        while let Some(answer) = answers.join_next().await {
            let (status, body) = answer.unwrap();
            assert_eq!(status, 200);
            assert!(String::from_utf8_lossy(&body).contains(&uid));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn bodies_larger_than_the_windows_arrive() {
        let server = start(constant(), roomy());
        let (mut sender, _connection) = connect(&server).await;
        assert_eq!(sender.send_request(request(vec![b' '; 6 << 20])).await.unwrap().status(), 200);
        assert_eq!(sender.send_request(request(vec![b' '; 8 << 20])).await.unwrap().status(), 413);
        assert_eq!(sender.send_request(request(b"{}".to_vec())).await.unwrap().status(), 200);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn at_the_end_what_is_under_way_is_finished() {
        fn slow(_: Endpoint, _: &[u8], _: &Policy) -> Answer {
            std::thread::sleep(Duration::from_millis(400));
            Answer { status: 200, body: b"{}".to_vec(), record: Record::default() }
        }
        let server = start(Engine { answer: slow, ..Engine::real() }, roomy());
        let (sender, connection) = connect(&server).await;
        let mut first = sender.clone();
        let under_way = tokio::spawn(async move { first.send_request(request(vec![b' '; 300 << 10])).await });
        server.wait_for("prefect_guard_requests_in_flight", 1.0);
        server.phase.enter(Stage::Closing);
        assert_eq!(under_way.await.unwrap().unwrap().status(), 200);
        drop(sender);
        tokio::time::timeout(SOON, connection).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_idle_connection_is_told_to_go_away() {
        let server = start(constant(), Limits { idle: Duration::from_millis(1_500), ..roomy() });
        let (mut sender, connection) = connect(&server).await;
        assert_eq!(sender.send_request(request(b"{}".to_vec())).await.unwrap().status(), 200);
        // A clean end, by GOAWAY.
        tokio::time::timeout(SOON, connection).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_without_a_preface_is_closed() {
        let server = start(constant(), Limits { head: Duration::from_millis(500), ..roomy() });
        let mut client = server.client();
        let mut config = (*client.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        client.config = Arc::new(config);
        let begun = Instant::now();
        let ended = tokio::task::spawn_blocking(move || closed(&mut client.connect())).await.unwrap();
        assert!(ended && begun.elapsed() < SOON);
        server.wait_for(&refused("head_timeout"), 1.0);
    }
}

#[test]
fn the_admin_port_has_limits_too() {
    let process = crate::serving::process::Process::start(&[]);
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/mutate", 404), ("/", 404)]
    {
        assert_eq!(process.admin(path).0, status, "{path}");
    }
    // Nothing of the admin port on the other one.
    let answer = process.client().post("/metrics", b"{}");
    assert_eq!(answer.status, 404);
    let mut crowd: Vec<_> =
        (0..100).map(|_| std::net::TcpStream::connect(process.address("admin")).unwrap()).collect();
    assert!(crowd.iter_mut().rev().take(20).all(|late| {
        late.set_read_timeout(Some(SOON)).unwrap();
        client::closed(late)
    }));
}
