//! The scripts of `lua/`, and running many of them in one round trip.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, Pipeline, RedisError, Script, ServerErrorKind};

use super::{GateError, Link, Replies, keys};
use crate::domain::request::ProductId;

/// A script's text with its hash, by which Redis knows it.
pub(super) struct GateScript {
    text: &'static str,
    script: LazyLock<Script>,
}

/// Each script begins with `gate.lua`, so that "loaded" and "leased" mean the same in all of them.
macro_rules! script {
    ($file:literal) => {{
        const TEXT: &str = concat!(
            include_str!("../../../lua/gate.lua"),
            include_str!(concat!("../../../lua/", $file))
        );
        GateScript {
            text: TEXT,
            script: LazyLock::new(|| Script::new(TEXT)),
        }
    }};
}

pub(super) static RESERVE: GateScript = script!("reserve.lua");
pub(super) static APPLY: GateScript = script!("apply.lua");
pub(super) static REMEMBER: GateScript = script!("remember.lua");
pub(super) static LOAD: GateScript = script!("load.lua");
pub(super) static PEEK: GateScript = script!("peek.lua");

impl GateScript {
    /// A run of this script for one product; the caller adds the arguments.
    pub(super) fn call(&self, product: ProductId) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        let keys = keys::all(product);
        call.arg(self.script.get_hash()).arg(keys.len()).arg(&keys);
        call
    }

    /// Runs calls of this script in one round trip, each with a result of its own. A Redis that does not know the
    /// script (restarted, flushed) is told its text, and all of them run again: each script answers a repetition
    /// like the first time.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all.
    pub(super) async fn run(&self, link: &mut Link, calls: Vec<Cmd>) -> Result<Replies, GateError> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        pipeline.ignore_errors();
        for call in calls {
            pipeline.add_command(call);
        }
        let replies = fit(link.pipeline(&pipeline).await?)?;
        if !replies
            .iter()
            .any(|reply| reply.as_ref().is_err_and(is_unknown_script))
        {
            return Ok(replies);
        }
        self.load(link).await?;
        fit(link.pipeline(&pipeline).await?)
    }

    /// Makes sure that Redis knows the script.
    ///
    /// # Errors
    /// [`GateError`] when it does not say so.
    pub(super) async fn load(&self, link: &mut Link) -> Result<(), GateError> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.text);
        link.command(load).await
    }
}

/// Codes of errors that say nothing about a product and everything about the server.
const UNFIT: [&str; 9] = [
    "LOADING",
    "BUSY",
    "OOM",
    "READONLY",
    "NOAUTH",
    "NOPERM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "MISCONF",
];

/// A server that is loading, full or read-only has not answered, whatever it sent.
fn fit(replies: Replies) -> Result<Replies, GateError> {
    // A server that wants a password first takes no long command, and calls it a protocol error.
    let unfit = |error: &RedisError| {
        error.code().is_some_and(|code| UNFIT.contains(&code))
            || error
                .detail()
                .is_some_and(|detail| detail.starts_with("Protocol error"))
    };
    match replies.iter().position(|reply| reply.as_ref().is_err_and(unfit)) {
        Some(at) => Err(replies
            .into_iter()
            .nth(at)
            .and_then(Result::err)
            .map_or(GateError::Timeout, GateError::from)),
        None => Ok(replies),
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Every script.
pub(super) fn all() -> [&'static GateScript; 5] {
    [&RESERVE, &APPLY, &REMEMBER, &LOAD, &PEEK]
}
