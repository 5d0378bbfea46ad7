//! What is measured, and how often.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use prefect_guard::answer::answer;
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;

use crate::process::{Identity, Server};
use crate::stress::{self, Crowd, Flood};
use crate::support::{CHART, HUGE, LARGE, SEVEN_MIB, SMALL, Size, Whose, image_bump, mutated, review};
use crate::traffic::{Http, Load, Run, median};

/// Alternating runs of which the median counts.
const RUNS: usize = 5;

/// Blocks of decisions of which the median counts.
const BLOCKS: usize = 61;

/// One kind of decision.
pub struct Decided {
    /// What was decided.
    pub name: &'static str,
    /// Bytes in.
    pub bytes: usize,
    /// CPU from bytes in to bytes out, in microseconds: the median block.
    pub cpu: f64,
    /// The quickest block.
    pub least: f64,
    /// The budget, where there is one.
    pub budget: Option<f64>,
}

/// CPU of decisions in this process, all kinds in turn.
pub fn decisions() -> anyhow::Result<Vec<Decided>> {
    let created = |whose, size: Size| review(whose, size);
    let cases = [
        ("patched: server, 4 KB", Endpoint::Mutate, created(Whose::Server, SMALL), None),
        (
            "patched: server as the chart renders it",
            Endpoint::Mutate,
            created(Whose::Server, CHART),
            Some(40.0),
        ),
        ("patched: server among 18 containers", Endpoint::Mutate, created(Whose::Server, LARGE), None),
        ("patched: server, 1 MB", Endpoint::Mutate, created(Whose::Server, HUGE), None),
        ("nothing to do: applied again", Endpoint::Mutate, mutated(&created(Whose::Server, CHART)), None),
        ("patched: new image, with the old object", Endpoint::Mutate, image_bump(Whose::Server, CHART), None),
        (
            "validated: server with its migration",
            Endpoint::Validate,
            mutated(&created(Whose::Server, CHART)),
            None,
        ),
        ("names Prefect, is no server (worker)", Endpoint::Mutate, created(Whose::Worker, CHART), None),
        ("unrelated", Endpoint::Mutate, created(Whose::Unrelated, CHART), Some(8.0)),
        ("unrelated, 1 MB", Endpoint::Mutate, created(Whose::Unrelated, HUGE), None),
    ];
    let policy = Policy::default();
    let mut blocks = vec![Vec::with_capacity(BLOCKS); cases.len()];
    for _ in 0..BLOCKS {
        for ((_, endpoint, body, _), blocks) in cases.iter().zip(&mut blocks) {
            // About a millisecond and a half each: short beside a time slice, long beside reading the clock.
            let rounds = (1_000_000 / body.len()).clamp(2, 100);
            let start = thread_cpu()?;
            for _ in 0..rounds {
                black_box(answer(*endpoint, black_box(body), &policy));
            }
            blocks.push((thread_cpu()? - start).as_secs_f64() * 1e6 / rounds as f64);
        }
    }
    let decided = cases.into_iter().zip(blocks).map(|((name, _, body, budget), blocks)| Decided {
        name,
        bytes: body.len(),
        least: blocks.iter().copied().fold(f64::INFINITY, f64::min),
        cpu: median(blocks),
        budget,
    });
    Ok(decided.collect())
}

fn thread_cpu() -> anyhow::Result<Duration> {
    // The kernel brings the count of a running thread up to date when it is scheduled, not when it is read.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

/// One load on both servers: medians of alternating runs.
pub struct Loaded {
    /// What was sent.
    pub what: &'static str,
    /// HTTP version.
    pub http: Http,
    /// Connections.
    pub connections: u64,
    /// prefect-guard.
    pub guard: Run,
    /// The floor.
    pub floor: Run,
    /// Medians of the ratios within each pair of runs, guard to floor.
    pub ratio: Run,
    /// The budget of the CPU ratio.
    pub budget: f64,
}

/// Loads of three sizes, both HTTP versions, of a server's review and of an unrelated one.
pub fn loads(binary: &Path) -> anyhow::Result<Vec<Loaded>> {
    let identity = Identity::make()?;
    let (guard, _) = Server::guard(binary, &identity)?;
    // What the floor gives back is what prefect-guard answers to the same body.
    let answer_to = |whose| answer(Endpoint::Mutate, &review(whose, CHART), &Policy::default()).body;
    let patch = identity.file("patch", &answer_to(Whose::Server))?;
    let allow = identity.file("allow", &answer_to(Whose::Unrelated))?;
    let floor = Server::floor(&identity, &patch, &allow)?;
    let mut loads = Vec::new();
    for (what, whose, path, budget) in
        [("patched", Whose::Server, "/mutate", 3.3), ("unrelated", Whose::Unrelated, "/allow", 3.3)]
    {
        let body = identity.file(what, &review(whose, CHART))?;
        for http in [Http::One, Http::Two] {
            for (connections, requests) in [(1, 4_000), (16, 10_000), (256, 12_000)] {
                eprintln!("{what}, {http:?}, {connections} connections");
                let load = Load { http, connections, requests, body: &body };
                let mut pairs = Vec::new();
                for _ in 0..RUNS {
                    let ours = load.send(&guard, "/mutate?timeout=10s", &identity)?;
                    pairs.push((ours, load.send(&floor, path, &identity)?));
                }
                loads.push(summary(what, &load, &pairs, budget));
            }
        }
    }
    Ok(loads)
}

/// The same load on prefect-guard and on Kubernetes' own Go webhook, which adds a label to the object; in the place of
/// the floor stands the latter.
pub fn reference(binary: &Path, reference: &Path) -> anyhow::Result<Vec<Loaded>> {
    let identity = Identity::make()?;
    let (guard, _) = Server::guard(binary, &identity)?;
    let reference = Server::reference(reference, &identity)?;
    let body = identity.file("server", &review(Whose::Server, CHART))?;
    let mut loads = Vec::new();
    for http in [Http::One, Http::Two] {
        let load = Load { http, connections: 16, requests: 10_000, body: &body };
        let mut pairs = Vec::new();
        for _ in 0..RUNS {
            let ours = load.send(&guard, "/mutate?timeout=10s", &identity)?;
            pairs.push((ours, load.send(&reference, "/add-label", &identity)?));
        }
        loads.push(summary("patched", &load, &pairs, 1.0 / 6.0));
    }
    Ok(loads)
}

fn summary(what: &'static str, load: &Load<'_>, pairs: &[(Run, Run)], budget: f64) -> Loaded {
    let each = |of: &dyn Fn(&(Run, Run)) -> f64| median(pairs.iter().map(of).collect());
    #[expect(clippy::type_complexity, reason = "used on the next lines only")]
    let run = |value: &dyn Fn(&(Run, Run), fn(&Run) -> f64) -> f64| Run {
        throughput: each(&|pair| value(pair, |run| run.throughput)),
        cpu: each(&|pair| value(pair, |run| run.cpu)),
        median: each(&|pair| value(pair, |run| run.median)),
        p99: each(&|pair| value(pair, |run| run.p99)),
    };
    Loaded {
        what,
        http: load.http,
        connections: load.connections,
        guard: run(&|pair, of| of(&pair.0)),
        floor: run(&|pair, of| of(&pair.1)),
        ratio: run(&|pair, of| of(&pair.0) / of(&pair.1)),
        budget,
    }
}

/// What a server costs beside its answers. Memory in bytes.
pub struct Process {
    /// Size of the release binary.
    pub binary: u64,
    /// From start to ready: median of eleven.
    pub ready: Duration,
    /// Memory of a server that nobody called yet.
    pub idle: u64,
    /// The most memory while 10 000 clients knock.
    pub crowded: u64,
    /// What they met.
    pub crowd: Crowd,
    /// The most memory under a stream of large bodies.
    pub flooded: u64,
    /// What they met.
    pub flood: Flood,
    /// Memory after all clients of both have gone.
    pub after: u64,
}

/// Clients that knock.
pub const KNOCKING: usize = 10_000;

/// Clients that send large bodies.
pub const FLOODING: usize = 16;

/// Starts, idles and stresses servers.
pub fn process(binary: &Path) -> anyhow::Result<Process> {
    let identity = Identity::make()?;
    let starts: Vec<f64> = (0..11)
        .map(|_| Server::guard(binary, &identity).map(|(_, ready)| ready.as_secs_f64()))
        .collect::<anyhow::Result<_>>()?;
    let (server, _) = Server::guard(binary, &identity)?;
    std::thread::sleep(Duration::from_secs(1));
    let idle = server.resident()?;
    eprintln!("{KNOCKING} clients connect");
    let crowd = stress::knock(&server, &identity, KNOCKING, &review(Whose::Server, CHART))?;
    let crowded = server.peak()?;
    drop(server);
    eprintln!("bodies of 7 MiB");
    let (server, _) = Server::guard(binary, &identity)?;
    let flood = stress::flood(&server, &identity, FLOODING, &review(Whose::Server, SEVEN_MIB))?;
    let flooded = server.peak()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(Process {
        binary: std::fs::metadata(binary)?.len(),
        ready: Duration::from_secs_f64(median(starts)),
        idle,
        crowded,
        crowd,
        flooded,
        flood,
        after: server.resident()?,
    })
}
