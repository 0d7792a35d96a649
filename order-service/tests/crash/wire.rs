//! What goes over one connection, cut into pieces that are passed on whole: requests and answers of HTTP, or frames of
//! AMQP, a message with its content as one piece. Each piece says which message it is about, in words that name the
//! product.

use std::collections::BTreeMap;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One request at a time, small enough for one packet, as the saga's are.
    Http,
    /// 0-9-1, one channel per connection.
    Amqp,
}

/// Which way a piece goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the service that has connected.
    Out,
    /// To it.
    In,
}

/// What a piece is, where that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request of HTTP.
    Request,
    /// Its answer.
    Answer,
    /// A message on its way to the broker.
    Publish,
    /// The broker's word that it has it.
    Confirm,
    /// A message on its way to a consumer.
    Deliver,
    /// The consumer's word that it is done.
    Ack,
}

/// A piece, and what it is about.
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Option<Kind>,
    /// The messages: for a request its head, for an answer that of its request, else the bodies.
    pub(crate) about: Vec<String>,
}

/// What was said so far on one connection.
pub(crate) struct Conversation {
    protocol: Protocol,
    asked: String,
    /// Published and not confirmed, by number.
    published: BTreeMap<u64, String>,
    publishes: u64,
    /// Delivered and not acknowledged, by tag.
    delivered: BTreeMap<u64, String>,
}

/// Bytes of one direction of one connection that are no whole piece yet.
#[derive(Default)]
pub(crate) struct Unfinished {
    bytes: Vec<u8>,
    greeted: bool,
    /// Frames of a message whose content is still coming, and how much of it.
    message: Option<Message>,
}

struct Message {
    frames: Vec<u8>,
    method: Method,
    body: Vec<u8>,
    size: Option<u64>,
}

struct Method {
    id: (u16, u16),
    arguments: Vec<u8>,
}

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_HEAD: usize = 7;
const PUBLISH: (u16, u16) = (60, 40);
const RETURN: (u16, u16) = (60, 50);
const DELIVER: (u16, u16) = (60, 60);
const GET_OK: (u16, u16) = (60, 71);
const ACK: (u16, u16) = (60, 80);

impl Conversation {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            asked: String::new(),
            published: BTreeMap::new(),
            publishes: 0,
            delivered: BTreeMap::new(),
        }
    }

    /// The pieces that are whole with these bytes.
    pub(crate) fn pieces(&mut self, way: Direction, rest: &mut Unfinished, bytes: &[u8]) -> Vec<Piece> {
        match self.protocol {
            Protocol::Http => vec![self.http(way, bytes)],
            Protocol::Amqp => {
                rest.bytes.extend_from_slice(bytes);
                std::iter::from_fn(|| self.amqp(way, rest)).collect()
            }
        }
    }

    fn http(&mut self, way: Direction, bytes: &[u8]) -> Piece {
        let kind = match way {
            Direction::Out => {
                // Else it is the rest of a request, whose head was a packet of its own.
                if bytes.starts_with(b"PATCH ") {
                    self.asked = String::from_utf8_lossy(bytes).into_owned();
                }
                Kind::Request
            }
            Direction::In => Kind::Answer,
        };
        Piece {
            bytes: bytes.to_vec(),
            kind: Some(kind),
            about: vec![self.asked.clone()],
        }
    }

    fn amqp(&mut self, way: Direction, rest: &mut Unfinished) -> Option<Piece> {
        loop {
            if way == Direction::Out && !rest.greeted {
                // The protocol header is no frame.
                rest.greeted = rest.bytes.len() >= 8;
                return rest.greeted.then(|| nothing(rest.bytes.drain(..8).collect()));
            }
            let length = u32::from_be_bytes(rest.bytes.get(3..FRAME_HEAD)?.try_into().ok()?) as usize;
            let end = FRAME_HEAD + length + 1;
            if rest.bytes.len() < end {
                return None;
            }
            let frame: Vec<u8> = rest.bytes.drain(..end).collect();
            if let Some(piece) = self.frame(way, rest, frame) {
                return Some(piece);
            }
        }
    }

    /// The piece that ends with this frame.
    fn frame(&mut self, way: Direction, rest: &mut Unfinished, frame: Vec<u8>) -> Option<Piece> {
        let payload = &frame[FRAME_HEAD..frame.len() - 1];
        match (frame[0], &mut rest.message) {
            (METHOD, _) => {
                let method = Method {
                    id: (number(payload, 0, 2) as u16, number(payload, 2, 2) as u16),
                    arguments: payload[4..].to_vec(),
                };
                if [PUBLISH, RETURN, DELIVER, GET_OK].contains(&method.id) {
                    rest.message = Some(Message {
                        frames: frame,
                        method,
                        body: Vec::new(),
                        size: None,
                    });
                    return None;
                }
                Some(self.settled(way, &method, frame))
            }
            (HEADER | BODY, Some(message)) => {
                if frame[0] == HEADER {
                    message.size = Some(number(payload, 4, 8));
                } else {
                    message.body.extend_from_slice(payload);
                }
                message.frames.extend_from_slice(&frame);
                if message.size != Some(message.body.len() as u64) {
                    return None;
                }
                rest.message.take().map(|message| self.message(message))
            }
            _ => Some(nothing(frame)),
        }
    }

    fn message(&mut self, message: Message) -> Piece {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let kind = match message.method.id {
            PUBLISH => {
                self.publishes += 1;
                self.published.insert(self.publishes, body.clone());
                Some(Kind::Publish)
            }
            DELIVER => {
                let arguments = &message.method.arguments;
                let tag = number(arguments, 1 + usize::from(arguments[0]), 8);
                self.delivered.insert(tag, body.clone());
                Some(Kind::Deliver)
            }
            _ => None,
        };
        Piece {
            bytes: message.frames,
            kind,
            about: vec![body],
        }
    }

    /// Confirms and acknowledgements name messages by number, some all up to it.
    fn settled(&mut self, way: Direction, method: &Method, frame: Vec<u8>) -> Piece {
        if method.id != ACK {
            return nothing(frame);
        }
        let tag = number(&method.arguments, 0, 8);
        let all_before = method.arguments[8] & 1 == 1;
        let (kind, open) = match way {
            Direction::Out => (Kind::Ack, &mut self.delivered),
            Direction::In => (Kind::Confirm, &mut self.published),
        };
        let about = if all_before {
            let later = open.split_off(&(tag + 1));
            std::mem::replace(open, later).into_values().collect()
        } else {
            open.remove(&tag).into_iter().collect()
        };
        Piece {
            bytes: frame,
            kind: Some(kind),
            about,
        }
    }
}

fn nothing(bytes: Vec<u8>) -> Piece {
    Piece {
        bytes,
        kind: None,
        about: Vec::new(),
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
