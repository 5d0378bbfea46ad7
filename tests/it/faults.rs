//! What goes wrong around the server, against the real binary: signals, files, logs, crowds and floods.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::serving::client::{Client, Stream, closed, head, post, reply};
use crate::serving::process::{Process, admin, command, fails};
use crate::serving::{REVIEW, pki, wait_until};
use tempfile::TempDir;

/// What a server may need on top of its idle self in either of the stress cases: 48 MiB in all for the release binary,
/// which idles at less than 12.
const MEMORY: u64 = 36 << 20;

/// A client's day: requests over a connection until the server ends it, then over a new one, until it is told to stop
/// or nobody listens any more. Returns when each request was sent and whether it was answered.
fn work(client: &Client, stop: &AtomicBool) -> Vec<(Instant, bool)> {
    let mut sent = Vec::new();
    let mut connection: Option<Stream> = None;
    while !stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        let Some(mut stream) = connection.take().or_else(|| client.try_connect().ok()) else {
            sent.push((at, false));
            if TcpStream::connect(client.address).is_err() {
                break;
            }
            continue;
        };
        let answered = post(&mut stream, "/validate?timeout=5s", REVIEW);
        sent.push((at, answered.as_ref().is_ok_and(|reply| reply.status == 200)));
        if answered.is_ok_and(|reply| !reply.has("connection: close")) {
            connection = Some(stream);
        }
    }
    sent
}

#[test]
fn sigterm_under_load_loses_no_request() {
    let drain = Duration::from_millis(1_500);
    let mut process = Process::start(&["--drain", "1500ms"]);
    let (client, stop) = (process.client(), AtomicBool::new(false));
    let (told, sent) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(|| work(&client, &stop))).collect();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(process.admin("/readyz").0, 200);
        let told = Instant::now();
        process.signal("TERM");
        wait_until("not ready", || process.admin("/readyz").0 == 503);
        assert!(told.elapsed() < drain, "it is not ready at once, not at the end");
        assert_eq!(process.admin("/livez").0, 200);
        // A connection made during the drain is served, and told that it is the last.
        assert!(client.post("/mutate", REVIEW).has("connection: close"));
        let sent: Vec<_> = clients.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (told, sent)
    });
    assert_eq!(process.wait().code(), Some(0));
    let before: Vec<_> = sent.iter().filter(|(at, _)| *at < told + drain).collect();
    let lost = before.iter().filter(|(_, answered)| !answered).count();
    assert!(before.len() > 50, "{} requests are no load", before.len());
    assert_eq!(lost, 0, "of {}", before.len());
    wait_until("the end is logged", || process.has("finished"));
}

#[test]
fn a_request_under_way_at_the_end_is_finished() {
    let mut process = Process::start(&["--drain", "100ms"]);
    let mut stream = process.client().connect();
    stream.write_all(head("/validate", REVIEW.len()).as_bytes()).unwrap();
    stream.write_all(&REVIEW[..100]).unwrap();
    process.wait_for("prefect_guard_requests_in_flight", 1.0);
    process.signal("INT");
    wait_until("closing", || process.has("closing: no new connections"));
    std::thread::sleep(Duration::from_millis(400));
    stream.write_all(&REVIEW[100..]).unwrap();
    let answer = reply(&mut stream).unwrap();
    assert!(answer.status == 200 && answer.has("connection: close"));
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start(&["--drain", "60s", "--body-timeout", "60s"]);
    let mut stream = process.client().connect();
    stream.write_all(head("/mutate", 10).as_bytes()).unwrap();
    process.wait_for("prefect_guard_requests_in_flight", 1.0);
    process.signal("TERM");
    wait_until("draining", || process.admin("/readyz").0 == 503);
    let told = Instant::now();
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(1));
    assert!(told.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_idle_server_ends_right_after_the_drain() {
    let mut process = Process::start(&["--drain", "0"]);
    let mut idle = process.client().connect();
    assert_eq!(post(&mut idle, "/mutate", REVIEW).unwrap().status, 200);
    let told = Instant::now();
    process.signal("TERM");
    assert!(closed(&mut idle));
    assert_eq!(process.wait().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_bad_policy_keeps_the_old_one() {
    const POLICY: &str = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n";
    let process = Process::start_with(&["--policy", "policy.yaml", "--reload-interval", "50ms"], |folder| {
        std::fs::write(folder.join("policy.yaml"), POLICY).unwrap();
    });
    let patched = || process.client().post("/mutate", REVIEW).body.contains("\"patch\"");
    let outcome = |name: &str| format!("prefect_guard_reloads_total{{what=\"policy\",outcome=\"{name}\"}}");
    assert!(patched());
    std::fs::write(process.path("policy.yaml"), format!("{POLICY}mode: audit\n")).unwrap();
    process.wait_for(&outcome("ok"), 1.0);
    assert!(!patched(), "in audit mode nothing is patched");
    for (index, broken) in ["mode: [", "kind: Policy\nmodus: warn\n", "\u{0}"].into_iter().enumerate() {
        std::fs::write(process.path("policy.yaml"), broken).unwrap();
        process.wait_for(&outcome("failed"), index as f64 + 1.0);
        assert!(!patched(), "{broken:?}");
    }
    std::fs::remove_file(process.path("policy.yaml")).unwrap();
    process.wait_for(&outcome("failed"), 4.0);
    assert!(!patched());
    assert_eq!(process.metric("prefect_guard_reload_failing{what=\"policy\"}"), 1.0);
    std::fs::write(process.path("policy.yaml"), POLICY).unwrap();
    process.wait_for(&outcome("ok"), 2.0);
    assert!(patched());
    assert_eq!(process.metric("prefect_guard_reload_failing{what=\"policy\"}"), 0.0);
}

#[test]
fn a_bad_start_fails_fast() {
    let folder = TempDir::new().unwrap();
    let (code, text) = fails(&["--tls-ephemeral", "--policy", "policy.yaml"], folder.path());
    assert!(code == 2 && text.contains("cannot read `policy.yaml`") && text.contains("--policy"), "{text}");
    std::fs::write(
        folder.path().join("policy.yaml"),
        "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmod: warn\n",
    )
    .unwrap();
    let (code, text) = fails(&["--tls-ephemeral", "--policy", "policy.yaml"], folder.path());
    assert!(code == 2 && text.contains("line 3") && text.contains("mod"), "{text}");
    let (code, text) = fails(&["--tls-ephemeral", "--ca-out", "missing/ca.pem"], folder.path());
    assert!(code == 2 && text.contains("--ca-out"), "{text}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, variable) in
        [("--listen", "PREFECT_GUARD_LISTEN"), ("--admin-listen", "PREFECT_GUARD_ADMIN_LISTEN")]
    {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_prefect-guard"));
        command.env_clear().args(["serve", "--tls-ephemeral"]);
        command.env("PREFECT_GUARD_LISTEN", "127.0.0.1:0").env("PREFECT_GUARD_ADMIN_LISTEN", "127.0.0.1:0");
        let output = command.env(variable, &address).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains(&address) && text.contains(flag) && text.contains("in use"), "{text}");
    }
}

/// A port that was free a moment ago, for servers whose log cannot be read.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts a server whose standard output is `out` and has it answer.
fn serves_with(out: impl FnOnce(&mut std::process::Command)) {
    let folder = TempDir::new().unwrap();
    let (address, admin_address) = (free(), free());
    let pair = pki::pair();
    std::fs::write(folder.path().join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.path().join("tls.key"), &pair.key).unwrap();
    let mut command = std::process::Command::new("sh");
    command.current_dir(folder.path()).env_clear().stdin(Stdio::null()).arg("-c");
    out(&mut command);
    command.arg(env!("CARGO_BIN_EXE_prefect-guard"));
    command.args(["serve", "--tls-cert", "tls.crt", "--tls-key", "tls.key", "--drain", "0"]);
    command.arg("--listen").arg(address.to_string());
    command.arg("--admin-listen").arg(admin_address.to_string());
    let mut child = command.spawn().unwrap();
    wait_until("the server is ready", || {
        TcpStream::connect(admin_address).is_ok() && admin(admin_address, "/readyz").0 == 200
    });
    let client = Client::new(address, &pair.ca);
    let mut stream = client.connect();
    // More than any buffer between the server and a reader that is not there.
    for _ in 0..5_000 {
        assert_eq!(post(&mut stream, "/mutate", b"{}").unwrap().status, 400);
    }
    let metrics = admin(admin_address, "/metrics").1;
    assert!(crate::serving::metric(&metrics, "prefect_guard_log_lines_dropped_total") > 0.0);
    assert_eq!(crate::serving::metric(&metrics, "prefect_guard_panics_total"), 0.0);
    let killed = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    let begun = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "a log that cannot be written does not keep the process"
    );
}

#[test]
fn a_full_disk_under_the_log_does_not_matter() {
    serves_with(|command| {
        command.arg("exec \"$0\" \"$@\" > /dev/full 2> /dev/full");
    });
}

#[test]
fn a_log_reader_that_is_gone_does_not_matter() {
    // The reader of the pipe ends at once; the shell's trick keeps the server as the process we started.
    serves_with(|command| {
        command.arg("mkfifo log; true < log & exec 3<> log; exec \"$0\" \"$@\" > log 2>&1 3>&-");
    });
}

#[test]
fn a_log_reader_that_is_stuck_does_not_matter() {
    serves_with(|command| {
        command.arg("mkfifo log; exec 3<> log; exec \"$0\" \"$@\" > log 2>&1");
    });
}

#[test]
fn no_output_at_all_does_not_matter() {
    let folder = TempDir::new().unwrap();
    let admin_address = free();
    let mut child = std::process::Command::new("sh")
        .env_clear()
        .current_dir(folder.path())
        .args(["-c", "exec \"$0\" \"$@\" >&- 2>&- <&-", env!("CARGO_BIN_EXE_prefect-guard")])
        .args([
            "serve",
            "--tls-ephemeral",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            &admin_address.to_string(),
        ])
        .spawn()
        .unwrap();
    wait_until("the server is ready", || {
        TcpStream::connect(admin_address).is_ok() && admin(admin_address, "/readyz").0 == 200
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn nothing_of_a_request_is_logged_at_any_level() {
    let mut process = Process::start(&["--log-level", "trace", "--drain", "0"]);
    const CANARY: &str = "hunter2-canary";
    let review = String::from_utf8(REVIEW.to_vec()).unwrap();
    let review = review.replace("prefect server start", &format!("prefect server start {CANARY}"));
    let client = process.client();
    assert_eq!(client.post("/mutate", review.as_bytes()).status, 200);
    assert_eq!(client.post("/validate", review.as_bytes()).status, 200);
    assert_eq!(client.post(&format!("/{CANARY}"), b"{}").status, 404);
    assert_eq!(client.post(&format!("/mutate?timeout={CANARY}"), CANARY.as_bytes()).status, 400);
    let mut stream = client.connect();
    let with_header =
        head("/mutate", 2).replace("Host:", &format!("Authorization: Bearer {CANARY}\r\nHost:"));
    stream.write_all(format!("{with_header}{{}}").as_bytes()).unwrap();
    assert_eq!(reply(&mut stream).unwrap().status, 400);
    let mut nonsense = client.connect();
    nonsense.write_all(format!("{CANARY}\r\n\r\n").as_bytes()).unwrap();
    assert!(closed(&mut nonsense));
    assert!(!process.admin("/metrics").1.contains(CANARY));
    process.signal("TERM");
    process.wait();
    let mut errors = String::new();
    process.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let lines = format!("{:?}", process.lines.lock().unwrap());
    assert!(
        lines.contains("decision") && !lines.contains(CANARY) && !errors.contains(CANARY),
        "{lines}\n{errors}"
    );
}

/// How many sockets this process may open, with room for the rest.
fn sockets() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap().saturating_sub(200)
}

#[test]
fn ten_thousand_clients_knock_at_a_thousand_places() {
    let process = Process::start(&[
        "--max-connections",
        "1000",
        "--header-timeout",
        "60s",
        "--handshake-timeout",
        "2s",
    ]);
    let (client, idle) = (process.client(), process.peak());
    // A fifth of the sockets may be all there is where `ulimit -n` is 1024; the cap is lowered to what fits as well.
    let (places, knocks) = (sockets().min(950) * 9 / 10, sockets().min(10_000));
    let mut inside = client.connect();
    assert_eq!(post(&mut inside, "/mutate", REVIEW).unwrap().status, 200);
    let seated: Vec<Stream> = std::thread::scope(|scope| {
        let rows: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let client = Client::new(client.address, &process.ca);
                    (0..places / 4)
                        .map(|_| {
                            let mut stream = client.connect();
                            assert_eq!(post(&mut stream, "/validate", REVIEW).unwrap().status, 200);
                            stream
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    let knocking: Vec<TcpStream> = (seated.len()..knocks)
        .map(|_| {
            let stream = TcpStream::connect(client.address).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(process.admin("/readyz").0, 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "a probe waits one second");
    assert_eq!(post(&mut inside, "/mutate", REVIEW).unwrap().status, 200, "those inside are served");
    process.wait_for(
        "prefect_guard_connections_refused_total{reason=\"limit\"}",
        (knocks as f64 - 1_000.0).max(0.0),
    );
    assert!(process.metric("prefect_guard_connections") <= 1_000.0);
    let grown = process.peak() - idle;
    assert!(grown <= MEMORY, "{grown} bytes more");
    drop((knocking, seated));
    wait_until("there is room again", || {
        client.try_connect().and_then(|mut stream| post(&mut stream, "/mutate", REVIEW)).is_ok()
    });
}

#[test]
fn places_are_as_many_as_open_files_allow() {
    let folder = TempDir::new().unwrap();
    let mut command = std::process::Command::new("sh");
    command.env_clear().current_dir(folder.path()).arg("-c");
    command.args(["ulimit -n 160; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_prefect-guard"), "serve"]);
    command.args(["--tls-ephemeral", "--ca-out", "ca.pem", "--log-format", "json", "--drain", "0"]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let process = Process::spawn(command, folder, String::new());
    wait_until("the server is ready", || process.has("ready"));
    let said = process.said("the limit of open files (`ulimit -n`) lowers `--max-connections`");
    assert_eq!((&said[0]["wanted"], &said[0]["connections"]), (&1000.into(), &64.into()));
    // More clients than files: nothing runs out, and there is room again afterwards.
    let ca = std::fs::read_to_string(process.path("ca.pem")).unwrap();
    let client = Client::new(process.address("admission"), &ca);
    let crowd: Vec<_> = (0..300).map(|_| TcpStream::connect(client.address).unwrap()).collect();
    process.wait_for("prefect_guard_connections_refused_total{reason=\"limit\"}", 236.0);
    assert_eq!(process.metric("prefect_guard_connections_refused_total{reason=\"accept\"}"), 0.0);
    drop(crowd);
    wait_until("there is room again", || client.try_connect().is_ok());
}

/// A review of a server padded to `size` bytes by an annotation.
fn padded(size: usize) -> Vec<u8> {
    let mut review: serde_json::Value = serde_json::from_slice(REVIEW).unwrap();
    let text = serde_json::to_vec(&review).unwrap();
    let padding = "x".repeat(size - text.len() - 100);
    review["request"]["object"]["metadata"]["annotations"]["example.com/padding"] = padding.into();
    serde_json::to_vec(&review).unwrap()
}

#[test]
fn a_flood_of_the_largest_bodies_stays_in_its_memory() {
    let process = Process::start(&["--body-timeout", "20s", "--handler-timeout", "30s"]);
    let (large, over) = (Arc::new(padded(7 << 20)), Arc::new(vec![b' '; 8 << 20]));
    let (good, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (client, idle) = (process.client(), process.peak());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let reply = client.post("/mutate", &large);
                    assert!(reply.status == 200 && reply.body.contains("\"patch\""), "{}", reply.status);
                    good.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(client.post("/mutate", &over).status, 413);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The ordinary are not held up.
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(client.post("/mutate", REVIEW).status, 200);
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    });
    assert_eq!((good.into_inner(), refused.into_inner()), (24, 24));
    let grown = process.peak() - idle;
    assert!(grown <= MEMORY, "{grown} bytes more");
}

/// An update with as many containers in both objects as are read: the chart gives a replica 128 MiB.
#[test]
fn the_most_objects_that_are_read_stay_in_memory() {
    let process = Process::start(&["--handler-timeout", "30s"]);
    let object = |image: &str| {
        let server = format!(r#"{{"name":"s","image":"{image}","command":["prefect","server","start"]}}"#);
        let containers = "{},".repeat(49_900);
        format!(
            r#"{{"metadata":{{"name":"p"}},"spec":{{"template":{{"spec":{{"containers":[{containers}{server}]}}}}}}}}"#
        )
    };
    let body = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","kind":{{"group":"apps",
        "version":"v1","kind":"Deployment"}},"operation":"UPDATE","oldObject":{},"object":{}}}}}"#,
        object("prefecthq/prefect:3.8.8"),
        object("prefecthq/prefect:3.9.1"),
    );
    let (client, idle) = (process.client(), process.peak());
    let reply = client.post("/validate", body.as_bytes());
    assert!(reply.status == 200 && reply.body.contains("PSG201"), "{}", reply.body);
    let grown = process.peak() - idle;
    assert!(grown <= 96 << 20, "{grown} bytes more");
}

#[test]
fn every_flag_is_also_a_variable() {
    let help = command().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags: Vec<&str> = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|flag| flag.chars().all(|c| c.is_ascii_lowercase() || c == '-') && *flag != "help")
        .collect();
    assert!(flags.len() > 20);
    for flag in flags {
        let variable = format!("PREFECT_GUARD_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&format!("[env: {variable}=")), "{variable}");
    }
}
