//! Where the server listens and whom it answers, as far as its settings say.

use super::elsewhere;
use super::reader::Reader;
use super::settings::Field;
use super::values::integer;

/// What the settings say of the server's own address; its command line may say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The host it listens on.
    pub host: Given<String>,
    /// The port it listens on.
    pub port: Given<i64>,
    /// Whether its API asks for a user and a password.
    pub asks_for_login: bool,
}

/// A setting, as far as the manifest shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing sets it, unless the image does.
    Nowhere,
    /// This is its value.
    Is(T),
    /// The manifest does not show it.
    #[default]
    NotVisible,
}

impl Endpoint {
    pub(super) fn read(reader: &Reader<'_>) -> Self {
        let port = match given(reader, Field::ApiPort) {
            Given::Is(text) => integer(&text).map_or(Given::NotVisible, Given::Is),
            Given::Nowhere => Given::Nowhere,
            Given::NotVisible => Given::NotVisible,
        };
        let login = reader.value(Field::AuthString);
        Endpoint {
            host: given(reader, Field::ApiHost),
            port,
            asks_for_login: login.is_some_and(|value| !value.text.is_empty()),
        }
    }
}

fn given(reader: &Reader<'_>, field: Field) -> Given<String> {
    if reader.settings.get(Field::ServerJson).is_some() {
        return Given::NotVisible;
    }
    match reader.value(field) {
        Some(value) if value.is_partly_hidden() || reader.is_opaque(&value.text) => Given::NotVisible,
        Some(value) => Given::Is(value.text.into_owned()),
        None if elsewhere::origin_of(reader, field).is_some() => Given::NotVisible,
        None => Given::Nowhere,
    }
}
