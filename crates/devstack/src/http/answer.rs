//! Reading one answer from a connection: where it ends, and nothing else before somebody asks.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Fault;

/// More is no answer.
const HEADERS_MAX: usize = 64;
/// Of one answer, head and body. Nothing that is asked here answers more.
const ANSWER_MAX: usize = 64 << 20;
const READ_SIZE: usize = 4 << 10;

/// An answer, of whatever status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
    /// Status line and header fields, as they came.
    head: Bytes,
}

impl Answer {
    /// The value of a header field, whatever the case of its name; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
            let (field, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            let value = field.eq_ignore_ascii_case(name.as_bytes()).then_some(value)?;
            Some(std::str::from_utf8(value).ok()?.trim())
        })
    }
}

impl Answer {
    /// Writes it as it goes on to somebody else's connection: without what was said about this one.
    pub(crate) fn pass_on(&self, to: &mut Vec<u8>) {
        let mut has_length = false;
        for line in self.head.split_inclusive(|byte| *byte == b'\n') {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            let is = |field: &str| name.eq_ignore_ascii_case(field.as_bytes());
            if is("Connection") || is("Keep-Alive") || is("Transfer-Encoding") || line.trim_ascii().is_empty()
            {
                continue;
            }
            has_length |= is("Content-Length");
            to.extend_from_slice(line);
        }
        if !has_length {
            to.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        to.extend_from_slice(b"\r\n");
        to.extend_from_slice(&self.body);
    }
}

/// What the head says.
struct Head {
    status: StatusCode,
    length: usize,
    end: End,
    is_kept: bool,
}

/// Where the body ends.
enum End {
    After(usize),
    InChunks,
    WithConnection,
}

/// Reads one answer; also says whether the connection can be used again. `has_body`: false after `HEAD`.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
    has_body: bool,
) -> Result<(Answer, bool), Fault> {
    let head = loop {
        match Head::parse(received, has_body)? {
            // "Go on", or the like: the answer comes after it.
            Some(head) if head.status.is_informational() => drop(received.split_to(head.length)),
            Some(head) => break head,
            None => more(from, received).await?,
        }
    };
    let body = match head.end {
        End::After(length) => {
            let end = head.length.checked_add(length).filter(|end| *end <= ANSWER_MAX);
            let end = end.ok_or(Fault::Broken)?;
            while received.len() < end {
                more(from, received).await?;
            }
            let mut whole = received.split_to(end).freeze();
            let body = whole.split_off(head.length);
            return Ok((head.answer(whole, body), head.is_kept));
        }
        End::InChunks => {
            let head_bytes = received.split_to(head.length).freeze();
            let body = read_chunks(from, received).await?;
            return Ok((head.answer(head_bytes, body), head.is_kept));
        }
        End::WithConnection => loop {
            match more(from, received).await {
                Ok(()) => {}
                Err(Fault::Broken) => break received.split_off(head.length).freeze(),
                Err(fault) => return Err(fault),
            }
        },
    };
    Ok((head.answer(received.split().freeze(), body), false))
}

/// The chunks put together; trailers are dropped.
async fn read_chunks(from: &mut (impl AsyncRead + Unpin), received: &mut BytesMut) -> Result<Bytes, Fault> {
    let mut body = BytesMut::new();
    loop {
        match httparse::parse_chunk_size(received).map_err(|_| Fault::Broken)? {
            httparse::Status::Partial => more(from, received).await?,
            httparse::Status::Complete((start, size)) => {
                let size = usize::try_from(size).map_err(|_| Fault::Broken)?;
                if size == 0 {
                    drop(received.split_to(start));
                    break;
                }
                if body.len().saturating_add(size) > ANSWER_MAX {
                    return Err(Fault::Broken);
                }
                // A line end follows.
                while received.len() < start + size + 2 {
                    more(from, received).await?;
                }
                drop(received.split_to(start));
                body.unsplit(received.split_to(size));
                drop(received.split_to(2));
            }
        }
    }
    // Trailers, if any, and an empty line.
    loop {
        match received.iter().position(|byte| *byte == b'\n') {
            None => more(from, received).await?,
            Some(end) => {
                if received.split_to(end + 1).trim_ascii().is_empty() {
                    return Ok(body.freeze());
                }
            }
        }
    }
}

/// Reads on; a fault if there is no more, or too much.
async fn more(from: &mut (impl AsyncRead + Unpin), received: &mut BytesMut) -> Result<(), Fault> {
    if received.len() > ANSWER_MAX {
        return Err(Fault::Broken);
    }
    received.reserve(READ_SIZE);
    match from.read_buf(received).await {
        Ok(length) if length > 0 => Ok(()),
        _ => Err(Fault::Broken),
    }
}

impl Head {
    /// `None`: it is not complete yet.
    fn parse(received: &[u8], has_body: bool) -> Result<Option<Self>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(received).map_err(|_| Fault::Broken)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Fault::Broken)?;
        let mut is_kept = response.version == Some(1);
        let (mut end, mut is_chunked) = (End::WithConnection, false);
        for field in response.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(field.value).ok();
                let value = value.and_then(|value| value.trim().parse().ok());
                end = End::After(value.ok_or(Fault::Broken)?);
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                // It says more than a length does.
                is_chunked = true;
            } else if field.name.eq_ignore_ascii_case("connection") {
                is_kept &= !field.value.eq_ignore_ascii_case(b"close");
            }
        }
        let is_bodiless = !has_body
            || status.is_informational()
            || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        if is_bodiless {
            end = End::After(0);
        } else if is_chunked {
            end = End::InChunks;
        }
        Ok(Some(Self {
            status,
            length,
            end,
            is_kept,
        }))
    }

    fn answer(&self, head: Bytes, body: Bytes) -> Answer {
        Answer {
            status: self.status,
            body,
            head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers in what a server sends, in pieces of every size, and how it ends.
    async fn read_all(sent: &str, answers: usize) -> Vec<(u16, String, bool)> {
        let mut first = None;
        for size in [1, 2, 3, 7, sent.len()] {
            let mut server = tokio_test_server(sent, size);
            let mut received = BytesMut::new();
            let mut read_so_far = Vec::new();
            for _ in 0..answers {
                let (answer, is_kept) = read(&mut server, &mut received, true).await.unwrap();
                let body = String::from_utf8(answer.body.to_vec()).unwrap();
                read_so_far.push((answer.status.as_u16(), body, is_kept));
            }
            assert_eq!(
                *first.get_or_insert(read_so_far.clone()),
                read_so_far,
                "pieces of {size}"
            );
        }
        first.unwrap()
    }

    fn tokio_test_server(sent: &str, size: usize) -> impl AsyncRead + Unpin {
        let (near, mut far) = tokio::io::duplex(size);
        let sent = sent.to_owned();
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut far, sent.as_bytes()).await });
        near
    }

    fn found(status: u16, body: &str, is_kept: bool) -> (u16, String, bool) {
        (status, body.to_owned(), is_kept)
    }

    #[tokio::test]
    async fn an_answer_ends_where_its_length_its_chunks_or_its_connection_end() {
        let by_length = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
        let in_chunks = "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nA;x=y\r\n0123456789\r\n0\r\nLate: 1\r\n\r\n";
        let until_closed = "HTTP/1.0 502 Bad Gateway\r\n\r\ngone";
        let sent = [by_length, nothing, in_chunks, by_length, until_closed].concat();
        assert_eq!(
            read_all(&sent, 5).await,
            [
                found(200, "hi", true),
                found(204, "", true),
                found(400, "hi0123456789", true),
                found(200, "hi", true),
                found(502, "gone", false),
            ]
        );
        let go_on_and_close =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read_all(go_on_and_close, 1).await, [found(200, "", false)]);
    }

    #[tokio::test]
    async fn what_is_cut_off_or_no_http_is_broken() {
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi";
        let length = "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n";
        let huge = "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n";
        let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n";
        let huge_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n";
        for sent in [
            "",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            cut,
            length,
            huge,
            chunk,
            huge_chunk,
        ] {
            let mut server = tokio_test_server(sent, 64);
            let result = read(&mut server, &mut BytesMut::new(), true).await;
            assert_eq!(result.unwrap_err(), Fault::Broken, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn a_header_is_found_by_its_name_in_any_case() {
        let sent = "HTTP/1.1 200 OK\r\nIdempotency-Replayed:  true \r\nx-y:\r\ncontent-length: 0\r\n\r\n";
        let mut server = tokio_test_server(sent, 64);
        let (answer, _) = read(&mut server, &mut BytesMut::new(), true).await.unwrap();
        assert_eq!(answer.header("idempotency-REPLAYED"), Some("true"));
        assert_eq!(answer.header("x-y"), Some(""));
        assert_eq!(answer.header("x"), None);
        assert_eq!(answer.header("HTTP/1.1 200 OK"), None);
    }
}
