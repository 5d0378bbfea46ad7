//! The environment of a container as the process will see it.

use std::marker::PhantomData;

/// The environment.
#[derive(Debug, Default)]
pub struct Environment<'a>(PhantomData<&'a ()>);
