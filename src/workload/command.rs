//! What a container runs.

use std::marker::PhantomData;

/// What a container runs.
#[derive(Debug, Default)]
pub struct Invocation<'a>(PhantomData<&'a ()>);
