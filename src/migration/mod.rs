//! The migration container: its plan, command line and staleness; and from fixes to a JSON Patch (RFC 6902).
//!
//! Operations are written by hand: a diff of two objects costs ten times as much, and of typed objects it would
//! delete every field the types do not know.

pub mod blocker;
pub mod call;
pub mod container;
pub mod job;
pub mod plan;
mod preparation;
pub mod script;
mod scripted;
mod staleness;

use std::fmt;
use std::sync::Arc;

use json_patch::jsonptr::{Pointer, PointerBuf};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::kubernetes::Workload;
use crate::rule::Fix;

/// One operation of a JSON Patch.
///
/// json_patch's own hold their values parsed, which rewrites the numbers in them and refuses some that stand in
/// manifests (`1e400`): here a value is the text that was copied from the review.
#[derive(Clone, Serialize)]
pub struct Operation {
    /// What is done.
    pub op: Op,
    /// Where.
    pub path: PointerBuf,
    /// The value; `None` for [`Op::Remove`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// What an operation puts in. A container is most of a patch: it is not copied on its way there.
#[derive(Clone)]
pub enum Value {
    /// This.
    One(Arc<RawValue>),
    /// A list that holds this alone.
    ListOf(Arc<RawValue>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::One(value) => value.as_ref().serialize(serializer),
            Value::ListOf(value) => [value.as_ref()].serialize(serializer),
        }
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Puts a value in.
    Add,
    /// Takes a value away.
    Remove,
    /// Puts a value in the place of another.
    Replace,
}

/// Without the value: it repeats the author's env.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.op, self.path)
    }
}

impl Operation {
    /// Puts `value` there.
    pub(crate) fn add(path: PointerBuf, value: Arc<RawValue>) -> Self {
        Operation { op: Op::Add, path, value: Some(Value::One(value)) }
    }

    fn replace(path: PointerBuf, value: Arc<RawValue>) -> Self {
        Operation { op: Op::Replace, path, value: Some(Value::One(value)) }
    }

    /// Takes away what is there.
    pub(crate) fn remove(path: PointerBuf) -> Self {
        Operation { op: Op::Remove, path, value: None }
    }
}

/// The operations that carry out `fixes`, in an order in which their indexes stay true: images first, then our
/// own container.
pub fn operations(workload: &Workload<'_>, fixes: &[&Fix]) -> Vec<Operation> {
    let list = workload.template_pointer.concat(Pointer::from_static("/spec/initContainers"));
    let mut operations = Vec::new();
    for fix in fixes {
        if let Fix::Pin { index, image } = fix {
            let path = list.with_trailing_token(*index).with_trailing_token("image");
            let absent = workload.template.spec.init_containers()[*index].image.is_empty();
            let set = if absent { Operation::add } else { Operation::replace };
            operations.push(set(path, json(image)));
        }
    }
    for fix in fixes {
        match fix {
            Fix::Place { remove, at, container } => {
                place(&mut operations, workload, &list, (*remove, *at), container.clone());
            }
            Fix::Remove { index } => operations.push(Operation::remove(list.with_trailing_token(*index))),
            Fix::Lock { index, command, args, message_policy } => {
                lock(&mut operations, workload, *index, [command, args], *message_policy);
            }
            Fix::Pin { .. } => {}
        }
    }
    operations
}

/// Puts a command line in the place of an ordinary container's, and says where the kubelet takes its last words from.
fn lock(
    operations: &mut Vec<Operation>,
    workload: &Workload<'_>,
    index: usize,
    line: [&Vec<String>; 2],
    message_policy: Option<&str>,
) {
    let list = workload.template_pointer.concat(Pointer::from_static("/spec/containers"));
    let at = list.with_trailing_token(index);
    let container = &workload.template.spec.containers[index];
    let fields = [("command", &container.command), ("args", &container.args)];
    for ((field, present), wanted) in fields.into_iter().zip(line) {
        let path = at.with_trailing_token(field);
        if present.iter().map(|word| &**word).ne(wanted.iter().map(String::as_str)) {
            operations.push(match (present.is_empty(), wanted.is_empty()) {
                (true, _) => Operation::add(path, json(wanted)),
                (_, true) => Operation::remove(path),
                (false, false) => Operation::replace(path, json(wanted)),
            });
        }
    }
    let is_absent = container.termination_message_policy.is_none();
    let set = if is_absent { Operation::add } else { Operation::replace };
    let path = at.with_trailing_token("terminationMessagePolicy");
    operations.extend(message_policy.map(|policy| set(path, json(&policy))));
}

fn place(
    operations: &mut Vec<Operation>,
    workload: &Workload<'_>,
    list: &Pointer,
    (remove, at): (Option<usize>, usize),
    container: Arc<RawValue>,
) {
    let Some(present) = &workload.template.spec.init_containers else {
        let value = Some(Value::ListOf(container));
        return operations.push(Operation { op: Op::Add, path: list.to_buf(), value });
    };
    let mut length = present.len();
    if let Some(index) = remove {
        if index == at {
            return operations.push(Operation::replace(list.with_trailing_token(index), container));
        }
        operations.push(Operation::remove(list.with_trailing_token(index)));
        length -= 1;
    }
    let path = if at >= length { list.with_trailing_token("-") } else { list.with_trailing_token(at) };
    operations.push(Operation::add(path, container));
}

/// A value as the text that an operation holds.
pub(crate) fn json(value: &impl Serialize) -> Arc<RawValue> {
    serde_json::value::to_raw_value(value).expect("strings and JSON always serialise").into()
}

/// The patch as JSON text.
pub fn to_json<'o>(operations: impl IntoIterator<Item = &'o Operation>) -> Vec<u8> {
    let operations: Vec<&Operation> = operations.into_iter().collect();
    let values = operations.iter().filter_map(|operation| operation.value.as_ref());
    // The values are most of it.
    let length = values.map(|(Value::One(value) | Value::ListOf(value))| value.get().len() + 128).sum();
    let mut text = Vec::with_capacity(length);
    serde_json::to_writer(&mut text, &operations).expect("strings and JSON always serialise");
    text
}

/// Applies operations to an object, through the json-patch crate.
///
/// # Errors
/// When an operation does not fit the object, or its value is no JSON.
pub fn apply(object: &mut serde_json::Value, operations: &[Operation]) -> Result<(), ApplyError> {
    let patch: json_patch::Patch = serde_json::from_slice(&to_json(operations))?;
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
