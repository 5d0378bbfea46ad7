//! The promises kept on a real API server.
//!
//! `tests/cluster/run` starts one, or takes one that runs on this machine, since it has to reach a process on loopback;
//! it sets `PREFECT_GUARD_TEST_KUBECONFIG`. A plain `cargo test` reports these tests as ignored. Each works in a
//! namespace of its own, registers webhooks that watch that namespace alone, and takes all of it away again. No kubelet
//! is needed, and no controller but for what a test says. `kubectl` and `helm` are looked for in
//! `PREFECT_GUARD_KUBECTL` and `PREFECT_GUARD_HELM`, in `target/live/bin` (`tests/setup` puts them there) and in `PATH`.

mod events;
mod filter;
mod foreign;
mod guard;
mod managed;
mod manifests;
mod mutation;
mod outage;
mod release;
mod rights;
mod validation;
mod world;
