//! What a relay is told to do to what passes, and what it notes down.

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
    /// Where it belongs in the file.
    pub(crate) fn offset(&self) -> u64 {
        u64::from_be_bytes(self.bytes[8..16].try_into().unwrap())
    }
}

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is passed on.
    Pass,
    /// So many bytes of it are passed on, and then the stream is reset.
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

/// What becomes of the data ports.
pub(crate) enum DataPorts {
    /// Each is listened for in place of its sender.
    Carried,
    /// They are at the server only: who dials them at the relay is refused.
    Refused,
    /// Whoever dials them gets no answer.
    Silent,
    /// Somebody else listens there, and does this.
    Foreign(fn(TcpStream)),
}

/// What the relay does to what passes.
pub(crate) struct Faults {
    /// Sees each block.
    pub(crate) block: Box<OnBlock>,
    /// Sees each hello and request.
    pub(crate) message: Box<OnMessage>,
    /// Bytes a second towards the client, for this stream.
    pub(crate) rate: Box<Rate>,
    /// Writes are of 1 byte, 2 and so on up to this many, and again of 1.
    pub(crate) split: Option<usize>,
    /// Several messages become one write.
    pub(crate) merge: bool,
    /// Where streams can go beside the control port.
    pub(crate) data: DataPorts,
    /// Sees a control request and the head of its reply; `None` closes instead.
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
    /// Only blocks meet with something.
    pub(crate) fn of_blocks(block: impl Fn(&mut Block) -> Step + Send + Sync + 'static) -> Faults {
        Faults { block: Box::new(block), ..Faults::default() }
    }
}

/// What was asked for, or what came, on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) stream: usize,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}
