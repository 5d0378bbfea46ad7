//! A soak: good, bad and hostile clients at once while certificates and policy rotate. No answer may be wrong, none
//! may be lost, and memory and file descriptors must stay where they are.
//!
//! `PREFECT_GUARD_SOAK_SECONDS` sets the time (default 10); a long run by hand:
//! `PREFECT_GUARD_SOAK_SECONDS=600 cargo test --release --test it soak:: -- --nocapture`.
#![allow(clippy::print_stdout, reason = "a report for whoever runs it")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::serving::client::{Client, closed, head, post, reply};
use crate::serving::pki::{Authority, ec_key};
use crate::serving::process::Process;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prefect_guard::answer::answer;
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;

const ENFORCE: &str = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n";
const AUDIT: &str = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmode: audit\n";

/// A request and the answers that are right: one for each policy that may be in force at that moment.
struct Question {
    path: &'static str,
    body: Vec<u8>,
    right: [Vec<u8>; 2],
}

fn questions() -> Vec<Question> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reviews");
    let policies =
        [ENFORCE, AUDIT].map(|text| Policy::from_yaml(text, prefect_guard::rules::CATALOGUE).unwrap());
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let body = std::fs::read(entry.unwrap().path()).unwrap();
        for (path, endpoint) in
            [("/mutate?timeout=5s", Endpoint::Mutate), ("/validate?timeout=5s", Endpoint::Validate)]
        {
            let right = policies.each_ref().map(|policy| answer(endpoint, &body, policy).body);
            all.push(Question { path, body: body.clone(), right });
        }
    }
    assert!(all.len() >= 20);
    all
}

#[derive(Default)]
struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    lost: AtomicU64,
    hostile: AtomicU64,
    rotations: AtomicU64,
}

struct Soak<'a> {
    client: Client,
    questions: &'a [Question],
    counts: &'a Counts,
    stop: &'a AtomicBool,
}

impl Soak<'_> {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn judge(&self, question: &Question, status: u16, body: &[u8]) {
        let right = status == 200 && question.right.iter().any(|right| right == body);
        let count = if right { &self.counts.right } else { &self.counts.wrong };
        count.fetch_add(1, Ordering::Relaxed);
        if !right {
            println!("wrong: {status} {}", String::from_utf8_lossy(body));
        }
    }

    /// Requests over connections that live for `each` of them.
    fn good(&self, each: usize) {
        for number in (0..).step_by(each) {
            if !self.goes_on() {
                return;
            }
            self.conversation(number, each);
        }
    }

    fn conversation(&self, from: usize, count: usize) {
        let Ok(mut stream) = self.client.try_connect() else {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for question in self.questions.iter().cycle().skip(from % self.questions.len()).take(count) {
            match post(&mut stream, question.path, &question.body) {
                Ok(reply) => self.judge(question, reply.status, reply.body.as_bytes()),
                Err(_) => {
                    self.counts.lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            // The machine has other work too.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Many streams of one HTTP/2 connection.
    async fn good_http2(&self) {
        let mut config = (*self.client.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = tokio::net::TcpStream::connect(self.client.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        for question in self.questions.iter().cycle() {
            if !self.goes_on() {
                break;
            }
            let request = http::Request::post(format!("https://localhost{}", question.path))
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(question.body.clone())))
                .unwrap();
            match sender.send_request(request).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let body =
                        answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    self.judge(question, status, &body);
                }
                Err(_) => drop(self.counts.lost.fetch_add(1, Ordering::Relaxed)),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(sender);
        let _ = connection.await;
    }

    /// One evil after the other. None of them waits for an answer that need not come.
    fn hostile(&self) {
        for number in 0_usize.. {
            if !self.goes_on() {
                return;
            }
            self.counts.hostile.fetch_add(1, Ordering::Relaxed);
            let _ = self.evil(number);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn evil(&self, number: usize) -> std::io::Result<()> {
        if number.is_multiple_of(10) {
            let mut plain = self.client.tcp();
            plain.write_all(b"\x16\x03\x01\xff\xff nonsense")?;
            return Ok(());
        }
        let mut stream = self.client.try_connect()?;
        match number % 10 {
            1 => stream.write_all(b"\0\0\0 HTTP/7\r\n\r\n")?,
            2 => stream.write_all(&head("/mutate", 7 << 20).as_bytes()[..40])?,
            3 => {
                // The body breaks off.
                stream.write_all(head("/mutate", 100_000).as_bytes())?;
                stream.write_all(&[b'{'; 3_000])?;
            }
            4 => drop(post(&mut stream, "/mutate", &vec![b' '; 8 << 20])?),
            5 => drop(post(&mut stream, "/validate", "[".repeat(200_000).as_bytes())?),
            6 => drop(post(&mut stream, "/validate", br#"{"request":{"uid":1e999}}"#)?),
            7 => drop(post(&mut stream, "/../../etc/passwd", b"{}")?),
            8 => {
                stream.write_all(b"DELETE /mutate HTTP/1.1\r\nHost: x\r\n\r\n")?;
                reply(&mut stream)?;
            }
            _ => {
                // A head that trickles until it is cut off.
                for byte in head("/mutate", 2).bytes().take(20) {
                    stream.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                closed(&mut stream);
            }
        }
        Ok(())
    }
}

/// New certificates, broken certificates, other policies, broken policies.
fn rotate(process: &Process, authority: &Authority, soak: &Soak<'_>) {
    while soak.goes_on() {
        let key = ec_key();
        let certificate = authority.server(&key, -1, 9);
        std::fs::write(process.path("tls.crt"), &certificate).unwrap();
        std::thread::sleep(Duration::from_millis(40));
        std::fs::write(process.path("tls.key"), key.serialize_pem()).unwrap();
        for policy in [AUDIT, "mode: [", ENFORCE] {
            std::fs::write(process.path("policy.yaml"), policy).unwrap();
            std::thread::sleep(Duration::from_millis(150));
        }
        std::fs::write(process.path("tls.key"), "torn").unwrap();
        std::thread::sleep(Duration::from_millis(150));
        soak.counts.rotations.fetch_add(1, Ordering::Relaxed);
    }
}

/// Resident bytes and open files, once in a while.
fn sample(process: &Process, stop: &AtomicBool) -> Vec<(f64, f64)> {
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (status, text) = process.admin("/metrics");
        assert_eq!(status, 200);
        let value = |name| crate::serving::metric(&text, name);
        samples.push((value("process_resident_memory_bytes"), value("process_open_fds")));
        std::thread::sleep(Duration::from_millis(200));
    }
    samples
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}

#[test]
fn nothing_is_wrong_lost_or_leaked() {
    let seconds: u64 =
        std::env::var("PREFECT_GUARD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let authority = Authority::new("soak");
    let arguments = ["--policy", "policy.yaml", "--reload-interval", "50ms", "--header-timeout", "500ms"];
    let mut process = Process::start_with(&[&arguments[..], &["--drain", "100ms"]].concat(), |folder| {
        let key = ec_key();
        std::fs::write(folder.join("tls.crt"), authority.server(&key, -1, 9)).unwrap();
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("policy.yaml"), ENFORCE).unwrap();
    });
    let (questions, counts, stop) = (questions(), Counts::default(), AtomicBool::new(false));
    let client = Client::new(process.address("admission"), &authority.pem());
    let soak = Soak { client, questions: &questions, counts: &counts, stop: &stop };
    let begun = Instant::now();
    let samples = std::thread::scope(|scope| {
        let sampling = scope.spawn(|| sample(&process, &stop));
        scope.spawn(|| soak.good(200));
        scope.spawn(|| soak.good(1));
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(soak.good_http2());
        });
        scope.spawn(|| soak.hostile());
        scope.spawn(|| soak.hostile());
        scope.spawn(|| rotate(&process, &authority, &soak));
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        sampling.join().unwrap()
    });
    let files_after = {
        let mut files = f64::MAX;
        crate::serving::wait_until("every connection is closed", || {
            files = process.metric("process_open_fds");
            process.metric("prefect_guard_connections") == 0.0
        });
        files
    };
    report(&counts, &samples, files_after, begun.elapsed(), &process);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

fn report(counts: &Counts, samples: &[(f64, f64)], files_after: f64, time: Duration, process: &Process) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (first, last) = (&samples[samples.len() / 4..samples.len() / 2], &samples[samples.len() * 3 / 4..]);
    let memory = (mean(first.iter().map(|s| s.0)), mean(last.iter().map(|s| s.0)));
    let files = (mean(first.iter().map(|s| s.1)), mean(last.iter().map(|s| s.1)));
    let answered = load(&counts.right);
    println!("seconds {:.0}", time.as_secs_f64());
    println!("right answers {answered}, wrong {}, lost {}", load(&counts.wrong), load(&counts.lost));
    println!("hostile clients {}, rotations {}", load(&counts.hostile), load(&counts.rotations));
    println!("resident MiB: second quarter {:.1}, last {:.1}", memory.0 / 1048576.0, memory.1 / 1048576.0);
    println!("open files: second quarter {:.1}, last {:.1}, at rest {files_after}", files.0, files.1);
    assert_eq!((load(&counts.wrong), load(&counts.lost)), (0, 0));
    assert!(answered > 100 && load(&counts.hostile) > 50 && load(&counts.rotations) > 2, "this was no soak");
    assert!(memory.1 < memory.0 * 1.1 + 2.0 * 1048576.0, "memory grows: {memory:?}");
    assert!(files.1 < files.0 + 20.0 && files_after < 30.0, "files stay open: {files:?} {files_after}");
    assert_eq!(process.metric("prefect_guard_panics_total"), 0.0);
}
