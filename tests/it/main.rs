//! Everything that needs the built program or several rooms of it at once, in one binary: it links once.

mod annotations;
mod bounds;
mod bypass;
mod cases;
// Its whole subject is the certificates of a cluster.
#[cfg(feature = "cluster")]
mod certificates;
mod chart;
mod cli;
mod conformance;
mod differential;
mod docs;
#[cfg(feature = "cluster")]
mod events;
mod faults;
mod golden;
mod http;
mod inject;
mod job;
mod krew;
mod krm;
mod layers;
mod limits;
mod manifests;
mod messages;
mod metrics;
mod migration_call;
mod pictures;
mod properties;
mod reapply;
mod regressions;
mod reviews;
mod serving;
mod shared_decoder;
mod site;
mod soak;
mod structure;
mod support;
mod tls;
mod truth;
