//! Whether our container is still what the server needs, judged by meaning and not by bytes.
//!
//! What the API server defaulted, and fields or variables that another webhook added to our container, are no
//! difference and are left alone; so re-applying a manifest yields no patch, and no other mutator is fought.

use std::cell::{LazyCell, OnceCell};
use std::collections::BTreeSet;

use super::call::CommandLine;
use super::container;
use super::script::{ON_SQLITE, SCRIPT};
use crate::json::{self, Raw};
use crate::kubernetes::pod::{EnvVar, VolumeMount, Written};
use crate::kubernetes::{Container, Workload};
use crate::policy::Migration as Policy;
use crate::shell::reading;

/// Scripts of earlier releases that still count as current: a pod template changes for a reason of its own only.
const EARLIER_SCRIPTS: &[&str] = &[include_str!("script/published/0.1.0.py")];

/// What is out of date, in words for the author.
pub(super) type Difference = &'static str;

/// The texts of a list's entries.
fn texts<'s>(list: &[Raw<'s>]) -> Vec<&'s str> {
    list.iter().map(|entry| entry.get()).collect()
}

/// What a server needs of its migration container, and what it was before this change.
pub(super) struct Wanted<'s> {
    /// The server's container.
    pub server: &'s Container<'s>,
    /// The call it should make.
    pub call: &'s CommandLine<'s>,
    /// What the policy has for the migration alone.
    pub policy: &'s Policy,
    /// The workload around it.
    pub workload: &'s Workload<'s>,
    /// The same server's container in the old object, if there is one.
    pub before: Option<&'s Container<'s>>,
}

/// The lists of the containers that are compared, entry by entry as they are written.
struct Lists<'s> {
    ours: Written<'s>,
    wanted: Written<'s>,
    before: Written<'s>,
}

impl Wanted<'_> {
    /// The first difference that matters between `ours` and what is wanted.
    pub(super) fn difference(&self, ours: &Container<'_>) -> Option<Difference> {
        let server = self.server;
        let lists = Lists {
            ours: ours.written(),
            wanted: container::lists(server, self.policy),
            before: self.before.map(Container::written).unwrap_or_default(),
        };
        let checks: [(bool, Difference); 8] = [
            (ours.image.trim() == server.image.trim(), "its image is not the server's"),
            (pull_policy_agrees(ours, server), "its pull policy is not the server's"),
            (self.calls_the_same(ours), "it no longer runs the upgrade the way the server is run"),
            (self.env_agrees(ours, &lists), "its environment is not the server's"),
            (self.env_from_agrees(&lists), "its `envFrom` is not the server's"),
            (self.mounts_agree(ours, &lists), "its volume mounts are not the server's"),
            (ours.restart_policy.is_none(), "it has a `restartPolicy`: an initContainer that migrates ends"),
            (
                self.copied_fields_agree(ours),
                "its resources or security context are what the server had before",
            ),
        ];
        checks.into_iter().find(|(agrees, _)| !agrees).map(|(_, difference)| difference)
    }

    /// Another webhook may have put a wrapper before our command, so the end of the line is what counts, and that
    /// what stands before it runs it: `echo` does not.
    fn calls_the_same(&self, ours: &Container<'_>) -> bool {
        // A policy that begins to enforce is no reason to replace pods.
        let matters = |word: &&str| *word != ON_SQLITE;
        let wanted = self.call.command.iter().chain(&self.call.args).map(|word| &**word);
        let found = ours.argv().map(modern);
        let (wanted, found): (Vec<&str>, Vec<&str>) =
            (wanted.filter(matters).collect(), found.filter(matters).collect());
        match found.strip_suffix(wanted.as_slice()) {
            Some([]) => true,
            Some(wrapper) => {
                let call = ["prefect", "server", "database", "upgrade", "-y"];
                let line: Vec<&str> = wrapper.iter().copied().chain(call).collect();
                let runs = reading::read(&line, &|_| None);
                runs.is_migration() && runs.calls.len() == 1
            }
            None => false,
        }
    }

    /// The server's variables in order; beside them no `PREFECT_…`, none that only the old server had, and none
    /// that changes what the server's own variables mean here.
    fn env_agrees(&self, ours: &Container<'_>, lists: &Lists<'_>) -> bool {
        let [wanted, found, before] =
            [&lists.wanted, &lists.ours, &lists.before].map(|written| texts(&written.env));
        let (wanted, found, before) = (Entries::new(&wanted), Entries::new(&found), Entries::new(&before));
        let redirecting = LazyCell::new(|| self.redirecting());
        let is_known = |(variable, index): (&EnvVar<'_>, usize)| {
            let name = &*variable.name;
            let prefect = name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("PREFECT_"));
            let is_in = |other: &Entries<'_>| found.is_in(index, other);
            is_in(&wanted) || !(prefect || is_in(&before) || redirecting.contains(name))
        };
        wanted.stand_in_order_in(&found) && ours.env.iter().zip(0..).all(is_known)
    }

    /// The names of variables of which another value would change what the server's variables resolve to.
    fn redirecting(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = container::referenced(self.server).collect();
        names.extend(self.server.env.iter().map(|variable| &*variable.name));
        names
    }

    fn env_from_agrees(&self, lists: &Lists<'_>) -> bool {
        let [wanted, found, before] =
            [&lists.wanted, &lists.ours, &lists.before].map(|written| texts(&written.env_from));
        contains_in_order(&found, &wanted, &before)
    }

    /// Also no mount of a volume that is gone: the API server would refuse the whole object.
    fn mounts_agree(&self, ours: &Container<'_>, lists: &Lists<'_>) -> bool {
        let [wanted, found, before] =
            [&lists.wanted, &lists.ours, &lists.before].map(|written| texts(&written.volume_mounts));
        let exists = |name: &str| {
            self.workload.volume(name).is_some()
                || self.workload.claim_templates.iter().any(|claim| &**claim == name)
        };
        let known = |mount: &VolumeMount<'_>| {
            exists(&mount.name) || self.server.volume_mounts.iter().any(|other| other.name == mount.name)
        };
        ours.volume_mounts.iter().all(known) && contains_in_order(&found, &wanted, &before)
    }

    /// Fields that others may set on our container are stale only when they still say what the old server said.
    fn copied_fields_agree(&self, ours: &Container<'_>) -> bool {
        let Some(then) = self.before else { return true };
        let server = self.server;
        let directory = &ours.working_dir;
        let directory_is_stale = *directory != server.working_dir && *directory == then.working_dir;
        !directory_is_stale
            && !is_left_over(ours.resources, container::resources(server, self.policy), then.resources)
            && !is_left_over(
                ours.security_context,
                container::security_context(server, self.policy),
                then.security_context,
            )
            && !is_left_over(ours.volume_devices, server.volume_devices, then.volume_devices)
    }
}

/// Says what the old server said, and the new one does not.
fn is_left_over(ours: Option<Raw<'_>>, server: Option<Raw<'_>>, before: Option<Raw<'_>>) -> bool {
    !same_optional(ours, server) && same_optional(ours, before)
}

/// A script that an earlier release published reads as today's.
fn modern(token: &str) -> &str {
    if EARLIER_SCRIPTS.contains(&token) { SCRIPT } else { token }
}

/// An absent policy on the server means that nothing defaulted it yet: then ours cannot be wrong.
fn pull_policy_agrees(ours: &Container<'_>, server: &Container<'_>) -> bool {
    match (&ours.image_pull_policy, &server.image_pull_policy) {
        (Some(ours), Some(server)) => ours == server,
        (None, Some(_)) => false,
        (_, None) => true,
    }
}

/// `wanted` within `found` in order, and nothing in `found` that only `before` had.
fn contains_in_order(found: &[&str], wanted: &[&str], before: &[&str]) -> bool {
    let (found, wanted, before) = (Entries::new(found), Entries::new(wanted), Entries::new(before));
    wanted.stand_in_order_in(&found)
        && (0..found.texts.len()).all(|index| found.is_in(index, &wanted) || !found.is_in(index, &before))
}

/// Entries of a list, compared by meaning. Lists may be thousands long, so that each entry is parsed once at most, and
/// none where all stand as they are written.
struct Entries<'s> {
    texts: &'s [&'s str],
    sorted: BTreeSet<&'s str>,
    meanings: OnceCell<Meanings>,
}

/// What the entries of a list mean, in its order and sorted.
struct Meanings {
    listed: Vec<String>,
    sorted: BTreeSet<String>,
}

impl<'s> Entries<'s> {
    fn new(texts: &'s [&'s str]) -> Self {
        Entries { texts, sorted: texts.iter().copied().collect(), meanings: OnceCell::new() }
    }

    fn meanings(&self) -> &Meanings {
        self.meanings.get_or_init(|| {
            let listed: Vec<String> = self.texts.iter().map(|text| meaning(text)).collect();
            Meanings { sorted: listed.iter().cloned().collect(), listed }
        })
    }

    /// Whether the entry at `index` stands in another list too.
    fn is_in(&self, index: usize, other: &Entries<'_>) -> bool {
        other.sorted.contains(self.texts[index])
            || !other.texts.is_empty() && other.meanings().sorted.contains(&self.meanings().listed[index])
    }

    /// Whether `found` holds these in this order, whatever stands between them.
    fn stand_in_order_in(&self, found: &Entries<'_>) -> bool {
        let as_written = is_subsequence(self.texts, found.texts);
        as_written || is_subsequence(&self.meanings().listed, &found.meanings().listed)
    }
}

fn is_subsequence<T: PartialEq>(wanted: &[T], found: &[T]) -> bool {
    let mut rest = found.iter();
    wanted.iter().all(|entry| rest.any(|other| other == entry))
}

/// The same text for JSON that means the same: keys sorted, no white space.
fn meaning(json: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(json) else { return json.to_owned() };
    value.sort_all_objects();
    value.to_string()
}

/// `{}` is what the API server makes of an absent `resources`.
fn same_optional(a: Option<Raw<'_>>, b: Option<Raw<'_>>) -> bool {
    json::same(a.map_or("{}", Raw::get), b.map_or("{}", Raw::get))
}
