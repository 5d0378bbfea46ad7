//! What a rule gets to see, and how it is made from a workload.

use crate::kubernetes::annotations::Own;
use crate::kubernetes::env::Environment;
use crate::kubernetes::{Class, Container, ContainerRef, Workload};
use crate::migration::plan::{self, Before, Plan};
use crate::policy::Settings;
use crate::prefect::database::{Database, Problem, Reading};
use crate::prefect::profile;
use crate::rule::Place;
use crate::shell::command::{Action, Call, Invocation};

/// How many servers of one script are judged beside the first.
const MOST_SERVERS: usize = 16;

/// One workload, read and understood.
pub struct Subject<'a> {
    /// The workload.
    pub workload: &'a Workload<'a>,
    /// What the policy says for its namespace.
    pub settings: &'a Settings,
    /// Our own annotations on its pod template.
    pub own: &'a Own<'a>,
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

/// A container that is a Prefect server, or runs a database command.
pub struct Server<'a> {
    /// Which container.
    pub at: ContainerRef,
    /// The container.
    pub container: &'a Container<'a>,
    /// What it runs.
    pub invocation: Invocation,
    /// Its environment as the process will see it.
    pub environment: Environment<'a>,
    /// The database setting that Prefect finds in that environment.
    pub database: Database,
}

impl<'a> Subject<'a> {
    /// Looks at a workload; `before` is the same object before this change.
    pub fn examine(
        workload: &'a Workload<'a>,
        settings: &'a Settings,
        own: &'a Own<'a>,
        before: Option<&Before<'_>>,
    ) -> Self {
        let spec = &workload.template.spec;
        let refs = |init, count| (0..count).map(move |index| ContainerRef { init, index });
        let mut servers = Vec::new();
        let mut database_commands = Vec::new();
        let mut further = Vec::new();
        for at in refs(false, spec.containers.len()).chain(refs(true, spec.init_containers().len())) {
            let container = workload.container(at);
            let invocation = container.invocation();
            let is_ours = at.init && &*container.name == crate::migration::container::NAME;
            // The name alone is no licence: what does more than migrate is judged as anybody's.
            if is_ours && invocation.calls.iter().all(|call| call.action == Action::Upgrade) {
                continue;
            }
            let named = !at.init && own.container == Some(&*container.name);
            let runs = invocation.server().is_some() && (!at.init || container.is_native_sidecar());
            if (runs || named) && !is_ours && workload.class == Class::Server {
                let server = Server::new(workload, settings, at, invocation);
                further.extend(server.others(workload, settings));
                servers.push(server);
            } else if !invocation.is_elsewhere() {
                database_commands.push(Server::new(workload, settings, at, invocation));
            }
        }
        if let Some(lead) = own.container
            && let Some(index) = servers.iter().position(|server| &*server.container.name == lead)
        {
            servers[..=index].rotate_right(1);
        }
        let plan = plan::make(workload, settings, &servers, own, before);
        Subject { workload, settings, own, servers, database_commands, further, plan }
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

impl<'a> Server<'a> {
    fn new(
        workload: &'a Workload<'a>,
        settings: &'a Settings,
        at: ContainerRef,
        invocation: Invocation,
    ) -> Self {
        let container = workload.container(at);
        let mut environment = Environment::new(container, workload.template.spec.service_links());
        environment.change(invocation.changes_before_main());
        profile::assign(&mut environment, &invocation);
        let reading = Reading::new(workload, container, &invocation, &environment, &settings.opaque_values);
        let database = Database::read(&reading);
        Server { at, container, invocation, environment, database }
    }

    /// The servers that the same script starts in other environments, with what is wrong in those alone.
    fn others(&self, workload: &'a Workload<'a>, settings: &'a Settings) -> Vec<Self> {
        let other = |call: &Call| {
            let mut invocation = self.invocation.clone();
            invocation.calls = vec![call.clone()];
            let mut server = Server::new(workload, settings, self.at, invocation);
            let is_new = |problem: &Problem| {
                let own = problem
                    .variable
                    .is_some_and(|index| server.environment.position_in_manifest(index).is_none());
                own || !self.database.problems.contains(problem)
            };
            let problems =
                server.database.problems.iter().filter(|problem| is_new(problem)).cloned().collect();
            server.database.problems = problems;
            server
        };
        self.invocation.other_servers().take(MOST_SERVERS).map(other).collect()
    }
}
