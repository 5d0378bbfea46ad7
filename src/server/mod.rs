//! A container understood: the calls of Prefect in it, its environment, the database it would use.
//!
//! (The HTTP server is in `serve`.)

pub mod commands;
pub mod start;

use std::rc::Rc;

use crate::environment::Environment;
use crate::kubernetes::{Container, ContainerRef, Workload};
use crate::prefect::database::{Database, Problem, Reading};
use crate::prefect::profile;
use crate::shell::command::{Call, Invocation};

/// How many servers of one script are judged beside the first.
const MOST_SERVERS: usize = 16;

/// A container that is a Prefect server, or runs a database command.
pub struct Server<'a> {
    /// Which container.
    pub at: ContainerRef,
    /// The container.
    pub container: &'a Container<'a>,
    /// What it runs.
    pub invocation: Rc<Invocation>,
    /// Its environment as the process will see it.
    pub environment: Environment<'a>,
    /// The database setting that Prefect finds in that environment.
    pub database: Database,
}

impl<'a> Server<'a> {
    /// Reads the environment and the database setting of a container. `opaque` are prefixes of values that something
    /// fills in later, beside the built-in ones.
    pub fn new(
        workload: &'a Workload<'a>,
        opaque: &[String],
        at: ContainerRef,
        invocation: Rc<Invocation>,
    ) -> Self {
        let container = workload.container(at);
        let mut environment = Environment::new(container, workload.template.spec.service_links());
        environment.change(invocation.changes_before_main());
        profile::assign(&mut environment, &invocation);
        let reading = Reading::new(workload, container, &invocation, &environment, opaque);
        let database = Database::read(&reading);
        Server { at, container, invocation, environment, database }
    }

    /// The servers that the same script starts in other environments, with what is wrong in those alone.
    pub fn others(&self, workload: &'a Workload<'a>, opaque: &[String]) -> Vec<Self> {
        let other = |call: &Call| {
            let mut invocation = Invocation::clone(&self.invocation);
            invocation.calls = vec![call.clone()];
            let mut server = Server::new(workload, opaque, self.at, Rc::new(invocation));
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
