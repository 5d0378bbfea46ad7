//! What the policy says of the migration alone: how it is done, and what its container has that the server's has not.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::kubernetes::quantity;
use crate::prefect::field::Field;
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
            () if !is_name(&name) => Err(format!(
                "`{}` is no variable's name: letters, digits, `_`, `-` and `.`, and no digit first",
                clip(&name, 80)
            )),
            () if picks_database(&name) || is_home(&name) => {
                Err(format!("`{}` picks the database, which has to be the server's", clip(&name, 80)))
            }
            () => Ok(Variable { name, value }),
        }
    }
}

/// As the API server has it (`IsEnvVarName` in apimachinery's `util/validation`).
fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(known) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Where Prefect looks for its profiles, which may hold the URL.
fn is_home(name: &str) -> bool {
    name == "HOME" || matches!(Field::named(name), Some((Field::Home, _)))
}

/// Bounds in seconds; what is not given has none, or the default of the migration's script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// How long a database that does not answer yet is waited for. Default 60.
    pub database: Option<NonZeroU32>,
    /// How long another pod's migration is waited for. By default until it has ended.
    pub lock: Option<NonZeroU32>,
    /// How long one statement of the migration may take. By default Prefect's own bound, and an hour before 3.8, where
    /// that is 10.
    pub statement: Option<NonZeroU32>,
    /// In mode `wait`: how long the Job is waited for. Default 540, within the ten minutes after which Kubernetes calls a rollout failed.
    pub wait: Option<NonZeroU32>,
}

impl Timeouts {
    /// These, and the bounds of `other` where these have none.
    #[must_use]
    pub(super) fn over(self, other: Timeouts) -> Timeouts {
        Timeouts {
            database: self.database.or(other.database),
            lock: self.lock.or(other.lock),
            statement: self.statement.or(other.statement),
            wait: self.wait.or(other.wait),
        }
    }
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

/// Requests and limits, as the JSON text that goes into a patch. Checked when the policy is read: what the API server
/// refuses in a patch would hold up every Prefect server.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct Resources(pub Box<RawValue>);

impl TryFrom<Map<String, Value>> for Resources {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        for (key, list) in &map {
            let quantities = match (key.as_str(), list) {
                ("requests" | "limits", Value::Object(quantities)) => quantities,
                _ => {
                    return Err(format!("`{}` is no part of resources: `requests`, `limits`", clip(key, 80)));
                }
            };
            for (name, quantity) in quantities {
                let text = quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned);
                if quantity::bytes(&text).is_none_or(|number| number < 0.0) {
                    return Err(format!("`{}` is no quantity such as `512Mi` or `250m`", clip(name, 80)));
                }
            }
        }
        Ok(Resources(text(&map)))
    }
}

/// A container's security context, as the JSON text that goes into a patch; checked as [`Resources`] are.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct SecurityContext(pub Box<RawValue>);

impl TryFrom<Map<String, Value>> for SecurityContext {
    type Error = String;

    fn try_from(map: Map<String, Value>) -> Result<Self, String> {
        for (key, value) in &map {
            let fits = match key.as_str() {
                "allowPrivilegeEscalation" | "privileged" | "readOnlyRootFilesystem" | "runAsNonRoot" => {
                    value.is_boolean()
                }
                "runAsUser" | "runAsGroup" => value.is_u64(),
                "procMount" => value.is_string(),
                "appArmorProfile" | "capabilities" | "seLinuxOptions" | "seccompProfile"
                | "windowsOptions" => value.is_object(),
                _ => return Err(format!("`{}` is no field of a container's securityContext", clip(key, 80))),
            };
            if !fits {
                return Err(format!("`{key}` of a securityContext has a value of another kind"));
            }
        }
        Ok(SecurityContext(text(&map)))
    }
}

fn text(map: &Map<String, Value>) -> Box<RawValue> {
    serde_json::value::to_raw_value(map).expect("JSON always serialises")
}

/// Kubernetes' own objects, which its documentation describes.
macro_rules! is_an_object {
    ($($kind:ident),*) => {$(
        impl JsonSchema for $kind {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "object"})
            }
        }
    )*};
}
is_an_object!(Resources, SecurityContext);

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
    pub resources: Option<Resources>,
    /// In place of the server's `securityContext`.
    pub security_context: Option<SecurityContext>,
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
    use super::{Resources, SecurityContext, Variable, Written};

    fn is_accepted(name: &str) -> bool {
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
            "PREFECT_HOME",
            "HOME",
            "PGHOST",
            "",
            "A=B",
            "A B",
            "1A",
        ] {
            assert!(!is_accepted(name), "{name}");
        }
        for name in ["PREFECT_API_DATABASE_TIMEOUT", "PREFECT_LOGGING_LEVEL", "HTTPS_PROXY", "TZ"] {
            assert!(is_accepted(name), "{name}");
        }
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused_here() {
        let resources = |yaml| serde_saphyr::from_str::<Resources>(yaml).is_ok();
        assert!(resources("{limits: {memory: 1Gi, cpu: 2}, requests: {cpu: 250m}}"));
        for yaml in
            ["{limits: {memory: lots}}", "{limit: {cpu: 1}}", "{limits: 1Gi}", "{requests: {cpu: -1}}"]
        {
            assert!(!resources(yaml), "{yaml}");
        }
        let context = |yaml| serde_saphyr::from_str::<SecurityContext>(yaml).is_ok();
        assert!(context("{runAsUser: 1000, runAsNonRoot: true, capabilities: {drop: [ALL]}}"));
        for yaml in ["{runAsUser: root}", "{fsGroup: 1}", "{privileged: 1}"] {
            assert!(!context(yaml), "{yaml}");
        }
    }
}
