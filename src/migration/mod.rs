//! From fixes to a JSON Patch (RFC 6902) that touches only the migration container.
//!
//! Operations are written by hand: a diff of two objects costs ten times as much, and of typed objects it would
//! delete every field the types do not know.

pub mod blocker;
pub mod call;
pub mod container;
pub mod plan;
mod preparation;
pub mod scripted;
mod staleness;

use std::fmt;

use crate::kubernetes::Workload;
use crate::rule::Fix;
pub use scripted::Scripted;

/// One operation of a JSON Patch; `value` is JSON text.
#[derive(Clone, PartialEq, Eq)]
pub struct Operation {
    /// `add`, `replace` or `remove`.
    pub op: &'static str,
    /// JSON pointer.
    pub path: String,
    /// The value as JSON text; `None` for `remove`.
    pub value: Option<Scripted>,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.path)
    }
}

impl Operation {
    fn new(op: &'static str, path: String, value: Option<Scripted>) -> Self {
        Operation { op, path, value }
    }
}

/// The operations that carry out `fixes`, in an order in which their indexes stay true: images first, then our
/// own container.
///
/// The containers to be put there move from the fixes into the operations: they are most of a patch.
pub fn operations(workload: &Workload<'_>, fixes: Vec<&mut Fix>) -> Vec<Operation> {
    let list = format!("{}/spec/initContainers", workload.template_pointer);
    let mut operations = Vec::new();
    for fix in &fixes {
        if let Fix::Pin { index, image } = fix {
            let absent = workload.template.spec.init_containers()[*index].image.is_empty();
            let op = if absent { "add" } else { "replace" };
            operations.push(Operation::new(op, format!("{list}/{index}/image"), Some(quoted(image))));
        }
    }
    for fix in fixes {
        match fix {
            Fix::Place { remove, at, container } => {
                let container = Scripted::from(&*std::mem::take(container));
                place(&mut operations, workload, &list, (*remove, *at), container);
            }
            Fix::Remove { index } => {
                operations.push(Operation::new("remove", format!("{list}/{index}"), None));
            }
            Fix::Pin { .. } => {}
        }
    }
    operations
}

fn place(
    operations: &mut Vec<Operation>,
    workload: &Workload<'_>,
    list: &str,
    (remove, at): (Option<usize>, usize),
    container: Scripted,
) {
    let Some(present) = &workload.template.spec.init_containers else {
        return operations.push(Operation::new("add", list.to_owned(), Some(container.into_list())));
    };
    let mut length = present.len();
    if let Some(index) = remove {
        if index == at {
            let path = format!("{list}/{index}");
            return operations.push(Operation::new("replace", path, Some(container)));
        }
        operations.push(Operation::new("remove", format!("{list}/{index}"), None));
        length -= 1;
    }
    let path = if at >= length { format!("{list}/-") } else { format!("{list}/{at}") };
    operations.push(Operation::new("add", path, Some(container)));
}

/// The patch as JSON text.
pub fn to_json(operations: &[Operation]) -> Scripted {
    let size = |operation: &Operation| {
        operation.path.len() + operation.value.as_ref().map_or(0, Scripted::written) + 48
    };
    let mut json = Scripted::with_capacity(operations.iter().map(size).sum());
    json.push("[");
    for (index, operation) in operations.iter().enumerate() {
        json.push(if index == 0 { "{\"op\":\"" } else { ",{\"op\":\"" });
        json.push(operation.op);
        json.push("\",\"path\":");
        json.push_quoted(&operation.path);
        if let Some(value) = &operation.value {
            json.push(",\"value\":");
            json.push_scripted(value);
        }
        json.push("}");
    }
    json.push("]");
    json
}

/// Applies operations to an object, through the json-patch crate.
///
/// # Errors
/// When an operation does not fit the object, or its value is no JSON.
pub fn apply(object: &mut serde_json::Value, operations: &[Operation]) -> Result<(), ApplyError> {
    let patch: json_patch::Patch = serde_json::from_str(&to_json(operations).to_string())?;
    Ok(json_patch::patch(object, &patch)?)
}

/// Why a patch could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Our patch is no JSON Patch.
    #[error("the patch is no JSON Patch")]
    Malformed(#[from] serde_json::Error),
    /// The patch does not fit the object.
    #[error("the patch does not fit the object")]
    Mismatch(#[from] json_patch::PatchError),
}

fn quoted(text: &str) -> Scripted {
    let mut out = Scripted::default();
    out.push_quoted(text);
    out
}
