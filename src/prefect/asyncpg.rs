//! What becomes of a PostgreSQL URL on its way to `asyncpg.connect`.
//!
//! SQLAlchemy's dialect (`create_connect_args` in `dialects/postgresql/asyncpg.py`) turns each option of the URL
//! into a keyword argument, always as text, a repeated one as a tuple. Prefect's own settings are laid over them
//! (`AsyncPostgresConfiguration.engine`). Then `asyncpg.connect` takes what its signature knows and checks the
//! values (`connect_utils.py`). Read in Prefect 3.8.8, SQLAlchemy 2.1.9, asyncpg 0.32.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv6Addr};

use super::url::{Port, Url, python_int};
use crate::environment::HIDDEN;

/// Settings of Prefect that are laid over the URL's options.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// `…_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED` may be true: Prefect passes a TLS context of its own as `ssl`.
    pub tls: bool,
    /// `…_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHE_SIZE` is set.
    pub statement_cache_size: bool,
    /// `…_APPLICATION_NAME` or `…_SEARCH_PATH` is set: Prefect passes `server_settings`.
    pub server_settings: bool,
}

/// Why an option of the URL stops Prefect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `connect() got an unexpected keyword argument`.
    Unknown,
    /// asyncpg knows the option but not this value.
    Value,
    /// The option takes a number or an object; from a URL it is always text.
    NeverText,
    /// Given more than once.
    Repeated,
    /// `direct_tls` needs `ssl=require` or stricter.
    NeedsTls,
    /// The `host` and `port` options do not fit together.
    Hosts,
}

/// An option of the URL that stops Prefect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadOption<'u> {
    /// Its name as written: it may be part of a password that was not percent-encoded.
    pub name: &'u str,
    /// Why.
    pub refusal: Refusal,
}

/// The values of `ssl`: asyncpg looks them up with `-` read as `_`.
pub const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

const SESSION_ATTRIBUTES: [&str; 6] =
    ["any", "primary", "standby", "prefer-standby", "read-write", "read-only"];

/// The options that stop Prefect, each name once, in the order written.
pub fn refused<'u>(url: &'u Url<'_>, overrides: Overrides) -> Vec<BadOption<'u>> {
    let mut bad: Vec<BadOption<'u>> = Vec::new();
    for Given { name, value, repeated } in each_name(url) {
        if name.contains(HIDDEN) {
            continue;
        }
        if let Some(refusal) = refusal(url, name, value, repeated, overrides) {
            bad.push(BadOption { name, refusal });
        }
    }
    bad
}

/// An option of a URL by its name: the first value, and whether there are more.
pub(super) struct Given<'u> {
    pub(super) name: &'u str,
    pub(super) value: &'u str,
    pub(super) repeated: bool,
}

/// The options of a URL, each name once, in the order written.
pub(super) fn each_name<'u>(url: &'u Url<'_>) -> Vec<Given<'u>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: Vec<Given<'u>> = Vec::new();
    for (name, value) in &url.options {
        match places.entry(name) {
            Entry::Occupied(known) => found[*known.get()].repeated = true,
            Entry::Vacant(new) => {
                new.insert(found.len());
                found.push(Given { name, value, repeated: false });
            }
        }
    }
    found
}

fn refusal(url: &Url<'_>, name: &str, value: &str, repeated: bool, set: Overrides) -> Option<Refusal> {
    let once = || repeated.then_some(Refusal::Repeated);
    let one_of = |good: &dyn Fn(&str) -> bool| {
        once().or((!value.contains(HIDDEN) && !good(value)).then_some(Refusal::Value))
    };
    match name {
        "host" | "port" => hosts(url).err().filter(|_| name == "host" || url.option("host").next().is_none()),
        "user" | "password" | "database" => once(),
        "passfile" => once().filter(|_| url.password.is_none()),
        // Prefect always passes its own for these.
        "timeout" | "command_timeout" => None,
        "service" | "servicefile" | "krbsrvname" => None,
        // Prefect 3.8 makes a server setting of it.
        "default_transaction_isolation" => None,
        "ssl" if set.tls => None,
        "ssl" => one_of(&is_ssl_mode),
        "direct_tls" if set.tls || requires_tls(url) => None,
        "direct_tls" => Some(Refusal::NeedsTls),
        "target_session_attrs" => one_of(&|value| SESSION_ATTRIBUTES.contains(&value)),
        "gsslib" => one_of(&|value| matches!(value, "gssapi" | "sspi")),
        "prepared_statement_cache_size" => one_of(&|value| python_int(value).is_some()),
        "dsn" => one_of(&|value| {
            let scheme = value.split(':').next().unwrap_or_default();
            value.contains(':') && ["postgres", "postgresql"].iter().any(|s| s.eq_ignore_ascii_case(scheme))
        }),
        "statement_cache_size" if set.statement_cache_size => None,
        "server_settings"
            if set.server_settings || url.option("default_transaction_isolation").next().is_some() =>
        {
            None
        }
        "statement_cache_size"
        | "server_settings"
        | "max_cached_statement_lifetime"
        | "max_cacheable_statement_size"
        | "loop"
        | "connection_class"
        | "record_class"
        | "async_creator_fn"
        | "prepared_statement_name_func" => Some(Refusal::NeverText),
        _ => Some(Refusal::Unknown),
    }
}

/// Whether `ssl=` takes this value.
pub(super) fn is_ssl_mode(value: &str) -> bool {
    ssl_mode(value).is_some()
}

/// The mode that `ssl=` with this value means, from our own list: it can be shown.
pub(super) fn ssl_mode(value: &str) -> Option<&'static str> {
    SSL_MODES.into_iter().find(|mode| *mode == value || mode.replace('-', "_") == value)
}

fn requires_tls(url: &Url<'_>) -> bool {
    let mut values = url.option("ssl");
    let strict = |value: &str| {
        value.contains(HIDDEN) || (is_ssl_mode(value) && (value == "require" || value.starts_with("verify")))
    };
    values.next().is_some_and(strict) && values.next().is_none()
}

/// Where a URL leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// `localhost`, `127.0.0.1`, `::1`, or no host at all: asyncpg then tries local sockets and localhost.
    Loopback,
    /// A unix socket.
    Socket,
    /// Another machine.
    Remote,
    /// The manifest does not show it.
    NotVisible,
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAddress {
    /// No host name and no IP address: `p@ss@host`, `a,b`.
    Host,
    /// No number, or none from 0 to 65535.
    Port,
}

/// Where `url` leads, as far as one can see. `environment_host` says whether `PGHOST` is set.
pub fn address(url: &Url<'_>, environment_host: bool) -> Result<Address, BadAddress> {
    if url.port == Some(Port::Broken) {
        return Err(BadAddress::Port);
    }
    let hosts = match hosts(url) {
        Ok(hosts) => hosts,
        // Reported as an option.
        Err(_) => return Ok(Address::NotVisible),
    };
    if hosts.is_empty() {
        return Ok(if environment_host { Address::NotVisible } else { Address::Loopback });
    }
    let mut seen = None;
    for (host, port) in &hosts {
        let one = kind(host).ok_or(BadAddress::Host)?;
        if one != Address::Socket && port.is_some_and(|port| !(0..=65535).contains(&port)) {
            return Err(BadAddress::Port);
        }
        seen = Some(match seen {
            None => one,
            Some(other) if other == one => one,
            Some(_) => Address::Remote,
        });
    }
    Ok(seen.unwrap_or(Address::Loopback))
}

type Hosts<'u> = Vec<(&'u str, Option<i64>)>;

/// `_split_multihost_from_url` (`dialects/postgresql/base.py`) and what the dialect makes of its answer. A port
/// of `None` is asyncpg's default, or not visible.
fn hosts<'u>(url: &'u Url<'_>) -> Result<Hosts<'u>, Refusal> {
    let asked: Vec<&str> = url.option("host").collect();
    let port_options: Vec<&str> = url.option("port").collect();
    let plain_port = match url.port {
        Some(Port::Number(number)) if number != 0 => Some(number),
        _ => None,
    };
    // Python's `zip` cuts all of them to the shortest: one good token hides a second colon in the others.
    if asked.len() > 1 && asked.iter().all(|token| token.matches(':').count() > 1) {
        return Err(Refusal::Hosts);
    }
    let (hosts, own_ports) = split_hosts(&asked, !port_options.is_empty());
    if own_ports.is_some() && !port_options.is_empty() {
        return Err(Refusal::Hosts);
    }
    let texts: Option<Vec<&str>> = own_ports.or(match port_options.as_slice() {
        [] => None,
        [one] => Some(one.split(',').collect()),
        many => Some(many.to_vec()),
    });
    let ports = texts.as_deref().map(read_ports).transpose()?;
    if hosts.is_empty() {
        let port = match ports.as_deref() {
            None => plain_port,
            Some([one]) => *one,
            Some(_) => return Err(Refusal::Hosts),
        };
        return Ok(url.host.map(|host| vec![(host, port)]).unwrap_or_default());
    }
    match ports {
        None if hosts.len() == 1 => Ok(vec![(hosts[0], plain_port)]),
        Some(ports) if ports.len() != hosts.len() => Err(Refusal::Hosts),
        Some(ports) if hosts.len() == 1 => Ok(vec![(hosts[0], ports[0].or(plain_port))]),
        // Several hosts: SQLAlchemy wants each of them, and each port, to be there and not zero.
        Some(ports) => {
            let complete = hosts.iter().all(|host| !host.is_empty())
                && texts
                    .iter()
                    .flatten()
                    .zip(&ports)
                    .all(|(text, port)| text.contains(HIDDEN) || port.is_some_and(|port| port != 0));
            if complete { Ok(hosts.into_iter().zip(ports).collect()) } else { Err(Refusal::Hosts) }
        }
        None => Err(Refusal::Hosts),
    }
}

/// The hosts of the `host` options, and the ports written behind them (`host=a:1&host=b:2`).
fn split_hosts<'u>(asked: &[&'u str], has_port_option: bool) -> (Vec<&'u str>, Option<Vec<&'u str>>) {
    match asked {
        [] => (Vec::new(), None),
        [one] => {
            let hosts: Vec<&str> = one.split(',').collect();
            if hosts.len() == 1
                && !has_port_option
                && let Some((host, port)) = host_and_port(one)
            {
                return (vec![host], Some(vec![port]));
            }
            (hosts, None)
        }
        many => {
            let split = |token: &&'u str| {
                let mut parts = token.split(':');
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            };
            let (hosts, ports) = many.iter().map(split).unzip();
            (hosts, Some(ports))
        }
    }
}

/// `^([a-zA-Z0-9\-\.]*)(?:\:(\d*))?$` on a text with a colon.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.split_once(':')?;
    let host_is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let port_is_digits = port.chars().all(|c| c.is_numeric());
    (host_is_plain && port_is_digits).then_some((host, port))
}

/// Ports of a list: `None` where there is none, or where it is not visible.
fn read_ports(texts: &[&str]) -> Result<Vec<Option<i64>>, Refusal> {
    texts
        .iter()
        .map(|text| match Port::read(text) {
            _ if text.is_empty() => Ok(None),
            Port::Number(number) => Ok(Some(number)),
            Port::Hidden => Ok(None),
            Port::Broken => Err(Refusal::Hosts),
        })
        .collect()
}

/// What a host is; `None` where it can be no host.
pub fn kind(host: &str) -> Option<Address> {
    if host.contains(HIDDEN) {
        return Some(Address::NotVisible);
    }
    if host.is_empty() {
        return Some(Address::Loopback);
    }
    if host.starts_with('/') {
        return Some(Address::Socket);
    }
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    if let Ok(ip) = address.parse::<Ipv6Addr>() {
        return zone.is_none_or(|zone| !zone.is_empty()).then(|| ip_kind(IpAddr::V6(ip)));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(ip_kind(ip));
    }
    is_host_name(host).then(|| {
        let name = host.trim_end_matches('.');
        if name.eq_ignore_ascii_case("localhost") { Address::Loopback } else { Address::Remote }
    })
}

fn ip_kind(ip: IpAddr) -> Address {
    if ip.is_loopback() || ip.is_unspecified() { Address::Loopback } else { Address::Remote }
}

/// Letters, digits, `-` and `_` in labels of at most 63, with a dot at the end or without. Python encodes other
/// letters by IDNA and refuses an empty or overlong label.
fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    !host.is_empty()
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
        })
}
