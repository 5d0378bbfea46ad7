//! What the policy says of the migration alone: how it is done, and what its container has that the server's has not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::prefect::settings::picks_database;
use crate::text::clip;

/// Who migrates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MigrationMode {
    /// The injected container.
    #[default]
    Run,
    /// A Job, which the injected container waits for.
    Wait,
}

/// What is done with a Job that runs the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Jobs {
    /// Its upgrade takes the lock of the injected containers, and says what they say.
    #[default]
    Lock,
    /// Nothing.
    Leave,
}

/// A variable that the migration has and the server has not, or has with another value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Written", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A variable for the migration alone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Variable")]
struct Written {
    /// Its name. None that picks the database or logs in to it.
    name: String,
    /// Its value.
    value: String,
}

impl TryFrom<Written> for Variable {
    type Error = String;

    /// The migration of another database than the server's would be worse than none.
    fn try_from(Written { name, value }: Written) -> Result<Self, String> {
        match () {
            () if name.is_empty() || name.contains(['=', '\0']) => {
                Err("a variable's name is not empty and holds no `=`".to_owned())
            }
            () if picks_database(&name) => {
                Err(format!("`{}` picks the database, which has to be the server's", clip(&name, 80)))
            }
            () => Ok(Variable { name, value }),
        }
    }
}

/// Bounds in seconds; what is not given has none, or the default of the migration's script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// How long a database that does not answer yet is waited for. Default 60.
    pub database: Option<u32>,
    /// How long another pod's migration is waited for. By default until it has ended.
    pub lock: Option<u32>,
    /// How long one statement of the migration may take. By default Prefect's own bound, and an hour before 3.8, where
    /// that is 10.
    pub statement: Option<u32>,
    /// In mode `wait`: how long the Job is waited for. Default 900.
    pub wait: Option<u32>,
}

/// Controllers whose objects are mutated as anybody's: they take the change over, and do not undo it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Controller {
    /// `PrefectServer`.
    pub kind: String,
    /// `prefect.io`.
    pub group: String,
}

impl JsonSchema for Controller {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Controller".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9]+[.].+$"})
    }
}

impl TryFrom<String> for Controller {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.split_once('.') {
            Some((kind, group)) if !kind.is_empty() && !group.is_empty() && !text.contains('/') => {
                Ok(Controller { kind: kind.to_owned(), group: group.to_owned() })
            }
            _ => Err("a controller is written KIND.GROUP, such as `PrefectServer.prefect.io`"),
        }
    }
}

impl From<Controller> for String {
    fn from(controller: Controller) -> Self {
        format!("{}.{}", controller.kind, controller.group)
    }
}

/// An object of the pod spec, kept as the JSON text that goes into a patch.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub struct Fragment(pub Box<RawValue>);

impl TryFrom<serde_json::Map<String, serde_json::Value>> for Fragment {
    type Error = serde_json::Error;

    fn try_from(map: serde_json::Map<String, serde_json::Value>) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(&map).map(Fragment)
    }
}

impl JsonSchema for Fragment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fragment".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object"})
    }
}

/// What the policy says of the migration, settled.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Who migrates.
    pub mode: MigrationMode,
    /// What is done with Jobs that migrate.
    pub jobs: Jobs,
    /// Variables for the migration alone, each with its entry of `env` as JSON.
    pub env: Vec<(String, Box<RawValue>)>,
    /// In place of the server's `resources`.
    pub resources: Option<Fragment>,
    /// In place of the server's `securityContext`.
    pub security_context: Option<Fragment>,
    /// Bounds.
    pub timeouts: Timeouts,
    /// Owners that do not stand in the way.
    pub controllers: Vec<Controller>,
}

impl Default for Migration {
    fn default() -> Self {
        Migration {
            mode: MigrationMode::default(),
            jobs: Jobs::default(),
            env: Vec::new(),
            resources: None,
            security_context: None,
            timeouts: Timeouts::default(),
            controllers: vec![Controller {
                kind: "PrefectServer".to_owned(),
                group: "prefect.io".to_owned(),
            }],
        }
    }
}

impl Migration {
    /// Sets the variables; the last of one name counts.
    pub(super) fn set_env(&mut self, variables: &[Variable]) {
        self.env.clear();
        for variable in variables {
            let entry = serde_json::value::to_raw_value(variable).expect("two strings always serialise");
            self.env.retain(|(name, _)| *name != variable.name);
            self.env.push((variable.name.clone(), entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Variable, Written};

    fn is_taken(name: &str) -> bool {
        Variable::try_from(Written { name: name.to_owned(), value: "x".to_owned() }).is_ok()
    }

    #[test]
    fn no_variable_picks_another_database_or_login() {
        for name in [
            "PREFECT_SERVER_DATABASE_CONNECTION_URL",
            "prefect_api_database_connection_url",
            "PREFECT_ORION_DATABASE_CONNECTION_URL",
            "PREFECT_SERVER_DATABASE_HOST",
            "PREFECT_SERVER_DATABASE_PORT",
            "PREFECT_SERVER_DATABASE_DRIVER",
            "PREFECT_API_DATABASE_PASSWORD",
            "PREFECT_SERVER_DATABASE",
            "PREFECT_PROFILE",
            "PGHOST",
            "",
            "A=B",
        ] {
            assert!(!is_taken(name), "{name}");
        }
        for name in ["PREFECT_API_DATABASE_TIMEOUT", "PREFECT_LOGGING_LEVEL", "HTTPS_PROXY", "TZ"] {
            assert!(is_taken(name), "{name}");
        }
    }
}
