//! PSG103: the right database by the wrong driver.

use super::{Subject, problems};
use crate::prefect::database::Fault;
use crate::prefect::judge::{Driver, DriverFault, UrlFault};
use crate::rule::{Level, OfSecret, Report, Rule};

/// The rule.
pub static RULE: Rule = Rule {
    id: "PSG103",
    name: "sync-driver",
    default: Level::Deny,
    since: "0.1.0",
    secret: OfSecret::JudgesUrl,
    summary: "a driver that is not async, or not the one Prefect needs",
    page: include_str!("psg103_sync_driver.md"),
    ..Rule::USUAL
};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report) {
    let found = problems::picked(subject, |fault| match fault {
        Fault::Url(UrlFault::Driver(driver)) => Some(driver),
        _ => None,
    });
    for (server, variable, driver) in found {
        problems::report(report, &RULE, subject, (server, variable), what(driver), help(driver));
    }
}

fn what(driver: &Driver) -> String {
    let written = driver.written.unwrap_or("this driver");
    let name = written.split_once('+').map_or(written, |(_, driver)| driver);
    match driver.why {
        DriverFault::None => format!("`{written}://` names no driver, and the default one is not async"),
        DriverFault::Sync => format!("driver `{name}` is not async"),
        DriverFault::NotAsyncpg => format!("driver `{name}` is not the one that Prefect works with"),
        DriverFault::Case => "dialect and driver are written in lower case only".to_owned(),
        DriverFault::Alias => "SQLAlchemy knows no dialect `postgres`".to_owned(),
        DriverFault::Unknown => "dialect and driver are none that Prefect works with".to_owned(),
    }
}

/// The same URL with the right driver. Only names of options are taken over, never a part of a value.
fn help(driver: &Driver) -> String {
    if driver.wanted.starts_with("sqlite") {
        return "write `sqlite+aiosqlite:////PATH`, on a persistent volume".to_owned();
    }
    let mut options: Vec<String> = Vec::new();
    for option in &driver.options {
        let written = match asyncpg_option(option) {
            Some(written) => written,
            None => continue,
        };
        if !options.contains(&written) {
            options.push(written);
        }
    }
    let query = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    format!("write `{}://USER:PASSWORD@HOST:5432/NAME{query}`", driver.wanted)
}

/// An option as asyncpg wants it; none where it has no counterpart (PSG106 speaks of those).
fn asyncpg_option(name: &str) -> Option<String> {
    match name {
        "sslmode" | "ssl" => Some("ssl=MODE".to_owned()),
        "host" | "port" | "target_session_attrs" | "passfile" | "krbsrvname" | "gsslib" => {
            Some(format!("{name}=…"))
        }
        _ => None,
    }
}
