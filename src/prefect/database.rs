//! The database that Prefect would use.

use std::marker::PhantomData;

/// What Prefect would connect to.
#[derive(Debug, Default)]
pub struct Database<'a>(PhantomData<&'a ()>);
