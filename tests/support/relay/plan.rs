//! What a relay does to the bytes that pass, and what it notes down.

use std::net::TcpStream;

/// A block on its way to the client.
pub(crate) struct Block {
    /// Counts all blocks of the relay.
    pub(crate) number: u64,
    /// Counts streams in the order in which they connected.
    pub(crate) stream: usize,
    /// Header and payload.
    pub(crate) bytes: Vec<u8>,
}

impl Block {
    /// Its offset in the file.
    pub(crate) fn offset(&self) -> u64 {
        u64::from_be_bytes(self.bytes[8..16].try_into().unwrap())
    }
}

/// What happens to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The relay passes it on.
    Pass,
    /// The relay passes on so many bytes of it, and then resets the stream.
    Cut(usize),
    /// Nothing more comes on this stream.
    Stall,
}

/// A message on its way to the server: number 0 is the stream's hello.
pub(crate) struct Message<'a> {
    /// Counts the messages of the stream.
    pub(crate) number: usize,
    /// Counts streams in the order in which they connected.
    pub(crate) stream: usize,
    /// The message.
    pub(crate) bytes: &'a mut [u8],
}

type OnBlock = dyn Fn(&mut Block) -> Step + Send + Sync;
type OnMessage = dyn Fn(Message<'_>) + Send + Sync;
type Rate = dyn Fn(usize) -> Option<u64> + Send + Sync;
type OnReply = dyn Fn(&str, String) -> Option<String> + Send + Sync;

/// What happens to the data ports.
pub(crate) enum DataPorts {
    /// The relay listens for each, in place of its sender.
    Carried,
    /// They are open at the server only, so a client that dials them at the relay is refused.
    Refused,
    /// A client that dials them gets no answer.
    Silent,
    /// Another program listens there, and does this.
    Foreign(fn(TcpStream)),
}

/// What the relay does to the bytes that pass.
pub(crate) struct Faults {
    /// Sees each block.
    pub(crate) block: Box<OnBlock>,
    /// Sees each hello and request.
    pub(crate) message: Box<OnMessage>,
    /// Bytes a second towards the client, for this stream.
    pub(crate) rate: Box<Rate>,
    /// Writes have 1 byte, 2 bytes and so on up to this many, and then 1 again.
    pub(crate) split: Option<usize>,
    /// Several messages become one write.
    pub(crate) merge: bool,
    /// Where streams can go besides the control port.
    pub(crate) data: DataPorts,
    /// Gets a control request and the head of its reply. Returns the new head, or `None` to close
    /// instead.
    pub(crate) reply: Box<OnReply>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            block: Box::new(|_| Step::Pass),
            message: Box::new(|_| {}),
            rate: Box::new(|_| None),
            split: None,
            merge: false,
            data: DataPorts::Carried,
            reply: Box::new(|_, head| Some(head)),
        }
    }
}

impl Faults {
    /// Does something to blocks only.
    pub(crate) fn of_blocks(block: impl Fn(&mut Block) -> Step + Send + Sync + 'static) -> Faults {
        Faults { block: Box::new(block), ..Faults::default() }
    }
}

/// What one stream asked for, or what came on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) stream: usize,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}
