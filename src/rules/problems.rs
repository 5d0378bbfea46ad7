//! What the rules about database settings share: the problems of each container, and where they are.

use super::{Server, Subject};
use crate::prefect::database::{Fault, Problem};
use crate::prefect::near;
use crate::prefect::version::Version;
use crate::rule::{Finding, Place, Report, Rule};
use crate::text::{clip, name_alone};

/// The servers, then the containers that run a database command, then what else a script starts: all need a good
/// setting.
pub(super) fn users<'s, 'a>(subject: &'s Subject<'a>) -> impl Iterator<Item = &'s Server<'a>> {
    subject.servers.iter().chain(&subject.database_commands).chain(&subject.further)
}

/// Every problem with the settings, and the container it is in.
pub(super) fn each<'s, 'a>(subject: &'s Subject<'a>) -> impl Iterator<Item = (&'s Server<'a>, &'s Problem)> {
    users(subject).flat_map(|server| server.database.problems.iter().map(move |problem| (server, problem)))
}

/// Where a variable of a container is; the container itself without one.
pub(super) fn place(subject: &Subject<'_>, server: &Server<'_>, variable: Option<usize>) -> Place {
    let field = match variable.map(|index| server.environment.position_in_manifest(index)) {
        Some(Some(position)) => format!("env/{position}"),
        // The command line sets it.
        Some(None) if !server.container.args.is_empty() => "args".to_owned(),
        Some(None) => "command".to_owned(),
        None => return subject.place(server.at),
    };
    let mut place = subject.place_of(server.at, &field);
    place.variable = variable
        .and_then(|index| server.environment.at(index))
        .map(|found| name_alone(found.name).into_owned());
    place
}

/// Reports a finding about a variable. Its value is the evidence, so that the same fault of the object as it was
/// before is known again.
pub(super) fn report<'f>(
    report: &'f mut Report,
    rule: &'static Rule,
    subject: &Subject<'_>,
    (server, variable): (&Server<'_>, Option<usize>),
    what: impl Into<String>,
    help: impl Into<String>,
) -> &'f mut Finding {
    let evidence =
        variable.map(|index| server.environment.value(index).text.into_owned()).unwrap_or_default();
    report.add(rule, place(subject, server, variable), what, help).about(evidence)
}

/// The name of a variable, for a message.
pub(super) fn name(server: &Server<'_>, variable: usize) -> String {
    server.environment.at(variable).map(|found| clip(found.name, 80)).unwrap_or_default()
}

/// The name of the URL's variable to recommend for this container's image.
pub(super) fn url_name(server: &Server<'_>) -> &'static str {
    near::recommended(Version::of_image(&server.container.image))
}

/// The problems whose fault `pick` makes something of.
pub(super) fn picked<'s, 'a, T>(
    subject: &'s Subject<'a>,
    pick: impl Fn(&'s Fault) -> Option<T>,
) -> impl Iterator<Item = (&'s Server<'a>, Option<usize>, T)> {
    each(subject).filter_map(move |(server, problem)| Some((server, problem.variable, pick(&problem.fault)?)))
}
