//! The clients: so many keep-alive connections, each asking again as soon as it is answered, for a fixed time.
//!
//! Plain sockets and one thread, because they share the machine with what they measure: whatever they cost is missing
//! there. The same for every design.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rand_distr::{Distribution, Zipf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

const HIGHEST_US: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const ANSWER_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 32;
/// No answer takes longer; if one does, the run is over.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Each product alike.
    Uniform,
    /// The n-th product n^1.1 times less often than the first.
    Zipf,
}

/// What request ids are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Numbers in the order of time.
    InOrder,
    /// Random UUIDs (version 4).
    Random,
}

/// Which answers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// 200: sold.
    Sold,
    /// 400: sold out.
    SoldOut,
}

/// What the clients do. Each asks for one unit at a time.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Port of the server on this machine.
    pub(crate) port: u16,
    /// Connections.
    pub(crate) connections: usize,
    /// What is sold.
    pub(crate) products: Vec<i64>,
    pub(crate) choice: Choice,
    pub(crate) keys: Keys,
    pub(crate) counted: Counted,
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    /// How long answers are counted.
    pub(crate) measured: Duration,
}

/// What the clients were told.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Counted answers per second.
    pub(crate) per_second: f64,
    /// Of the counted ones, in microseconds, from the first byte sent to the last one read.
    pub(crate) latency_us: Histogram<u64>,
    /// All answers, from the first moment to the last.
    pub(crate) answered: u64,
    /// Units sold of each product, from the first moment to the last.
    pub(crate) sold: HashMap<i64, i64>,
    /// Answers that were neither 200 nor 400, by status, from the first moment to the last: perhaps sold, perhaps not.
    pub(crate) others: BTreeMap<u16, i64>,
}

impl Load {
    /// Runs it, on a thread of its own. Every request that was sent is answered when this returns.
    pub(crate) async fn run(self) -> Result<Answers> {
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            tokio::task::LocalSet::new().block_on(&runtime, self.ask())
        });
        thread.await?
    }

    async fn ask(self) -> Result<Answers> {
        let mut streams = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let begin = Instant::now() + self.warm_up;
        let run = Rc::new(Run {
            zipf: Zipf::new(self.products.len() as f64, 1.1)?,
            // Above every number of an earlier run, so that keys are new and in order.
            next: Cell::new(i64::try_from(Uuid::now_v7().as_u128() >> 68)?),
            answers: RefCell::new(Answers {
                per_second: 0.0,
                latency_us: Histogram::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)?,
                answered: 0,
                sold: HashMap::new(),
                others: BTreeMap::new(),
            }),
            begin,
            end: begin + self.measured,
            load: self,
        });
        let clients: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::task::spawn_local(Rc::clone(&run).client(stream)))
            .collect();
        for client in clients {
            client.await??;
        }
        let run = Rc::into_inner(run).context("a client is still there")?;
        let mut answers = run.answers.into_inner();
        answers.per_second = answers.latency_us.len() as f64 / run.load.measured.as_secs_f64();
        Ok(answers)
    }
}

/// What all clients share.
struct Run {
    load: Load,
    zipf: Zipf<f64>,
    next: Cell<i64>,
    answers: RefCell<Answers>,
    begin: Instant,
    end: Instant,
}

impl Run {
    async fn client(self: Rc<Self>, mut stream: TcpStream) -> Result<()> {
        let (mut request, mut answer) = (Vec::with_capacity(512), Vec::with_capacity(1024));
        while Instant::now() < self.end {
            let product = self.write_request(&mut request)?;
            let asked_at = Instant::now();
            let exchange = exchange(&mut stream, &request, &mut answer);
            let status = tokio::time::timeout(PATIENCE, exchange)
                .await
                .context("no answer")??;
            self.note(product, status, asked_at);
        }
        Ok(())
    }

    fn write_request(&self, request: &mut Vec<u8>) -> Result<i64> {
        let number = self.next.replace(self.next.get() + 1);
        let products = &self.load.products;
        let place = match self.load.choice {
            Choice::Uniform => usize::try_from(number)? % products.len(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number from 1 to n"
            )]
            Choice::Zipf => self.zipf.sample(&mut rand::rng()) as usize - 1,
        };
        let product = products[place];
        let body = format!(r#"{{"orderId":{number},"quantity":1,"buyerId":"buyer-{number}"}}"#);
        request.clear();
        write!(
            request,
            "PATCH /v1/products/{product}/stock/decrease-by-order HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nIdempotency-Key: DEC-",
            body.len()
        )?;
        match self.load.keys {
            Keys::InOrder => write!(request, "{number}")?,
            Keys::Random => write!(request, "{}", Uuid::new_v4())?,
        }
        write!(request, "\r\n\r\n{body}")?;
        Ok(product)
    }

    fn note(&self, product: i64, status: u16, asked_at: Instant) {
        let now = Instant::now();
        let mut answers = self.answers.borrow_mut();
        answers.answered += 1;
        match status {
            200 => *answers.sold.entry(product).or_default() += 1,
            400 => {}
            other => *answers.others.entry(other).or_default() += 1,
        }
        let wanted = match self.load.counted {
            Counted::Sold => 200,
            Counted::SoldOut => 400,
        };
        if status == wanted && (self.begin..self.end).contains(&now) {
            let us = u64::try_from((now - asked_at).as_micros()).unwrap_or(HIGHEST_US);
            answers.latency_us.saturating_record(us);
        }
    }
}

/// Sends a request and reads the whole answer; its status.
async fn exchange(stream: &mut TcpStream, request: &[u8], answer: &mut Vec<u8>) -> Result<u16> {
    stream.write_all(request).await?;
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            bail!("the server hung up");
        }
        if let Some(status) = whole(answer)? {
            return Ok(status);
        }
        if answer.len() > ANSWER_MAX {
            bail!("an answer of more than {ANSWER_MAX} bytes");
        }
    }
}

/// The status, once the answer is complete.
fn whole(answer: &[u8]) -> Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("an answer without a length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    let status = response.code.context("an answer without a status")?;
    Ok((answer.len() >= head + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\nx: y\r\n\r\nabcde";
        for cut in 0..answer.len() {
            assert_eq!(whole(&answer[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(whole(answer).unwrap(), Some(400));
        assert!(
            whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err(),
            "without a length its end cannot be seen"
        );
    }
}
