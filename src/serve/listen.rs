//! Taking a port.

use std::net::{Ipv4Addr, SocketAddr};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

/// Why a port could not be taken.
#[derive(Debug, Error)]
#[error("cannot listen on `{address}` (`{flag}`)")]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// The flag that asks for it.
    pub flag: &'static str,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// Takes a port. `[::]` means both families; where the machine has no IPv6 it means IPv4.
/// To be called within a runtime, which the listener belongs to.
pub fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    match bind(address) {
        Ok(listener) => Ok(listener),
        // EAFNOSUPPORT and EADDRNOTAVAIL: no IPv6 in the kernel, or it is switched off.
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && matches!(error.raw_os_error(), Some(97 | 99)) =>
        {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind(address).map_err(|source| BindError { address, flag, source })
        }
        Err(source) => Err(BindError { address, flag, source }),
    }
}

/// Connections that wait to be accepted. The library's 128 overflow in a burst, and then a client waits a whole second
/// before it tries again: as long as some webhooks' timeout.
pub(super) const BACKLOG: u32 = 4096;

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
