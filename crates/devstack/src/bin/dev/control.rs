//! How `cargo dev chaos` asks `cargo dev up` to break something: one connection per fault, lines of JSON.
//!
//! The asker sends a [`Request`] and hears [`Event`]s. The fault lasts as long as the connection, at most as long as
//! was asked for.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use devstack::chaos::Harm;
use devstack::stack_file;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::keep::Keeper;

/// Where the running stack listens for askers, in `.dev/env`.
pub(crate) const ADDRESS_KEY: &str = "CHAOS_ADDRESS";
/// The longest fault.
pub(crate) const FOR_MAX: Duration = Duration::from_secs(600);

const LINE_MAX: u64 = 4096;
const FIRST_LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be broken.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) harm: Harm,
    /// Which instance, from 0, if the harm is about one.
    pub(crate) instance: usize,
    /// How long, ms.
    pub(crate) for_ms: u64,
}

/// What has happened, in words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Begun(String),
    Healed(String),
    Failed(String),
}

/// A fault that somebody else has under way for us. Dropping it heals.
pub(crate) struct Ongoing {
    reader: BufReader<tokio::io::Take<OwnedReadHalf>>,
    _writer: OwnedWriteHalf,
}

/// Serves askers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, keeper: Arc<Keeper>) -> Infallible {
    let mut askers = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while askers.try_join_next().is_some() {}
        askers.spawn(serve_one(stream, Arc::clone(&keeper)));
    }
}

async fn serve_one(stream: TcpStream, keeper: Arc<Keeper>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LINE_MAX));
    let end = match break_and_heal(&mut reader, &mut writer, &keeper).await {
        Ok(what) => Event::Healed(what),
        Err(error) => Event::Failed(format!("{error:#}")),
    };
    // The asker may be gone; then he does not want to know.
    let _ = send(&mut writer, &end).await;
}

async fn break_and_heal(
    reader: &mut BufReader<tokio::io::Take<OwnedReadHalf>>,
    writer: &mut OwnedWriteHalf,
    keeper: &Keeper,
) -> Result<String> {
    let request = tokio::time::timeout(FIRST_LINE_TIMEOUT, receive::<Request>(reader)).await;
    let request = request.context("no request came")??.context("no request came")?;
    let lasts = Duration::from_millis(request.for_ms);
    if lasts > FOR_MAX {
        bail!("a fault lasts at most {} s", FOR_MAX.as_secs());
    }
    let broken = keeper.break_one(request.harm, request.instance).await?;
    let begun = Event::Begun(broken.what.clone());
    if send(writer, &begun).await.is_ok() {
        // Anything he says, or his end, is the end of it.
        let _ = tokio::time::timeout(lasts, reader.read_u8()).await;
    }
    broken.heal().await
}

impl Ongoing {
    /// Asks the running stack; returns when it is broken, with what was done in words.
    pub(crate) async fn begin(stack_file: &Path, request: Request) -> Result<(Self, String)> {
        let file = stack_file::read(stack_file)?.context("no stack is running here (cargo dev up)")?;
        let address = file
            .get(ADDRESS_KEY)
            .context("the running stack was started by an older `cargo dev up`")?;
        let stream = TcpStream::connect(address)
            .await
            .context("the stack in .dev/env does not answer; does `cargo dev up` still run?")?;
        let (reader, mut writer) = stream.into_split();
        send(&mut writer, &request).await?;
        let mut ongoing = Self {
            reader: BufReader::new(reader.take(LINE_MAX)),
            _writer: writer,
        };
        match ongoing.next().await? {
            Event::Begun(what) => Ok((ongoing, what)),
            other => bail!("answered {other:?} before it began"),
        }
    }

    /// Returns when it is healed, with what was done in words.
    pub(crate) async fn healed(mut self) -> Result<String> {
        match self.next().await? {
            Event::Healed(what) => Ok(what),
            other => bail!("answered {other:?} instead of healing"),
        }
    }

    async fn next(&mut self) -> Result<Event> {
        match receive(&mut self.reader).await? {
            Some(Event::Failed(why)) => bail!("{why}"),
            Some(event) => Ok(event),
            None => bail!("the stack was stopped meanwhile"),
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(writer.write_all(&line).await?)
}

/// The next line; `None` at the end.
async fn receive<T: DeserializeOwned>(
    reader: &mut BufReader<tokio::io::Take<OwnedReadHalf>>,
) -> Result<Option<T>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let message = serde_json::from_str(&line).with_context(|| format!("not understood: {}", line.trim()))?;
    Ok(Some(message))
}
