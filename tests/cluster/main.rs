//! The promises kept on a real API server.
//!
//! Run against any cluster whose API server runs on this machine, since it has to reach a process on loopback:
//!
//! ```sh
//! PREFECT_GUARD_TEST_KUBECONFIG=~/.kube/config cargo nextest run --test cluster --run-ignored all
//! ```
//!
//! Without that variable the tests are reported as ignored. Each works in a namespace of its own, registers webhooks
//! that watch that namespace alone, and takes all of it away again. No kubelet is needed, and no controller but for
//! what a test says. `kubectl` and `helm` are looked for in `PREFECT_GUARD_KUBECTL` and `PREFECT_GUARD_HELM`, in
//! `target/live/bin` (`tests/setup` puts them there) and in `PATH`.

mod filter;
mod foreign;
mod guard;
mod managed;
mod manifests;
mod mutation;
mod outage;
mod release;
mod validation;
mod world;
