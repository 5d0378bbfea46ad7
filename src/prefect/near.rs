//! Variables that were probably meant to be the connection URL.

use super::settings::Field;
use super::version::Version;
use crate::finding::distance;
use crate::workload::env::Environment;

/// The name that every Prefect 3 from 3.0.11 on reads first.
pub const CURRENT: &str = "PREFECT_SERVER_DATABASE_CONNECTION_URL";
/// The name that Prefect reads from 2.8.1 on.
pub const ALIAS: &str = "PREFECT_API_DATABASE_CONNECTION_URL";

/// The name that Prefect before 2.8.1 reads.
pub const ORION: &str = "PREFECT_ORION_DATABASE_CONNECTION_URL";

/// The name to recommend for a version.
pub fn recommended(version: Option<Version>) -> &'static str {
    if version.is_some_and(|version| version.is_before(2, 8, 1)) {
        return ORION;
    }
    if version.is_some_and(|version| !version.is_at_least(3, 0, 11)) { ALIAS } else { CURRENT }
}

/// The variable that looks most like the connection URL and is not read.
pub(super) fn miss(environment: &Environment<'_>, version: Option<Version>) -> Option<usize> {
    let wanted = plain(recommended(version));
    environment
        .variables()
        .filter(|variable| Field::named(variable.name).is_none_or(|(field, _)| field == Field::OrionUrl))
        .filter_map(|variable| score(variable.name, &wanted).map(|score| (score, variable.index)))
        .min()
        .map(|(_, index)| index)
}

/// How far a name is from the wanted one; `None` where it means something else.
fn score(name: &str, wanted: &str) -> Option<usize> {
    let name = plain(name);
    let about_database = ["DATABASE", "CONNECTION", "POSTGRES", "DBURL", "DBCONN", "SQLALCHEMY"];
    let is_url = ["URL", "URI", "CONNECTION", "DSN", "CONNSTR"].iter().any(|word| name.contains(word));
    let prefect = name.contains("PREFECT") || name.contains("PERFECT") || name.contains("PREFCT");
    let close = name.len().abs_diff(wanted.len()) <= 4 && distance(&name, wanted) <= 4;
    let meant = is_url && about_database.iter().any(|word| name.contains(word));
    // A bare DATABASE_URL is what other frameworks read.
    (close
        || (meant
            && (prefect || matches!(name.as_str(), "DATABASEURL" | "DATABASEURI" | "SQLALCHEMYDATABASEURI"))))
    .then(|| distance(&name, wanted))
}

/// Capitals, without `_`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_near_misses() {
        let wanted = plain(CURRENT);
        for name in [
            "PREFECT_DATABASE_CONNECTION_URL",
            "PREFECT_ORION_DATABASE_CONNECTION_URL",
            "PREFECT__SERVER__DATABASE__CONNECTION_URL",
            "PREFECT_SERVER_DATABASE_CONNECTION_URI",
            "PREFECT_SERVER_DATABASE_URL",
            "PREFECT_API_DATABASE_CONECTION_URL",
            "DATABASE_URL",
        ] {
            assert!(score(name, &wanted).is_some(), "{name}");
        }
        for name in [
            "PREFECT_API_URL",
            "PREFECT_UI_API_URL",
            "POSTGRES_PASSWORD",
            "REDIS_URL",
            "PREFECT_HOME",
            "APP_DATABASE_URL",
        ] {
            assert!(score(name, &wanted).is_none(), "{name}");
        }
    }
}
