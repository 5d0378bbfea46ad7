//! What a script writes into Prefect's profile before it starts the server.

use std::borrow::Cow;

use super::given::Settings;
use super::settings::Field;
use crate::environment::Environment;
use crate::shell::command::Invocation;

/// Adds what `prefect config set NAME=VALUE` wrote to the environment, where that does not have the setting by any
/// name: the environment beats the profile.
pub fn assign(environment: &mut Environment<'_>, invocation: &Invocation) {
    if invocation.profile_settings.is_empty() {
        return;
    }
    let found = Settings::find(environment);
    for (name, value) in &invocation.profile_settings {
        if let Some((field, _)) = Field::named(name)
            && found.get(field).is_none()
        {
            environment.assign(name.clone(), value.clone().map(Cow::Owned));
        }
    }
}
