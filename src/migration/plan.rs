//! Whether a workload needs our migration container, where it goes, and what stands in the way.

use std::collections::BTreeSet;

use super::blocker::{self, Blocker};
use super::call::{self, CommandLine};
use super::container::{self, FROM_LOGS, NAME};
use super::script::Wish;
use super::scripted;
use super::staleness::{Difference, Wanted};
use crate::json::Raw;
use crate::kubernetes::{Class, Container, ContainerRef, Workload};
use crate::policy::annotations::{Own, Position};
use crate::policy::{Jobs, Settings};
use crate::rule::Fix;
use crate::server::Server;
use crate::server::commands::{Commands, without_lock};

/// What stands in the template, and what should.
pub struct Plan<'a> {
    /// Position of our own container in the initContainers.
    pub ours: Option<usize>,
    /// Positions of migration initContainers that the user wrote.
    pub adopted: Vec<usize>,
    /// Why nothing is injected, if so.
    pub blocker: Option<Blocker>,
    /// The call the migration makes; `None` without a server.
    pub call: Option<CommandLine<'a>>,
    /// What would make it right, and why, in words.
    pub fix: Option<(Fix, Difference)>,
    /// What is wrong with our container and left alone, since a controller owns the object.
    pub left: Option<Difference>,
    /// The ordinary containers of a Job whose upgrade should take the lock.
    pub locks: Vec<Fix>,
}

impl Plan<'_> {
    /// Whether a server has no migration before it, since something stands in the way of one.
    pub fn is_prevented(&self) -> bool {
        self.ours.is_none() && self.adopted.is_empty() && self.blocker.as_ref().is_some_and(Blocker::prevents)
    }
}

/// The object before this change, for telling what is left over from it.
pub struct Before<'a> {
    /// The old workload.
    pub workload: &'a Workload<'a>,
}

impl Before<'_> {
    /// The container of this name.
    fn container(&self, name: &str) -> Option<&Container<'_>> {
        let spec = &self.workload.template.spec;
        let mut all = spec.containers.iter().chain(spec.init_containers());
        all.find(|container| &*container.name == name)
    }

    /// Our container as it stood.
    fn ours(&self) -> Option<&Container<'_>> {
        Some(&self.workload.template.spec.init_containers()[position_of_ours(self.workload)?])
    }
}

/// Makes the plan for a workload whose servers are known; the first of them leads.
pub fn make<'a>(
    workload: &Workload<'_>,
    commands: &Commands<'_>,
    settings: &Settings,
    servers: &[Server<'a>],
    own: &Own<'_>,
    before: Option<&Before<'_>>,
) -> Plan<'a> {
    let ours = position_of_ours(workload);
    let adopted = adopted(workload, commands, servers);
    let Some(lead) = servers.first().filter(|_| workload.class == Class::Server) else {
        let blocker = Some(Blocker::NoServer);
        let fix = ours
            .filter(|_| workload.class == Class::Server && !blocker::is_controlled(workload, settings))
            .map(remove);
        return Plan { ours, adopted, blocker, call: None, fix, left: None, locks: Vec::new() };
    };
    let call = call::derive(lead, &Wish::of(settings, own));
    let blocker = blocker::first(workload, settings, lead, own, &adopted);
    let wanted = || correction(workload, servers, (settings, own), &call, ours, before);
    let (fix, left) = match (&blocker, ours) {
        (Some(Blocker::Controlled), Some(_)) => (None, wanted().map(|(_, difference)| difference)),
        (Some(Blocker::Controlled), None) => (None, None),
        (Some(_), Some(index)) => (Some(remove(index)), None),
        (Some(_), None) => (None, None),
        (None, _) => (wanted(), None),
    };
    Plan { ours, adopted, blocker, call: Some(call), fix, left, locks: Vec::new() }
}

/// Gives the upgrades of a Job the lock.
///
/// The template of a Job can never be changed. Whatever is applied to one that was locked has to come out as it stands,
/// in the words of the release and of the policy of that day; and one that was not locked stays as it is.
pub fn locks(
    workload: &Workload<'_>,
    commands: &[Server<'_>],
    settings: &Settings,
    own: &Own<'_>,
    before: Option<&Before<'_>>,
) -> Vec<Fix> {
    if workload.class != Class::Job || workload.kind != "Job" {
        return Vec::new();
    }
    // A CronJob makes its Jobs once; another controller may compare, and make them anew.
    let by_cron_job = workload.controller.as_ref().is_some_and(|owner| &*owner.kind == "CronJob");
    let wanted = settings.migration.jobs == Jobs::Lock
        && settings.inject
        && !own.opts_out(settings)
        && (by_cron_job || !blocker::is_controlled(workload, settings));
    // A Job that ran on SQLite runs on.
    let wish = Wish { exempted: true, ..Wish::of(settings, own) };
    let lock = |job: &Server<'_>| {
        let (command, args, from_logs) = match before {
            Some(before) => {
                let then = before.container(&job.container.name)?;
                let argv: Vec<&str> = job.container.argv().collect();
                let same =
                    without_lock(then)? == argv || scripted::without(then).is_some_and(|line| line == argv);
                let from_logs = then.termination_message_policy.as_deref() == Some(FROM_LOGS);
                same.then(|| (owned(&then.command), owned(&then.args), from_logs))?
            }
            None if wanted => {
                let line = call::lock(job, &wish).or_else(|| scripted::lock(job, &wish))?;
                (owned(&line.command), owned(&line.args), true)
            }
            None => return None,
        };
        // The author's `File` cannot be told from the default that the API server fills in.
        let present = job.container.termination_message_policy.as_deref();
        let is_default = present.is_none_or(|policy| matches!(policy, "" | "File"));
        let message_policy = (from_logs && is_default).then_some(FROM_LOGS);
        Some(Fix::Lock { index: job.at.index, command, args, message_policy })
    };
    commands.iter().filter(|job| !job.at.init).filter_map(lock).collect()
}

fn owned<T: std::ops::Deref<Target = str>>(words: &[T]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn remove(index: usize) -> (Fix, Difference) {
    (Fix::Remove { index }, "it is not wanted here any more")
}

/// The fix that leaves our container there, current and in its place.
fn correction(
    workload: &Workload<'_>,
    servers: &[Server<'_>],
    (settings, own): (&Settings, &Own<'_>),
    call: &CommandLine<'_>,
    ours: Option<usize>,
    before: Option<&Before<'_>>,
) -> Option<(Fix, Difference)> {
    let at = place(workload, servers, own);
    let lead = servers.first()?;
    let wanted = Wanted {
        server: lead.container,
        call,
        policy: &settings.migration,
        workload,
        before: before.and_then(|before| before.container(&lead.container.name)),
    };
    let present = ours.map(|index| &workload.template.spec.init_containers()[index]);
    let stale = present.and_then(|present| wanted.difference(present));
    let difference = match (ours, stale) {
        (None, _) => Some("there is none"),
        (Some(_), Some(difference)) => Some(difference),
        (Some(index), None) => (index != at).then_some("it does not stand where it should"),
    }?;
    let kept = match present {
        // A move keeps what other webhooks added to our container.
        Some(_) => Some(workload).filter(|_| stale.is_none()),
        // What stood there before and still means the same is put back as it was: no new generation.
        None => before
            .filter(|before| before.ours().is_some_and(|then| wanted.difference(then).is_none()))
            .map(|before| before.workload),
    };
    let container = match kept.and_then(text_of_ours) {
        Some(kept) => kept.to_shared(),
        None => container::render(lead.container, call, &settings.migration),
    };
    Some((Fix::Place { remove: ours, at, container }, difference))
}

/// Where our container belongs, as an index into the initContainers without it.
fn place(workload: &Workload<'_>, servers: &[Server<'_>], own: &Own<'_>) -> usize {
    let others: Vec<&str> = workload
        .template
        .spec
        .init_containers()
        .iter()
        .map(|container| &*container.name)
        .filter(|name| *name != NAME)
        .collect();
    let of = |wanted: &str| others.iter().position(|name| *name == wanted);
    // A server that is itself a native sidecar starts in its turn: the migration has to come before it.
    let sidecars: BTreeSet<&str> =
        servers.iter().filter(|server| server.at.init).map(|server| &*server.container.name).collect();
    let end = others.iter().position(|name| sidecars.contains(name)).unwrap_or(others.len());
    let wished = match &own.position {
        Some(Position::First) => Some(0),
        Some(Position::Before(name)) => of(name),
        Some(Position::After(name)) => of(name).map(|index| index + 1),
        Some(Position::Last) | None => None,
    };
    wished.unwrap_or(end).min(end)
}

fn position_of_ours(workload: &Workload<'_>) -> Option<usize> {
    workload.template.spec.init_containers().iter().position(|container| &*container.name == NAME)
}

fn text_of_ours<'w>(workload: &Workload<'w>) -> Option<Raw<'w>> {
    workload.template.init_container_text(position_of_ours(workload)?)
}

/// InitContainers of the user's that migrate before the first server starts; a native sidecar does not end, so it is
/// none.
fn adopted(workload: &Workload<'_>, commands: &Commands<'_>, servers: &[Server<'_>]) -> Vec<usize> {
    let first = servers.iter().filter(|server| server.at.init).map(|server| server.at.index).min();
    let migrates = |index: usize, container: &Container<'_>| {
        let is_candidate = &*container.name != NAME && !container.is_native_sidecar();
        is_candidate && commands.of(ContainerRef { init: true, index }).is_migration()
    };
    let containers = workload.template.spec.init_containers().iter().enumerate();
    let in_time = containers.take(first.unwrap_or(usize::MAX));
    in_time.filter(|(index, container)| migrates(*index, container)).map(|(index, _)| index).collect()
}
