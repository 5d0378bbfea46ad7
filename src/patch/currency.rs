//! Whether our container is still what the server needs, judged by meaning and not by bytes.
//!
//! What the API server defaulted, and fields or variables that another webhook added to our container, are no
//! difference and are left alone; so re-applying a manifest yields no patch, and no other mutator is fought.

use serde_json::value::RawValue;

use super::call::{CommandLine, SCRIPT};
use crate::workload::command;
use crate::workload::view::EnvVar;
use crate::workload::{Container, Workload, same_json};

/// Scripts of earlier releases that still count as current (none yet; 0.1.0 is the first release).
const EARLIER_SCRIPTS: &[&str] = &[];

/// What is out of date, in words for the author.
pub(super) type Difference = &'static str;

/// What a server needs of its migration container, and what it was before this change.
pub(super) struct Wanted<'s> {
    /// The server's container.
    pub server: &'s Container<'s>,
    /// The call it should make.
    pub call: &'s CommandLine,
    /// The workload around it.
    pub workload: &'s Workload<'s>,
    /// The same server's container in the old object, if there is one.
    pub before: Option<&'s Container<'s>>,
}

impl Wanted<'_> {
    /// The first difference that matters between `ours` and what is wanted.
    pub(super) fn difference(&self, ours: &Container<'_>) -> Option<Difference> {
        let server = self.server;
        let checks: [(bool, Difference); 8] = [
            (ours.image.trim() == server.image.trim(), "its image is not the server's"),
            (pull_policy_agrees(ours, server), "its pull policy is not the server's"),
            (self.calls_the_same(ours), "it no longer runs the upgrade the way the server is run"),
            (self.env_agrees(ours), "its environment is not the server's"),
            (self.env_from_agrees(ours), "its `envFrom` is not the server's"),
            (self.mounts_agree(ours), "its volume mounts are not the server's"),
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
        let wanted: Vec<&str> = self.call.command.iter().chain(&self.call.args).map(String::as_str).collect();
        let found: Vec<&str> = ours.command.iter().chain(&ours.args).map(|token| modern(token)).collect();
        match found.strip_suffix(wanted.as_slice()) {
            Some([]) => true,
            Some(wrapper) => {
                let call = ["prefect", "server", "database", "upgrade"];
                let line: Vec<&str> = wrapper.iter().copied().chain(call).collect();
                let runs = command::read(&line, &|_| None);
                runs.is_migration() && runs.calls.len() == 1
            }
            None => false,
        }
    }

    /// The server's variables in order; beside them no `PREFECT_…`, none that only the old server had, and none
    /// that changes what the server's own variables mean here.
    fn env_agrees(&self, ours: &Container<'_>) -> bool {
        let (wanted, found) = (&self.server.env, &ours.env);
        let mut next = 0;
        for variable in wanted {
            match found[next..].iter().position(|other| same_json(other.raw, variable.raw)) {
                Some(skipped) => next += skipped + 1,
                None => return false,
            }
        }
        let among = |list: &[EnvVar<'_>], variable: &EnvVar<'_>| {
            list.iter().any(|other| other.raw == variable.raw)
                || list.iter().any(|other| other.name == variable.name && same_json(other.raw, variable.raw))
        };
        found.iter().all(|variable| {
            let prefect = variable.name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("PREFECT_"));
            let left_over = || self.before.is_some_and(|before| among(&before.env, variable));
            among(wanted, variable) || !(prefect || left_over() || self.redirects(&variable.name))
        })
    }

    /// Whether another value of this variable would change what the server's variables resolve to.
    fn redirects(&self, name: &str) -> bool {
        let reference = format!("$({name})");
        self.server.env.iter().any(|variable| {
            &*variable.name == name
                || variable.value.as_deref().is_some_and(|value| value.contains(&reference))
        })
    }

    fn env_from_agrees(&self, ours: &Container<'_>) -> bool {
        let raws = |container: &Container<'_>| -> Vec<String> {
            container.env_from.iter().map(|entry| entry.raw.to_owned()).collect()
        };
        contains_in_order(&raws(ours), &raws(self.server), self.before.map(raws).as_deref())
    }

    /// Also no mount of a volume that is gone: the API server would refuse the whole object.
    fn mounts_agree(&self, ours: &Container<'_>) -> bool {
        let raws = |container: &Container<'_>| -> Vec<String> {
            container.volume_mounts.iter().map(|mount| mount.raw.to_owned()).collect()
        };
        let spec = &self.workload.template.spec;
        let exists = |name: &str| {
            spec.volumes.iter().any(|volume| &*volume.name == name)
                || self.workload.claim_templates.iter().any(|claim| &**claim == name)
        };
        ours.volume_mounts.iter().all(|mount| {
            exists(&mount.name) || self.server.volume_mounts.iter().any(|m| m.name == mount.name)
        }) && contains_in_order(&raws(ours), &raws(self.server), self.before.map(raws).as_deref())
    }

    /// Fields that others may set on our container are stale only when they still say what the old server said.
    fn copied_fields_agree(&self, ours: &Container<'_>) -> bool {
        let Some(before) = self.before else { return true };
        let stale = |ours: Option<&RawValue>, server: Option<&RawValue>, before: Option<&RawValue>| {
            !same_optional(ours, server) && same_optional(ours, before)
        };
        let directory_is_stale =
            ours.working_dir != self.server.working_dir && ours.working_dir == before.working_dir;
        !directory_is_stale
            && !stale(ours.resources, self.server.resources, before.resources)
            && !stale(ours.security_context, self.server.security_context, before.security_context)
            && !stale(ours.volume_devices, self.server.volume_devices, before.volume_devices)
    }
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
fn contains_in_order(found: &[String], wanted: &[String], before: Option<&[String]>) -> bool {
    let mut rest = found.iter();
    let contained = wanted.iter().all(|entry| rest.any(|other| same_json(other, entry)));
    let left_over = found.iter().any(|entry| {
        !wanted.iter().any(|other| same_json(other, entry))
            && before.is_some_and(|before| before.iter().any(|other| same_json(other, entry)))
    });
    contained && !left_over
}

/// `{}` is what the API server makes of an absent `resources`.
fn same_optional(a: Option<&RawValue>, b: Option<&RawValue>) -> bool {
    same_json(a.map_or("{}", RawValue::get), b.map_or("{}", RawValue::get))
}
