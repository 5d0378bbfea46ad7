//! The policy file as it is written: YAML, unknown keys refused with their line.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::migration::{Controller, Jobs, MigrationMode, Resources, SecurityContext, Timeouts, Variable};
use super::settings::{Adopted, Mode, OnNewerSchema, Policy, Serialize, Set, Settings};
use crate::kubernetes::kind::KindSetting;
use crate::rule::{Catalogue, Level, Rule};

/// Why a policy file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy line {line}, column {column}: {problem}")]
pub struct PolicyError {
    /// The line, from 1; 0 when unknown.
    pub line: u64,
    /// The column, from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong and what may stand there.
    pub problem: String,
}

/// The prefect-guard policy file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Policy")]
struct File {
    /// The version of this format.
    api_version: ApiVersion,
    /// Always `Policy`.
    kind: Kind,
    /// What happens to denials: `enforce` (the default), `warn` (they become warnings) or `audit` (nothing is denied,
    /// warned of or patched; logs, metrics and audit annotations report the findings).
    #[serde(default)]
    mode: Option<Mode>,
    /// Levels by rule name or id, where they differ from the rule's own.
    #[serde(default)]
    rules: Rules,
    /// What annotations on a pod template may switch off.
    #[serde(default)]
    exemptions: Exemptions,
    /// The migration initContainer.
    #[serde(default)]
    migration: Migration,
    /// Where findings are reported besides the answer.
    #[serde(default)]
    report: Reporting,
    /// Prefixes of values that something fills in before Prefect starts (secret injectors), added to the built-in
    /// ones: such a value counts as not visible.
    #[serde(default)]
    opaque_values: Vec<String>,
    /// Programs of your own that fill the environment of what they run (`my-secrets -- prefect server start`), added to
    /// the built-in ones: a setting that is not in the manifest may come from them.
    #[serde(default)]
    environment_programs: Vec<String>,
    /// Further kinds whose pod template is judged as a Deployment's.
    #[serde(default)]
    #[schemars(with = "Vec<KindSetting>")]
    kinds: Vec<Spanned<KindSetting>>,
    /// What differs in some namespaces, by name.
    #[serde(default)]
    namespaces: BTreeMap<String, Override>,
}

/// What differs in one namespace: the same keys; what is not given holds as above.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Override {
    /// See the top level.
    #[serde(default)]
    mode: Option<Mode>,
    /// Added to the top level's.
    #[serde(default)]
    rules: Rules,
    /// Key by key instead of the top level's.
    #[serde(default)]
    exemptions: Exemptions,
    /// Key by key instead of the top level's.
    #[serde(default)]
    migration: Migration,
    /// Key by key instead of the top level's.
    #[serde(default)]
    report: Reporting,
    /// Added to the top level's.
    #[serde(default)]
    opaque_values: Vec<String>,
    /// Added to the top level's.
    #[serde(default)]
    environment_programs: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum ApiVersion {
    #[serde(rename = "prefect-guard.io/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum Kind {
    Policy,
}

/// What annotations may switch off.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Exemptions {
    /// Whether `prefect-guard.io/allow` and `prefect-guard.io/inject: "false"` count at all. Default true.
    #[serde(default)]
    allowed: Option<bool>,
    /// Rules, by name or id, from which no annotation exempts.
    #[serde(default)]
    #[schemars(with = "Option<Vec<RuleName>>")]
    forbidden: Option<Vec<Spanned<RuleName>>>,
    /// Whether an exemption has to say why in `prefect-guard.io/allow-reason`; one that does not is PSG903. Default
    /// false.
    #[serde(default)]
    require_reason: Option<bool>,
}

/// The migration initContainer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Migration {
    /// Whether `/mutate` injects it. Default true.
    #[serde(default)]
    inject: Option<bool>,
    /// Whether it runs under a PostgreSQL advisory lock. Default `auto`.
    #[serde(default)]
    serialize: Option<Serialize>,
    /// What it does when the database is newer than its image. Default `continue`.
    #[serde(default)]
    on_newer_schema: Option<OnNewerSchema>,
    /// What is done with a migration initContainer that the user wrote. Default `pin`.
    #[serde(default)]
    adopted: Option<Adopted>,
    /// Who migrates: the injected container (`run`, the default), or a Job that the container waits for (`wait`).
    #[serde(default)]
    mode: Option<MigrationMode>,
    /// Whether a Job that runs the upgrade is given the lock (`lock`, the default) or left as it is (`leave`).
    #[serde(default)]
    jobs: Option<Jobs>,
    /// Variables for the migration alone, after the server's; one of the same name takes its place.
    #[serde(default)]
    env: Option<Vec<Variable>>,
    /// Requests and limits of the migration. By default the server's.
    #[serde(default)]
    resources: Option<Resources>,
    /// The security context of the migration's container. By default the server's.
    #[serde(default)]
    security_context: Option<SecurityContext>,
    /// Bounds in seconds.
    #[serde(default)]
    timeouts: Option<Timeouts>,
    /// Owners, written KIND.GROUP, that do not keep a workload from being mutated. Default `PrefectServer.prefect.io`.
    #[serde(default)]
    controllers: Option<Vec<Controller>>,
}

/// Where findings are reported besides the answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reporting {
    /// Whether `/mutate` leaves what it cannot correct on the workload, as its annotation `prefect-guard.io/findings`.
    /// Default true.
    #[serde(default)]
    annotation: Option<bool>,
}

/// `deny`, `warn` or `off` (YAML reads a bare `off` as false; that is understood too).
#[derive(Debug, Clone, Copy)]
struct LevelWord(Level);

impl<'de> Deserialize<'de> for LevelWord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.as_str() {
            "deny" => Ok(LevelWord(Level::Deny)),
            "warn" => Ok(LevelWord(Level::Warn)),
            "off" | "false" => Ok(LevelWord(Level::Off)),
            _ => Err(serde::de::Error::custom("a rule is set to `deny`, `warn` or `off`")),
        }
    }
}

impl JsonSchema for LevelWord {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Level".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"enum": ["deny", "warn", "off", false]})
    }
}

/// Levels by rule, in the order written.
#[derive(Debug, Default)]
struct Rules(Vec<(Spanned<RuleName>, Spanned<LevelWord>)>);

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Rules;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of rules to levels")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Rules, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Rules(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl JsonSchema for Rules {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rules".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BTreeMap::<RuleName, LevelWord>::json_schema(generator)
    }
}

impl Rules {
    /// A rule has a name and an id: given by both, one of the two levels would be lost in silence.
    fn resolve(&self, catalogue: Catalogue) -> Result<Vec<(&'static Rule, Set)>, PolicyError> {
        let mut found: Vec<(&'static Rule, Set)> = Vec::new();
        for (name, word) in &self.0 {
            let rule = resolve(name, catalogue)?;
            let line = word.referenced.line();
            if let Some((_, earlier)) = found.iter().find(|(named, _)| *named == rule) {
                let problem = format!(
                    "`{}` ({}) is set in line {} already; keep one",
                    rule.name, rule.id, earlier.line
                );
                return Err(PolicyError { line, column: word.referenced.column(), problem });
            }
            found.push((rule, Set { level: word.value.0, line }));
        }
        Ok(found)
    }
}

/// The name or id of a rule, as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct RuleName(String);

/// The rule of this name; the error says which is written most like it.
fn resolve(name: &Spanned<RuleName>, catalogue: Catalogue) -> Result<&'static Rule, PolicyError> {
    let RuleName(word) = &name.value;
    catalogue.find(word).ok_or_else(|| PolicyError {
        line: name.referenced.line(),
        column: name.referenced.column(),
        problem: format!(
            "there is no rule `{}`; the closest is `{}`",
            crate::text::one_line(word, 60),
            catalogue.nearest(word)
        ),
    })
}

/// A string; [`schema`] adds which ones there are.
impl JsonSchema for RuleName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RuleName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

impl Policy {
    /// Reads a policy file (YAML or JSON), whose rules are those of `catalogue`.
    ///
    /// # Errors
    /// What is wrong, in which line, and what may stand there.
    pub fn from_yaml(text: &str, catalogue: Catalogue) -> Result<Self, PolicyError> {
        read(text, catalogue)
    }
}

/// Reads a policy file and settles it into settings by namespace.
fn read(text: &str, catalogue: Catalogue) -> Result<Policy, PolicyError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| refuse(&error))?;
    let (ApiVersion::V1Alpha1, Kind::Policy) = (file.api_version, file.kind);
    let mut general = Settings::default();
    // The two have the same keys. `serde(flatten)` would join them, at the price of the lines of errors.
    let File { mode, rules, exemptions, migration, report, opaque_values, environment_programs, .. } = file;
    let written =
        Override { mode, rules, exemptions, migration, report, opaque_values, environment_programs };
    settle(&mut general, written, catalogue)?;
    let namespaces = file.namespaces.into_iter().map(|(name, own)| {
        let mut settings = general.clone();
        settle(&mut settings, own, catalogue)?;
        Ok((name, settings))
    });
    Ok(Policy { namespaces: namespaces.collect::<Result<_, _>>()?, general, kinds: kinds(file.kinds)? })
}

/// The further kinds, none of which may be ours already, nor be named twice: one of the two would never be looked at.
fn kinds(written: Vec<Spanned<KindSetting>>) -> Result<Vec<KindSetting>, PolicyError> {
    let mut kinds: Vec<KindSetting> = Vec::with_capacity(written.len());
    for Spanned { value, referenced, .. } in written {
        let own = match (&*value.group, &*value.kind) {
            ("apps", "Deployment" | "StatefulSet") | ("batch", "Job" | "CronJob") => {
                "is judged already; take it out"
            }
            ("", "Secret") => "has no pod template; a Secret is judged by its label",
            _ if kinds.iter().any(|known| (&known.group, &known.kind) == (&value.group, &value.kind)) => {
                "is named twice; keep one"
            }
            _ => {
                kinds.push(value);
                continue;
            }
        };
        let problem = format!("the kind `{}` {own}", crate::text::one_line(&value.kind, 60));
        return Err(PolicyError { line: referenced.line(), column: referenced.column(), problem });
    }
    Ok(kinds)
}

/// Lays what is written over what holds so far.
fn settle(settings: &mut Settings, written: Override, catalogue: Catalogue) -> Result<(), PolicyError> {
    let Override { mode, rules, exemptions, migration, report, opaque_values, environment_programs } =
        written;
    settings.mode = mode.unwrap_or(settings.mode);
    let rules = rules.resolve(catalogue)?;
    settings.levels.retain(|(rule, _)| rules.iter().all(|(named, _)| named != rule));
    settings.levels.extend(rules);
    settings.exemptions_allowed = exemptions.allowed.unwrap_or(settings.exemptions_allowed);
    settings.reason_required = exemptions.require_reason.unwrap_or(settings.reason_required);
    if let Some(forbidden) = &exemptions.forbidden {
        settings.forbidden =
            forbidden.iter().map(|name| resolve(name, catalogue)).collect::<Result<_, _>>()?;
    }
    settings.inject = migration.inject.unwrap_or(settings.inject);
    settings.serialize = migration.serialize.unwrap_or(settings.serialize);
    settings.on_newer_schema = migration.on_newer_schema.unwrap_or(settings.on_newer_schema);
    settings.adopted = migration.adopted.unwrap_or(settings.adopted);
    settle_migration(&mut settings.migration, migration);
    settings.report_annotation = report.annotation.unwrap_or(settings.report_annotation);
    settings.opaque_values.extend(opaque_values.into_iter().filter(|prefix| !prefix.is_empty()));
    settings.environment_programs.extend(environment_programs);
    Ok(())
}

fn settle_migration(settled: &mut super::Migration, written: Migration) {
    settled.mode = written.mode.unwrap_or(settled.mode);
    settled.jobs = written.jobs.unwrap_or(settled.jobs);
    if let Some(variables) = written.env {
        settled.set_env(&variables);
    }
    settled.resources = written.resources.or(settled.resources.take());
    settled.security_context = written.security_context.or(settled.security_context.take());
    settled.timeouts = written.timeouts.unwrap_or_default().over(settled.timeouts);
    if let Some(controllers) = written.controllers {
        settled.controllers = controllers;
    }
}

/// A parser's error as ours: the position apart from the text.
fn refuse(error: &serde_saphyr::Error) -> PolicyError {
    let location = error.location();
    let text = error.without_snippet().to_string();
    let problem = text.split(" at line ").next().unwrap_or(&text).trim_start_matches("error: ").to_owned();
    PolicyError {
        line: location.map_or(0, |at| at.line()),
        column: location.map_or(0, |at| at.column()),
        problem: crate::text::one_line(&problem, 400),
    }
}

/// The JSON Schema of the policy file, whose rules are those of `catalogue`.
pub fn schema(catalogue: Catalogue) -> serde_json::Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    let names: Vec<&str> = catalogue.rules().flat_map(|rule| [rule.name, rule.id]).collect();
    schema["$defs"]["RuleName"]["enum"] = names.into();
    name_rules(&mut schema, catalogue);
    schema
}

/// Puts the name and id of each rule into every map of rules to levels.
fn name_rules(schema: &mut serde_json::Value, catalogue: Catalogue) {
    let level = serde_json::json!({"$ref": "#/$defs/Level"});
    if schema["additionalProperties"] == level {
        let mut names: Vec<&str> = catalogue.rules().flat_map(|rule| [rule.name, rule.id]).collect();
        names.sort_unstable();
        schema["additionalProperties"] = false.into();
        schema["properties"] = names.into_iter().map(|name| (name.to_owned(), level.clone())).collect();
    }
    match schema {
        serde_json::Value::Object(map) => map.values_mut().for_each(|inner| name_rules(inner, catalogue)),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|inner| name_rules(inner, catalogue)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::CATALOGUE;

    const HEAD: &str = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n";

    fn error(tail: &str) -> String {
        Policy::from_yaml(&format!("{HEAD}{tail}"), CATALOGUE).expect_err("a policy to refuse").to_string()
    }

    #[test]
    fn settles_namespaces_over_the_general_part() {
        let text = format!(
            "{HEAD}mode: warn\nrules: {{floating-image: off, PSG103: warn}}\nmigration: {{serialize: never}}\n\
             namespaces:\n  prod: {{mode: enforce, rules: {{floating-image: deny}}}}\n"
        );
        let policy = Policy::from_yaml(&text, CATALOGUE).expect("a good policy");
        let sync = CATALOGUE.find("PSG103").expect("PSG103");
        assert_eq!(policy.settings("x").mode, Mode::Warn);
        assert_eq!(policy.settings("prod").mode, Mode::Enforce);
        assert_eq!(policy.settings("prod").level(sync), Level::Warn);
        assert_eq!(policy.settings("prod").serialize, Serialize::Never);
        assert_eq!(policy.settings("x").set(sync).map(|set| set.line), Some(4));
    }

    #[test]
    fn refuses_what_it_does_not_know_with_the_line() {
        assert!(error("mod: warn\n").starts_with("policy line 3"), "{}", error("mod: warn\n"));
        assert!(error("rules: {sync-drivr: warn}\n").contains("the closest is `sync-driver`"));
        assert!(error("rules: {sync-driver: maybe}\n").contains("`deny`, `warn` or `off`"));
        assert!(error("kinds: [{group: a, kind: B, template: spec}]\n").contains("JSON pointer"));
        assert!(Policy::from_yaml("kind: Policy\n", CATALOGUE).is_err());
        assert!(Policy::from_yaml("", CATALOGUE).is_err());
        assert!(Policy::from_yaml("apiVersion: v1\nkind: ConfigMap\n", CATALOGUE).is_err());
    }

    #[test]
    fn refuses_what_would_be_lost_in_silence() {
        let twice = "rules:\n  missing-database-url: deny\n  PSG101: \"off\"\n";
        let text = error(twice);
        assert!(text.starts_with("policy line 5") && text.contains("is set in line 4 already"), "{text}");
        let text = error(&format!("namespaces:\n  prod:\n    {}", twice.replace('\n', "\n    ").trim_end()));
        assert!(text.contains("(PSG101) is set in line 6 already"), "{text}");
        for kind in ["{group: apps, kind: Deployment}", "{group: batch, kind: Job}"] {
            let text = error(&format!("kinds:\n  - {kind}\n"));
            assert!(text.starts_with("policy line 4") && text.contains("is judged already"), "{text}");
        }
        assert!(error("kinds: [{group: '', kind: Secret}]\n").contains("has no pod template"));
        assert!(error("kinds: [{group: a, kind: B}, {group: a, kind: B}]\n").contains("named twice"));
        let indexed = "kinds: [{group: a, kind: B, template: /spec/sets/0/template}]\n";
        assert!(error(indexed).contains("not through an item of a list"), "{}", error(indexed));
    }

    #[test]
    fn has_a_schema_that_names_every_rule() {
        let schema = schema(CATALOGUE).to_string();
        assert!(CATALOGUE.rules().all(|rule| schema.contains(rule.name)));
        assert!(schema.contains("\"additionalProperties\":false"));
    }
}
