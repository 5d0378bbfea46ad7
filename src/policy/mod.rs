//! The operator's settings: the policy file, what it says for each namespace, and the annotations beside it.

pub mod annotation_schema;
pub mod annotations;
mod file;
mod migration;
mod settings;

pub use crate::kubernetes::kind::KindSetting;
pub use file::{PolicyError, schema};
pub use migration::{
    Controller, Jobs, Migration, MigrationMode, Resources, SecurityContext, Timeouts, Variable,
};
pub use settings::{Adopted, Mode, OnNewerSchema, Policy, Serialize, Set, Settings};
