//! How long decisions take, for people: `cargo bench --bench decision`. What CI gates is the instruction count
//! (`tests/perf/gate`), which does not move with the machine's load.
#![allow(missing_docs, reason = "criterion's macros make public items")]

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prefect_guard::answer::{answer, respond};
use prefect_guard::decision::{Endpoint, decide, decide_around};
use prefect_guard::migration;
use prefect_guard::policy::Policy;
use prefect_guard::prefect::url::{SQLALCHEMY, Url};
use prefect_guard::review::Request;
use prefect_guard::review::{self, prefilter};
use prefect_guard::shell::reading;
use support::{CHART, SIZES, Whose, image_bump, mutated, review};

/// Bytes in to bytes out, by size and by whose object it is.
fn whole(c: &mut Criterion) {
    let policy = Policy::default();
    for (name, whose) in
        [("server", Whose::Server), ("worker", Whose::Worker), ("unrelated", Whose::Unrelated)]
    {
        let mut group = c.benchmark_group(format!("mutate {name}"));
        for size in SIZES {
            let body = review(whose, size);
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_with_input(BenchmarkId::from_parameter(size.name), &body, |b, body| {
                b.iter(|| answer(Endpoint::Mutate, black_box(body), &policy));
            });
        }
        group.finish();
    }
    let mut group = c.benchmark_group("validate");
    for (name, body) in [
        ("created", mutated(&review(Whose::Server, CHART))),
        ("new image", image_bump(Whose::Server, CHART)),
        ("missing migration", review(Whose::Server, CHART)),
    ] {
        group.bench_function(name, |b| b.iter(|| answer(Endpoint::Validate, black_box(&body), &policy)));
    }
    group.finish();
}

/// The stages of one decision.
fn stages(c: &mut Criterion) {
    let policy = Policy::default();
    let body = review(Whose::Server, CHART);
    let unrelated = review(Whose::Unrelated, CHART);
    let request = || review::decode(&body).expect("a review");
    let decision = decide(Endpoint::Mutate, &request(), &policy).expect("a readable object");
    let refused = decide(Endpoint::Validate, &request(), &policy).expect("a readable object");
    let mut group = c.benchmark_group("stage");
    group.bench_function("prefilter, unrelated", |b| {
        b.iter(|| prefilter::names_prefect(black_box(&unrelated)));
    });
    group.bench_function("decode", |b| b.iter(|| review::decode_around(black_box(&body)).is_some()));
    group.bench_function("decide", |b| {
        let request = review::decode_around(&body).expect("a review of a workload");
        b.iter(|| decide_around(Endpoint::Mutate, black_box(&request), &policy));
    });
    group.bench_function("decode, objects as text", |b| b.iter(|| review::decode(black_box(&body)).is_ok()));
    group.bench_function("decide, objects as text", |b| {
        let request = request();
        b.iter(|| decide(Endpoint::Mutate, black_box(&request), &policy));
    });
    group.bench_function("render patch", |b| b.iter(|| migration::to_json(black_box(&decision.operations))));
    group.bench_function("respond, patch", |b| {
        b.iter(|| respond::respond(Endpoint::Mutate, "uid", black_box(&decision)));
    });
    group.bench_function("respond, refusal", |b| {
        b.iter(|| respond::respond(Endpoint::Validate, "uid", black_box(&refused)));
    });
    group.bench_function("manifest to request", |b| {
        let object = request().object.expect("an object").get();
        b.iter(|| Request::of_manifest(black_box(object)).is_ok());
    });
    group.finish();
}

/// What a container runs.
fn detection(c: &mut Criterion) {
    let mut group = c.benchmark_group("detection");
    let script =
        "set -e; export A=b; until pg_isready; do sleep 1; done && exec prefect server start --host 0.0.0.0";
    for (name, argv) in [
        (
            "argv",
            &["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh", "prefect", "server", "start"]
                as &[&str],
        ),
        ("shell", &["sh", "-c", script]),
    ] {
        group.bench_function(name, |b| b.iter(|| reading::read(black_box(argv), &|_| None)));
    }
    group.finish();
}

/// Database URLs by SQLAlchemy's grammar.
fn urls(c: &mut Criterion) {
    let mut group = c.benchmark_group("database url");
    for (name, text) in [
        ("plain", "postgresql+asyncpg://user:dummy@db.example.com:5432/prefect"),
        ("options", "postgresql+asyncpg://user:p%40ss@[2001:db8::1]:5432/prefect?ssl=require&timeout=10"),
        ("no url", "prefect"),
    ] {
        group.bench_function(name, |b| b.iter(|| Url::parse(black_box(text), &SQLALCHEMY).is_some()));
    }
    group.finish();
}

criterion_group!(benches, whole, stages, detection, urls);
criterion_main!(benches);
