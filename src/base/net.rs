//! Sockets. A module alias: tokio's, or in the `simulation` build turmoil's.

use std::io;
use std::net::SocketAddr;

use super::disk::FileSlice;

#[cfg(feature = "simulation")]
pub use turmoil::net::{TcpListener, TcpStream};

#[cfg(not(feature = "simulation"))]
pub use tokio::net::{TcpListener, TcpStream};

/// The half of a connection that is read.
#[cfg(not(feature = "simulation"))]
pub type ReadHalf = tokio::net::tcp::OwnedReadHalf;
/// The half of a connection that is read.
#[cfg(feature = "simulation")]
pub type ReadHalf = turmoil::net::tcp::OwnedReadHalf;

/// The half of a connection that is written.
#[cfg(not(feature = "simulation"))]
pub struct WriteHalf(std::sync::Arc<tokio::net::tcp::OwnedWriteHalf>);
/// The half of a connection that is written.
#[cfg(feature = "simulation")]
pub struct WriteHalf(turmoil::net::tcp::OwnedWriteHalf);

/// Ends a connection from outside the task that serves it. Holds nothing open.
#[cfg(not(feature = "simulation"))]
pub struct Severance(Severed);

/// What is closed: a connection that its worker has not taken yet, or one that is served.
#[cfg(not(feature = "simulation"))]
enum Severed {
    Passed(std::sync::Weak<UntilTaken>),
    Served(std::sync::Weak<tokio::net::tcp::OwnedWriteHalf>),
}

/// A connection until it is taken, to be served or to be closed.
#[cfg(not(feature = "simulation"))]
type UntilTaken = std::sync::Mutex<Option<std::net::TcpStream>>;

#[cfg(not(feature = "simulation"))]
fn take(passed: &UntilTaken) -> Option<std::net::TcpStream> {
    let mut passed = passed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    passed.take()
}

/// Ends a connection from outside the task that serves it.
#[cfg(feature = "simulation")]
pub struct Severance;

/// Both halves of a connection.
pub fn split(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    #[cfg(not(feature = "simulation"))]
    let write = std::sync::Arc::new(write);
    (read, WriteHalf(write))
}

#[cfg(not(feature = "simulation"))]
impl WriteHalf {
    /// Writes all of `bytes`. With `more`, what follows them is written next: the kernel may wait for it, and does not
    /// send the few bytes before a file as a packet of their own, which the other side would wake for.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn write_all(&mut self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        use rustix::net::SendFlags;
        let stream: &TcpStream = (*self.0).as_ref();
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        while !bytes.is_empty() {
            let written = stream.try_io(tokio::io::Interest::WRITABLE, || {
                rustix::net::send(stream, bytes, flags).map_err(io::Error::from)
            });
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// For who may have to end the connection while its task cannot.
    pub fn severance(&self) -> Severance {
        Severance(Severed::Served(std::sync::Arc::downgrade(&self.0)))
    }
}

#[cfg(feature = "simulation")]
impl WriteHalf {
    /// Writes all of `bytes`, at once whether `more` follows or not.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn write_all(&mut self, bytes: &[u8], _more: bool) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(&mut self.0, bytes).await
    }

    /// For who may have to end the connection while its task cannot.
    pub fn severance(&self) -> Severance {
        Severance
    }
}

impl Severance {
    /// Of no connection.
    #[cfg(all(test, not(feature = "simulation")))]
    pub fn of_nothing() -> Self {
        Self(Severed::Served(std::sync::Weak::new()))
    }

    /// Closes the connection in both directions, if it is still open; its task finds that out when it runs again.
    #[cfg(not(feature = "simulation"))]
    pub fn sever(&self) {
        match &self.0 {
            Severed::Passed(passed) => drop(passed.upgrade().and_then(|passed| take(&passed))),
            Severed::Served(half) => {
                let Some(half) = half.upgrade() else { return };
                let stream: &TcpStream = (*half).as_ref();
                // It fails when the other side has gone already.
                let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Simulated tasks never hang.
    #[cfg(feature = "simulation")]
    pub fn sever(&self) {}
}

/// The first address of `host`, a name or an address; of a name's the first of IPv4, if there is one, as a JVM does.
///
/// # Errors
/// When the name is not known.
#[cfg(not(feature = "simulation"))]
pub async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let found = tokio::net::lookup_host((host, port)).await?;
    preferred(found).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(not(feature = "simulation"))]
fn preferred(mut found: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let first = found.next()?;
    if first.is_ipv4() {
        return Some(first);
    }
    Some(found.find(SocketAddr::is_ipv4).unwrap_or(first))
}

/// True for the error of a call that says that the machine has no IPv6.
pub fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

/// The address of a simulated host.
///
/// # Errors
/// When `host` is no address.
#[cfg(feature = "simulation")]
pub async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let address: std::net::IpAddr = host
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(SocketAddr::new(address, port))
}

/// What is set on a listening socket and on those that it accepts; all but the backlog also on one that connects.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Connections that may wait to be accepted (`socket.listen.backlog.size`).
    pub backlog: i32,
    /// SO_SNDBUF in bytes; −1 leaves it to the system (`socket.send.buffer.bytes`).
    pub send_buffer_bytes: i32,
    /// SO_RCVBUF in bytes; −1 leaves it to the system (`socket.receive.buffer.bytes`).
    pub receive_buffer_bytes: i32,
}

/// Listens on `address`.
///
/// # Errors
/// As the system's: an address in use, or one that is not this machine's.
#[cfg(not(feature = "simulation"))]
pub async fn listen(address: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // As the JVM's sockets: the unspecified IPv6 address also takes IPv4.
        socket.set_only_v6(false)?;
    }
    if let Ok(bytes @ 1..) = usize::try_from(options.receive_buffer_bytes) {
        // Must be known before the handshake, which tells the window scale.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    TcpListener::from_std(socket.into())
}

/// Listens on `address`.
///
/// # Errors
/// As the simulation's.
#[cfg(feature = "simulation")]
pub async fn listen(address: SocketAddr, _options: SocketOptions) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Connects to `host`, a name or an address; a name's addresses are tried in turn.
///
/// # Errors
/// When the name is not known, or nobody answers at any of its addresses: the last one's error.
#[cfg(not(feature = "simulation"))]
pub async fn connect(host: &str, port: u16, options: SocketOptions) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in tokio::net::lookup_host((host, port)).await? {
        match connect_to(address, options).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(not(feature = "simulation"))]
async fn connect_to(address: SocketAddr, options: SocketOptions) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    // Both before the handshake, which tells the window scale.
    if let Ok(bytes @ 1..) = u32::try_from(options.send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Ok(bytes @ 1..) = u32::try_from(options.receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(address).await
}

/// Connects to a simulated host's address.
///
/// # Errors
/// When `host` is no address, or nobody answers there.
#[cfg(feature = "simulation")]
pub async fn connect(host: &str, port: u16, _options: SocketOptions) -> io::Result<TcpStream> {
    TcpStream::connect(resolve(host, port).await?).await
}

/// Of the descriptors that the process may have, how many there are for what is not kept back.
#[derive(Clone, Copy, Debug)]
pub struct DescriptorBound(u64);

impl DescriptorBound {
    /// The descriptors with the number `bound` and above are kept back.
    pub fn below(bound: u64) -> Self {
        Self(bound)
    }

    /// True when the descriptor of `stream` is not one of those that are kept back, or one that is not is free by now. The
    /// system gives the lowest number that is free: all below it were taken.
    #[cfg(not(feature = "simulation"))]
    pub fn has_room(self, stream: &TcpStream) -> bool {
        use std::os::fd::AsRawFd as _;
        let is_below = |number: i32| u64::try_from(number).is_ok_and(|number| number < self.0);
        is_below(stream.as_raw_fd())
            || rustix::io::fcntl_dupfd_cloexec(stream, 0).is_ok_and(|next| is_below(next.as_raw_fd()))
    }

    /// The simulation has no descriptors: all of them are kept back, or none.
    #[cfg(feature = "simulation")]
    pub fn has_room(self, _stream: &TcpStream) -> bool {
        self.0 > 0
    }
}

/// A connection on its way from the thread that accepted it to the worker that will serve it.
#[cfg(not(feature = "simulation"))]
pub struct Passed(std::sync::Arc<UntilTaken>);

/// A connection on its way to its worker.
#[cfg(feature = "simulation")]
pub struct Passed(TcpStream);

#[cfg(not(feature = "simulation"))]
impl Passed {
    /// Takes a connection from its runtime, with the options of a served one set.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn new(stream: TcpStream, options: SocketOptions) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let socket = socket2::SockRef::from(&stream);
        socket.set_keepalive(true)?;
        if let Ok(bytes @ 1..) = usize::try_from(options.send_buffer_bytes) {
            socket.set_send_buffer_size(bytes)?;
        }
        let stream = stream.into_std()?;
        Ok(Self(std::sync::Arc::new(std::sync::Mutex::new(Some(stream)))))
    }

    /// For who may have to end the connection before its worker takes it.
    pub fn severance(&self) -> Severance {
        Severance(Severed::Passed(std::sync::Arc::downgrade(&self.0)))
    }

    /// Gives the connection to the current runtime.
    ///
    /// # Errors
    /// When the socket is gone, or was severed.
    pub fn adopt(self) -> io::Result<TcpStream> {
        match take(&self.0) {
            Some(stream) => TcpStream::from_std(stream),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(feature = "simulation")]
impl Passed {
    /// Takes a connection.
    ///
    /// # Errors
    /// None.
    pub fn new(stream: TcpStream, _options: SocketOptions) -> io::Result<Self> {
        Ok(Self(stream))
    }

    /// For who may have to end the connection before its worker takes it.
    pub fn severance(&self) -> Severance {
        Severance
    }

    /// Gives the connection to the current task.
    ///
    /// # Errors
    /// None.
    pub fn adopt(self) -> io::Result<TcpStream> {
        Ok(self.0)
    }
}

/// Sends a slice of a file without reading it into the process, and tells how many bytes the kernel took; fewer than
/// asked when the file became shorter.
///
/// # Errors
/// When the connection is gone, or the file cannot be read.
#[cfg(not(feature = "simulation"))]
pub async fn send_file(half: &mut WriteHalf, slice: &FileSlice) -> io::Result<usize> {
    let stream: &TcpStream = (*half.0).as_ref();
    let Some(file) = slice.file.descriptor() else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut position = slice.position;
    let mut left = slice.length;
    while left > 0 {
        stream.writable().await?;
        let sent = stream.try_io(tokio::io::Interest::WRITABLE, || {
            rustix::fs::sendfile(stream, file, Some(&mut position), left).map_err(io::Error::from)
        });
        match sent {
            Ok(0) => break,
            Ok(sent) => left = left.saturating_sub(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(slice.length - left)
}

/// Sends a slice of a file: the simulation reads it.
///
/// # Errors
/// When the connection is gone, or the file cannot be read.
#[cfg(feature = "simulation")]
pub async fn send_file(half: &mut WriteHalf, slice: &FileSlice) -> io::Result<usize> {
    let bytes = slice.read()?;
    half.write_all(&bytes, false).await?;
    Ok(bytes.len())
}

/// Returns when the other side has closed its direction, or the connection is broken; received bytes are left where
/// they are, and may still be unread. For who does not read at the moment and wants to know whether it is worth waiting.
#[cfg(not(feature = "simulation"))]
pub async fn gone(half: &ReadHalf) {
    // Urgent data, which is what this asks for, is never reported: the socket is not registered for it. The end is.
    let _ = half.ready(tokio::io::Interest::PRIORITY).await;
}

/// Simulated sockets do not tell.
#[cfg(feature = "simulation")]
pub async fn gone(_half: &ReadHalf) {
    std::future::pending().await
}

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_for_its_first_address_of_ipv4() {
        let found = |texts: &[&str]| {
            let addresses = texts.iter().map(|text| text.parse().unwrap());
            preferred(addresses).map(|address| address.to_string())
        };
        let one = |text: &str| Some(text.to_owned());
        assert_eq!(
            found(&["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"]),
            one("127.0.0.1:1")
        );
        assert_eq!(
            found(&["127.0.0.2:1", "[::1]:1", "127.0.0.1:1"]),
            one("127.0.0.2:1")
        );
        assert_eq!(found(&["[::1]:1", "[::2]:1"]), one("[::1]:1"));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn only_some_errors_say_that_there_is_no_ipv6() {
        use rustix::io::Errno;
        assert!(lacks_ipv6(&Errno::AFNOSUPPORT.into()));
        assert!(lacks_ipv6(&Errno::ADDRNOTAVAIL.into()));
        assert!(!lacks_ipv6(&Errno::ADDRINUSE.into()));
    }
}
