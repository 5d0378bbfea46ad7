//! An output whose reader may go away: `prefect-guard check . | head` ends with the verdict all the same.

use std::io::{self, ErrorKind, Write};

/// Takes what nobody reads any more, so that the command comes to its end and its exit code.
pub(super) struct Patient<'o> {
    out: &'o mut dyn Write,
    gone: bool,
}

impl<'o> Patient<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Patient { out, gone: false }
    }

    fn unless_gone<T>(
        &mut self,
        nothing: T,
        act: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.gone {
            return Ok(nothing);
        }
        match act(self.out) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(nothing)
            }
            done => done,
        }
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), |out| out.flush())
    }
}
