//! Variables that were probably meant to be the connection URL.

use super::settings::{API_DATABASE, Field, SERVER_DATABASE, SETTINGS};
use super::version::Version;
use crate::environment::Environment;
use crate::text::distance;

/// The name to recommend for a version.
pub fn recommended(version: Option<Version>) -> &'static str {
    Field::Url.name_for(version)
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

/// The names of settings that begin with `prefix`, without it.
fn names_behind(prefix: &'static str) -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|setting| setting.names).filter_map(move |name| name.text.strip_prefix(prefix))
}

/// The setting that a name was meant to be, which no Prefect reads as it is written. Short names have too many
/// neighbours that are meant.
pub(super) fn misspelt(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let (prefix, rest) = [SERVER_DATABASE, API_DATABASE]
        .into_iter()
        .find_map(|prefix| Some((prefix, upper.strip_prefix(prefix)?)))?;
    if rest.len() < 6 || names_behind(prefix).any(|known| known == rest) {
        return None;
    }
    let rest = plain(rest);
    let off = |known: &str| distance(&rest, &plain(known));
    let near = names_behind(prefix).filter(|known| known.len().abs_diff(rest.len()) <= 8 && off(known) <= 2);
    let near = near.min_by_key(|known| off(known))?;
    Some(format!("{prefix}{near}"))
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
        let wanted = plain(Field::Url.name());
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
    #[test]
    fn knows_misspelt_settings() {
        for (name, wanted) in [
            ("PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHESIZE", "STATEMENT_CACHE_SIZE"),
            ("PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_CAFILE", "TLS_CA_FILE"),
            ("PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLE", "TLS_ENABLED"),
            ("prefect_api_database_connection_timout", "PREFECT_API_DATABASE_CONNECTION_TIMEOUT"),
        ] {
            assert!(misspelt(name).is_some_and(|found| found.ends_with(wanted)), "{name}");
        }
        let known = names_behind(SERVER_DATABASE).map(|rest| format!("{SERVER_DATABASE}{rest}"));
        let others = [
            "PREFECT_SERVER_DATABASE_SECRET_NAME",
            "PREFECT_SERVER_DATABASE_PORT_5432_TCP",
            "PREFECT_API_DATABASE_SQLALCHEMY_POOL_SIZE",
            "PREFECT_API_URL",
            "DATABASE_PASSWORD",
        ];
        for name in known.chain(others.map(str::to_owned)) {
            assert_eq!(misspelt(&name), None, "{name}");
        }
    }
}
