//! A workload understood: its servers, their settings, and the plan for its migration; what rules look at.

use std::rc::Rc;

use crate::kubernetes::{Class, ContainerRef, Workload};
use crate::migration::plan::{self, Before, Plan};
use crate::policy::Settings;
use crate::policy::annotations::Own;
use crate::rule::Place;
use crate::server::Server;
use crate::server::commands::Commands;
use crate::shell::command::Action;

/// One workload, read and understood.
pub struct Subject<'a> {
    /// The workload.
    pub workload: &'a Workload<'a>,
    /// What the policy says for its namespace.
    pub settings: &'a Settings,
    /// Our own annotations on its pod template.
    pub own: &'a Own<'a>,
    /// What its containers run.
    pub commands: Commands<'a>,
    /// The Prefect servers in its template; the one that leads comes first.
    pub servers: Vec<Server<'a>>,
    /// Containers that run `prefect server database …` and are no server (migration initContainers, migration
    /// Jobs), with the environment and the database setting they would use. Our own container is not among them
    /// while it only migrates.
    pub database_commands: Vec<Server<'a>>,
    /// Further servers that a container's script starts, each with an environment of its own.
    pub further: Vec<Server<'a>>,
    /// What should be done about the migration.
    pub plan: Plan<'a>,
}

impl<'a> Subject<'a> {
    /// Looks at a workload; `before` is the same object before this change.
    pub fn examine(
        workload: &'a Workload<'a>,
        settings: &'a Settings,
        own: &'a Own<'a>,
        before: Option<&Before<'_>>,
    ) -> Self {
        let commands = Commands::read(workload, &settings.environment_programs);
        let opaque = &settings.opaque_values;
        let mut servers = Vec::new();
        let mut database_commands = Vec::new();
        let mut further = Vec::new();
        for at in commands.containers() {
            let container = workload.container(at);
            let invocation = commands.of(at);
            let is_ours = at.init && &*container.name == crate::migration::container::NAME;
            // The name alone is no licence: what does more than migrate is judged as anybody's.
            if is_ours && invocation.calls.iter().all(|call| call.action == Action::Upgrade) {
                continue;
            }
            let named = !at.init && own.container == Some(&*container.name);
            let runs = invocation.server().is_some() && (!at.init || container.is_native_sidecar());
            if (runs || named) && !is_ours && workload.class == Class::Server {
                let server = Server::new(workload, opaque, at, Rc::clone(invocation));
                further.extend(server.others(workload, opaque));
                servers.push(server);
            } else if !invocation.is_elsewhere() {
                database_commands.push(Server::new(workload, opaque, at, Rc::clone(invocation)));
            }
        }
        if let Some(lead) = own.container
            && let Some(index) = servers.iter().position(|server| &*server.container.name == lead)
        {
            servers[..=index].rotate_right(1);
        }
        let mut plan = plan::make(workload, &commands, settings, &servers, own, before);
        plan.locks = plan::locks(workload, &database_commands, settings, own, before);
        Subject { workload, settings, own, commands, servers, database_commands, further, plan }
    }

    /// The server that leads.
    pub fn lead(&self) -> Option<&Server<'a>> {
        self.servers.first()
    }

    /// Where a container is.
    pub fn place(&self, at: ContainerRef) -> Place {
        Place {
            container: Some(self.workload.container(at).name.to_string()),
            variable: None,
            pointer: self.workload.container_pointer(at),
        }
    }

    /// Where a field of a container is.
    pub fn place_of(&self, at: ContainerRef, field: &str) -> Place {
        let mut place = self.place(at);
        place.pointer.push('/');
        place.pointer.push_str(field);
        place
    }
}
