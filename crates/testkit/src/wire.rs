//! A wire between a client and a server, as bad as a test wants it: it breaks, is slow, or swallows what goes over it.
//!
//! It carries bytes and knows no protocol, TLS least of all. What is held up by it is not lost: as with TCP, it arrives
//! when the wire is good again, unless the connection was given up meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Good.
    Pass,
    /// Whatever goes over it arrives so much later.
    Slow(Duration),
    /// Nothing arrives at either end, and nobody is told.
    Hole,
    /// The server hears everything, and nobody hears the server.
    Mute,
    /// New connections end at once, as where nobody listens.
    Refuse,
}

/// All connections over the wire share its state.
#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// Connections with a smaller number are forgotten: nothing comes over them any more.
    remembered: u64,
    /// Connections with a smaller number are cut.
    alive: u64,
}

/// A wire; it is cut when dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
    made: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Wire {
    /// A good wire to a server, which need not be there yet.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn open(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(State {
            mode: Mode::Pass,
            remembered: 0,
            alive: 0,
        });
        let made = Arc::<AtomicU64>::default();
        let numbers = Arc::clone(&made);
        let task = tokio::spawn(async move {
            // Connections end with the wire.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = numbers.fetch_add(1, Ordering::SeqCst);
                if states.borrow().mode != Mode::Refuse {
                    connections.spawn(connection(client, server, states.clone(), number));
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            state,
            made,
            task,
        })
    }

    /// Where clients are to be sent.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it is like this.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// Breaks the connections that there are.
    pub fn cut(&self) {
        let made = self.connections();
        self.state.send_modify(|state| state.alive = made);
    }

    /// Nothing comes over the connections that there are, ever, and nobody is told: as when what is between forgot them.
    /// New ones are good.
    pub fn forget(&self) {
        let made = self.connections();
        self.state.send_modify(|state| state.remembered = made);
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(client: TcpStream, server: SocketAddr, states: watch::Receiver<State>, number: u64) {
    let mut ends = states.clone();
    let carried = async {
        let server = TcpStream::connect(server).await?;
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            carry(
                from_client,
                to_server,
                states.clone(),
                number,
                Direction::ToServer
            ),
            carry(from_server, to_client, states, number, Direction::ToClient),
        )
    };
    tokio::select! {
        // A connection that breaks is what the client under test has to live with.
        _ = carried => {}
        _ = ends.wait_for(|state| state.alive > number) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut states: watch::Receiver<State>,
    number: u64,
    direction: Direction,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        let passes =
            |state: &State| state.alive.max(state.remembered) <= number && state.mode.passes(direction);
        let mode = match states.wait_for(passes).await {
            Ok(state) => state.mode,
            // The wire is gone.
            Err(_) => return Ok(()),
        };
        if let Mode::Slow(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

impl Mode {
    fn passes(self, direction: Direction) -> bool {
        match self {
            Self::Pass | Self::Slow(_) | Self::Refuse => true,
            Self::Hole => false,
            Self::Mute => direction == Direction::ToServer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with the next one and tells which it heard.
    async fn server() -> (SocketAddr, watch::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, hearing) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        heard.send_modify(|all| all.push(byte));
                        stream.write_u8(byte + 1).await.unwrap();
                    }
                });
            }
        });
        (address, hearing)
    }

    async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        stream.write_u8(byte).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn what_is_held_up_arrives_when_the_wire_is_good_again() {
        let (server, mut heard) = server().await;
        let wire = Wire::open(server).await.unwrap();
        let mut client = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
        wire.set(Mode::Mute);
        client.write_u8(3).await.unwrap();
        heard.wait_for(|heard| *heard == [1, 3]).await.unwrap();
        wire.set(Mode::Hole);
        client.write_u8(5).await.unwrap();
        wire.set(Mode::Slow(Duration::from_millis(1)));
        assert_eq!(
            (client.read_u8().await.unwrap(), client.read_u8().await.unwrap()),
            (4, 6)
        );
    }

    #[tokio::test]
    async fn a_cut_connection_ends_and_a_forgotten_one_does_not() {
        let (server, heard) = server().await;
        let wire = Wire::open(server).await.unwrap();
        let connect = || TcpStream::connect(wire.address());
        let mut first = connect().await.unwrap();
        assert_eq!(ask(&mut first, 1).await.unwrap(), 2);
        wire.forget();
        first.write_u8(9).await.unwrap();
        let mut second = connect().await.unwrap();
        assert_eq!(ask(&mut second, 3).await.unwrap(), 4);
        assert_eq!(*heard.borrow(), [1, 3], "nothing came over the first one");
        wire.cut();
        assert!(ask(&mut second, 5).await.is_err());
        assert!(first.read_u8().await.is_err());
        wire.set(Mode::Refuse);
        let mut third = connect().await.unwrap();
        assert!(ask(&mut third, 7).await.is_err());
        assert_eq!(wire.connections(), 3);
    }
}
